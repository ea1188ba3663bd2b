"""The exported pages of the stage browser and of the row of nets: what is clicked is what the nets hold."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from conftest import serious_faults
from netwright.nets.zoo import TOYS
from netwright.views.frame import assembling
from netwright.views.maps.side_by_side import SideBySide
from netwright.views.maps.stages import StageBrowser


def toy(name: str):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[3]["image"])


@pytest.fixture(scope="module")
def view():
    return StageBrowser(toy("toy_resnext"))


@pytest.fixture(scope="module")
def four():
    return SideBySide([toy(name) for name in TOYS])


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def read(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("−", "-").replace("+", ""))


def said(page) -> tuple[str, int, int, int, float]:
    """Place, channel, row, column and number, out of the sentence under the view."""
    found = re.fullmatch(r"(\S+), channel (\d+)(?: \(.*\))?, row (\d+), column (\d+): (\S+)\.", words(page))
    place, channel, row, column, value = found.groups()
    return place, int(channel), int(row), int(column), read(value)


def holds(view, page) -> bool:
    """Whether the number that is said is the map's, to the digits that are said."""
    place, channel, row, column, value = said(page)
    return value == pytest.approx(float(view.data["maps"][place][channel, row, column]), rel=6e-3, abs=2e-3)


def test_a_click_on_a_map_and_the_arrow_keys_say_the_numbers_of_the_map(page_of, view):
    page = page_of(view)
    page.locator('.nw-stage-strip [aria-label="stages.1.0"]').click()
    page.locator(".nw-stage-grid button").nth(7).click()
    place, channel, *_ = said(page)
    assert place == "stages.1.0" and holds(view, page)
    maps = view.data["maps"][place]
    large = page.locator(".nw-pick")
    box = large.bounding_box()
    row, column = np.unravel_index(maps[channel].argmax(), maps[channel].shape)
    side = maps.shape[1]
    large.click(position={"x": (column + 0.5) * box["width"] / side, "y": (row + 0.5) * box["height"] / side})
    assert said(page)[2:4] == (row, column) and holds(view, page)
    assert said(page)[4] == pytest.approx(maps[channel].max(), rel=6e-3)
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert said(page)[2:4] == (max(0, row - 2), max(0, column - 2)) and holds(view, page)
    page.keyboard.press("Shift+ArrowRight")
    assert said(page)[3] == min(side - 1, max(0, column - 2) + 2)


def test_parts_of_a_block_are_grouped_and_the_grid_goes_by_arrow_keys(page_of, view):
    page = page_of(view)
    page.locator('.nw-stage-strip [aria-label="stages.2.0"]').click()
    page.get_by_role("button", name="middle", exact=True).click()
    note = page.locator(".nw-body > .nw-note").inner_text()
    maps = view.data["maps"]["stages.2.0.middle"]
    (entry,) = [it for it in view.payload()["places"] if it["name"] == "stages.2.0.middle"]
    count = len(entry["channels"]["numbers"])
    assert f"{count} of {len(maps)} channels" in note and "in 8 groups of 16" in note and "4 × 4 = 16 numbers" in note
    assert f"dead (nowhere above 0): {100 * view.data['dead']['stages.2.0.middle']:.1f} %" in note
    assert page.get_by_role("group", name="group 3", exact=True).count() == 1
    page.locator(".nw-stage-grid button").first.click()
    first = said(page)[1]
    page.keyboard.press("ArrowRight")
    assert said(page)[1] == sorted(entry["channels"]["numbers"])[1] > first and holds(view, page)
    assert f"(group {said(page)[1] // 16})" in words(page)
    page.keyboard.press("ArrowDown")
    assert said(page)[1] > sorted(entry["channels"]["numbers"])[1]


def test_the_colour_scale_is_the_layers_until_the_reader_chooses_another(page_of, view):
    page = page_of(view)
    page.locator('.nw-stage-strip [aria-label="stages.1.1"]').click()
    legend = page.locator(".nw-body .nw-legend span")

    def limits() -> list[float]:
        return [read(it) for it in re.findall(r"[−\d.e]+", legend.inner_text())]

    place, channel, *_ = said(page)
    maps, data = view.data["maps"][place], view.data
    assert limits()[:2] == pytest.approx([0, maps.max()], rel=6e-3)
    page.get_by_role("button", name="Unit", exact=True).click()
    assert limits()[1] == pytest.approx(maps[channel].max(), rel=6e-3)
    page.get_by_role("button", name="Model", exact=True).click()
    reach = max(max(data["high"].values()), -min(data["low"].values()))
    assert limits() == pytest.approx([-reach, reach, min(data["low"].values()), max(data["high"].values())], rel=6e-3)
    page.get_by_role("button", name="Layer", exact=True).click()
    page.get_by_role("button", name="expand", exact=True).click()  # before the sum: signed
    signed = view.data["maps"][f"{place}.expand"]
    assert limits()[:2] == pytest.approx([-np.abs(signed).max(), np.abs(signed).max()], rel=6e-3)


def test_sorting_the_most_active_and_the_table_are_numpys(page_of, view):
    page = page_of(view)
    page.locator('.nw-stage-strip [aria-label="stages.0.1"]').click()
    page.get_by_role("button", name="energy", exact=True).click()
    energy, mean = view.data["energy"]["stages.0.1"], view.data["mean"]["stages.0.1"]
    page.get_by_role("button", name="Show as table").click()
    rows = [row.inner_text().split("\t") for row in page.locator(".nw-table tbody tr").all()]
    assert len(rows) == 64
    assert [int(row[0]) for row in rows] == np.argsort(-energy, kind="stable").tolist()
    assert [read(row[2]) for row in rows] == pytest.approx(
        [float(mean[int(row[0])]) for row in rows], rel=6e-3, abs=1e-3
    )
    _, _, r, c, _ = said(page)
    here = view.data["maps"]["stages.0.1"][:, r, c]
    assert [read(row[6]) for row in rows] == pytest.approx(
        [float(here[int(row[0])]) for row in rows], rel=6e-3, abs=2e-3
    )
    bars = page.locator(".nw-bar")
    assert bars.locator(".nw-bar-label").all_inner_texts() == [
        f"channel {k}" for k in np.argsort(-mean, kind="stable")[:5]
    ]
    bars.nth(2).click()
    assert said(page)[1] == np.argsort(-mean, kind="stable")[2] and holds(view, page)


def test_the_random_twin_shows_its_own_numbers(page_of, view):
    page = page_of(view)
    before = words(page)
    page.get_by_role("button", name="random twin").click()
    assert words(page) != before and holds(view.twin, page)


def test_a_flat_map_is_called_uniform_and_any_net_can_be_looked_at(page_of):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    nn.init.zeros_(net[0].weight)
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([0.75, -1.0, 0.5]))
    view = StageBrowser(nw.probe(net, torch.randn(1, 3, 4, 4)))
    page = page_of(view, twin=False)
    page.locator('.nw-stage-strip [aria-label="1"]').click()
    page.get_by_role("button", name="Unit", exact=True).click()
    assert page.locator(".nw-stage-grid button", has_text="uniform").count() == 3
    assert "uniform, 0.75 everywhere" in page.locator(".nw-stage-picture").inner_text()
    assert "uniform" in page.locator(".nw-body .nw-legend span").inner_text() and said(page)[4] == 0.75
    colours = page.locator(".nw-stage-grid canvas").first.evaluate(
        "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
    )
    assert colours == 1


def test_a_place_is_marked_in_all_four_nets_at_once(page_of, four):
    page = page_of(four)
    cells = page.locator(".nw-pick")
    assert cells.count() == 20
    box = cells.nth(9).bounding_box()  # stride 8, the second net: 8 x 8
    cells.nth(9).click(position={"x": (2 + 0.5) * box["width"] / 8, "y": (5 + 0.5) * box["height"] / 8})
    page.get_by_role("button", name="Show as table").click()
    rows = [row.inner_text().split("\t") for row in page.locator(".nw-table tbody tr").all()]
    for k, (row, side) in enumerate(zip(rows, (32, 16, 8, 4, 2), strict=False)):
        y, x = int(5.5 / 8 * side), int(2.5 / 8 * side)
        expected = [float(maps[k][y, x]) for maps in four.data["maps"]]
        assert [read(it) for it in row[1:]] == pytest.approx(expected, rel=6e-3)
    assert words(page).startswith("31 % from the left, 69 % from the top")
    cells.nth(9).focus()
    page.keyboard.press("ArrowRight")
    assert words(page).startswith("44 % from the left, 69 % from the top")
    for net, top in zip(four.data["nets"], four.data["top"], strict=True):
        shown = page.get_by_role("list", name=f"The likeliest classes of {net}").locator("li").first.inner_text()
        assert top[0][0] in shown and f"{100 * top[0][1]:.0f} %" in shown
    page.get_by_role("button", name="each net").click()
    bars = page.locator(".nw-legend:not([hidden]) span").all_inner_texts()
    highest = [max(float(it.max()) for it in maps) for maps in four.data["maps"]]
    assert [read(bar.split()[2]) for bar in bars] == pytest.approx(highest, rel=6e-3)


def test_with_a_kernel_the_rest_of_the_channels_and_any_other_module_can_be_had(page_of, view):
    html = assembling.page(view.title, [("stages", view.message(live=True))])
    asking = """((model) => {
      const plain = model.save_changes;
      model.save_changes = () => {
        if (model.get("question") === model.asked) return plain();
        model.asked = model.get("question");
        window.kernel(model.asked).then((answer) => model.set("answer", answer));
      };
      return model;
    })(stored("""
    page = page_of(
        html.replace("stored({ payload", asking + "{ payload").replace('choice: "{}" })', 'choice: "{}" }))')
    )

    def kernel(question: str) -> str:
        question = json.loads(question)
        return assembling.dumps({"id": question.pop("id"), **view.answer(question)})

    page.expose_function("kernel", kernel)
    page.locator('.nw-stage-strip [aria-label="stages.3.0"]').click()
    cells = page.locator(".nw-stage-grid [data-channel]")
    assert cells.count() == 64
    page.get_by_role("button", name="Show 64 more").click()
    page.wait_for_function("document.querySelectorAll('.nw-stage-grid [data-channel]').length === 128")
    assert "128 of 384 channels" in page.locator(".nw-body > .nw-note").inner_text()
    cells.nth(100).click()
    assert holds(view, page)
    page.get_by_label("Any module").select_option("stages.1.0.middle.conv")
    page.wait_for_function("document.querySelector('.nw-words').textContent.startsWith('stages.1.0.middle.conv,')")
    _, channel, row, column, value = said(page)
    expected = view.probe["stages.1.0.middle.conv"][0, channel, row, column]
    assert value == pytest.approx(float(expected), rel=6e-3, abs=2e-3)
    assert page.get_by_role("button", name="middle.conv").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(("theme", "size"), (("light", "laptop"), ("dark", "projector")))
def test_nothing_serious_stands_in_the_way(page_of, view, four, theme, size):
    page = page_of(view, theme=theme, size=size)
    page.get_by_role("button", name="middle", exact=True).click()
    page.get_by_role("button", name="Show as table").click()
    assert serious_faults(page) == []
    page = page_of(four, theme=theme, size=size)
    assert serious_faults(page) == []
