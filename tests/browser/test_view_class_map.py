"""The class map in a page without a network: click, keys and menus, and the numbers that they show."""

import numpy as np
import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.maps.class_map import ClassMap

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def view():
    net = nw.create_model("toy_halonet", pretrained=True)
    return ClassMap(nw.probe(net, nw.ToyWorld("test")[3]["image"]))


def signed(x: float, digits: int = 3) -> str:
    """As the page writes it."""
    short = float(f"{x:.{digits}g}")
    text = f"{abs(short):g}" if digits <= 6 and abs(short) >= 1e-3 else f"{abs(short)}"
    return ("+" if x > 0 else MINUS if x < 0 else "") + text


def words(page) -> str:
    return page.inner_text(".nw-words")


def click_cell(page, canvas, row, column, rows, columns):
    box = page.locator(canvas).bounding_box()
    page.mouse.click(box["x"] + box["width"] * (column + 0.5) / columns, box["y"] + box["height"] * (row + 0.5) / rows)


def test_click_keys_and_menus_show_the_numbers_of_the_map(page_of, view):
    page = page_of(view)
    maps, data = view.data["maps"], view.data
    best = np.unravel_index(maps[view.target].argmax(), (2, 2))
    assert f"row {best[0]}, column {best[1]}" in words(page)
    click_cell(page, ".nw-pick", 1, 0, 2, 2)
    assert (
        f"row 1, column 0 (pixels 32 to 63 down, 0 to 31 across) adds {signed(maps[view.target, 1, 0])} to the logit"
        in words(page)
    )
    page.keyboard.press("ArrowRight")
    assert f"row 1, column 1 (pixels 32 to 63 down, 32 to 63 across) adds {signed(maps[view.target, 1, 1])}" in words(
        page
    )
    page.keyboard.press("Shift+ArrowUp")
    assert f"row 0, column 1 (pixels 0 to 31 down, 32 to 63 across) adds {signed(maps[view.target, 0, 1])}" in words(
        page
    )
    assert f"sum to {signed(data['sums'][view.target])}, the bias adds {signed(data['bias'][view.target])}." in words(
        page
    )

    # The classes that the cell adds most to, in order.
    votes = np.argsort(-maps[:, 0, 1])[:8]
    labels = page.locator(".nw-bar .nw-bar-label").all_inner_texts()
    assert labels == [data["classes"][c] for c in votes]
    page.locator(".nw-bar").nth(1).click()
    assert words(page).startswith(f"{data['classes'][votes[1]]}: ")

    other = int(data["order"][3])
    page.locator("select").nth(0).select_option(index=3)
    assert words(page).startswith(f"{data['classes'][other]}: the cell in row 0, column 1")
    assert f"adds {signed(maps[other, 0, 1])} to the logit, {signed(data['logits'][other])}" in words(page)
    page.locator("select").nth(1).select_option(index=1)
    first = int(data["order"][0])
    assert words(page).startswith(f"{data['classes'][other]} rather than {data['classes'][first]}")
    assert f"adds {signed(maps[other, 0, 1] - maps[first, 0, 1])} to the difference of the logits" in words(page)
    page.get_by_role("button", name="Show as table").click()
    cells = page.locator(".nw-table td").all_inner_texts()
    assert cells == [signed(x, 4) for x in (maps[other] - maps[first]).ravel()]


def test_grad_cam_is_called_exact_at_the_last_map_and_first_order_before(page_of, view):
    page = page_of(view)
    heading = page.locator(".nw-cell strong").nth(1)
    assert heading.inner_text() == "Grad-CAM: 4 × 4 cells, first-order only"
    cam = view.data["cams"][2][list(view.data["cam_classes"]).index(view.target)]
    assert f"It sums to {signed(cam.sum())}, which is no logit" in page.inner_text(".nw-body")
    page.get_by_label("at the map").select_option(index=3)
    assert heading.inner_text() == "Grad-CAM: 2 × 2 cells, exact here"
    assert f"it sums to {signed(view.data['sums'][view.target], 5)}" in page.inner_text(".nw-body")
    page.get_by_label("at the map").select_option(index=0)
    reach = abs(view.data["cams"][0][list(view.data["cam_classes"]).index(view.target)]).max()
    page.get_by_role("button", name="its own maximum").click()
    assert f"{MINUS}{signed(reach)[1:]} to {signed(reach)[1:]} logit" in page.inner_text(".nw-body")


def test_random_weights_show_their_own_numbers(page_of, view):
    page = page_of(view)
    page.get_by_role("button", name="random twin").click()
    assert f"to the logit, {signed(view.twin.data['logits'][view.target])}" in words(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_it(page_of, view, theme):
    assert serious_faults(page_of(view, theme=theme)) == []
