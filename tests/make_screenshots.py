"""Makes docs/views/*.png, the pictures of the README: views of the toy nets as a browser shows their exported pages."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "browser"))

from playwright.sync_api import sync_playwright

import netwright as nw
from driver import CHROMIUM_FLAGS, find_chromium
from netwright import views

OUT = Path(__file__).parents[1] / "docs" / "views"
PICTURE = 3  # of the toy world's test split


def toy(name: str):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[PICTURE]["image"])


# name -> the view, and what is done with its page before the picture is taken
VIEWS = {
    "halo": (
        lambda: views.HaloExplorer(toy("toy_halonet")),
        lambda page: page.locator("canvas.nw-pick").first.press("ArrowDown"),
    ),
    "ledger": (lambda: views.Ledger(toy("toy_resnext")), lambda page: page.get_by_text("largest first").first.click()),
    "gates": (lambda: views.Gates(toy("toy_resnest")), None),
    "receptive": (lambda: views.ReceptiveField(toy("toy_resnet")), None),
    "league": (lambda: views.League(), None),
    "optimised": (lambda: views.OptimisedFeatures("toy_resnext"), None),
}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1140, "height": 900}, reduced_motion="reduce")
        for name, (make, act) in VIEWS.items():
            path = make().save(Path(folder) / f"{name}.html")
            page.goto(path.as_uri())
            page.wait_for_selector(".nw-view")
            if act:
                act(page)
            page.mouse.move(0, 0)
            page.wait_for_timeout(300)
            shot = Image.open(io.BytesIO(page.locator(".nw-view").screenshot()))
            # 256 colours are enough for flat fields and text, and a fraction of the bytes.
            shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)
            print(f"{name}: {(OUT / f'{name}.png').stat().st_size / 1e3:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
