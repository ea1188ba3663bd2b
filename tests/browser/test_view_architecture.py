"""The exported architecture page: the tree by keyboard and by mouse, and the numbers that it shows."""

import pytest

from conftest import serious_faults
from netwright.nets.zoo import build
from netwright.views.architecture.architecture import Architecture


@pytest.fixture(scope="module")
def view():
    return Architecture(build("halonet50ts"))


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def chosen(page):
    return page.locator('[role="treeitem"][aria-selected="true"]')


def part(view, name: str, kind: str = "module") -> tuple[int, dict]:
    return next((i, it) for i, it in enumerate(view.data["parts"]) if it["name"] == name and it["kind"] == kind)


def sentence(view, part: dict) -> str:
    """What the page says of the cost of a part, from the data."""
    return f"{part['parameters']:,} parameters ({100 * part['parameters'] / view.data['parameters']:.1f} %)"


def test_the_tree_unfolds_by_keyboard_down_to_a_tensor(page_of, view):
    page = page_of(view)
    assert sentence(view, {"parameters": 22733280})[:10] in words(page)
    chosen(page).focus()
    items = page.locator('[role="treeitem"]')
    assert items.count() == 7  # the net, stem, four stages, classifier
    for key in (*["ArrowDown"] * 3, "ArrowRight", *["ArrowDown"] * 4, "ArrowRight", *["ArrowDown"] * 2, "ArrowRight"):
        page.keyboard.press(key)
    assert words(page).startswith("stages.1.3.middle: AttentionMiddle, 128 × 32 × 32 to 128 × 32 × 32, stride 8, ")
    assert sentence(view, part(view, "stages.1.3.middle")[1]) in words(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "HaloAttention, 4 heads, blocks of 8, halo 3" in words(page)
    assert chosen(page).get_attribute("aria-level") == "5" and chosen(page).get_attribute("aria-expanded") == "true"
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    products = part(view, "stages.1.3.middle.attention", "products")[1]
    assert f"{products['macs'] / 1e9:.3g} GMACs" in words(page) and "query × key" in words(page)
    page.keyboard.press("ArrowDown")
    assert words(page) == "stages.1.3.middle.attention.height_table: a parameter of 27 × 32 = 864 numbers (<0.1 %)."
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == words(page)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")  # to its module, closes it, to what that is in, closes it
    assert words(page).startswith("stages.1.3.middle: ") and chosen(page).get_attribute("aria-expanded") == "false"
    page.keyboard.press("Home")
    assert words(page).startswith(
        "halonet50ts: ResidualNet, 3 × 256 × 256 to 1000, 22,733,280 parameters (100 %), 5.26"
    )


def test_a_click_on_the_map_or_on_a_row_chooses_a_part(page_of, view):
    page = page_of(view)
    page.locator(".nw-arch-map .unit").nth(9).click()
    assert words(page).startswith("stages.2.1: Bottleneck, 1024 × 16 × 16 to 1024 × 16 × 16, stride 16")
    assert chosen(page).get_attribute("aria-level") == "3"
    assert page.locator(".nw-arch-map .unit.chosen").count() == 1
    row = page.locator(f'[data-part="{part(view, "stages.2.0")[0]}"]')
    row.click()
    assert row.get_attribute("aria-expanded") == "true" and words(page).startswith("stages.2.0: ")
    row.click()
    assert row.get_attribute("aria-expanded") == "false"


def test_unfold_to_blocks_and_the_table_has_the_shown_numbers(page_of, view):
    page = page_of(view)
    page.get_by_role("button", name="blocks", exact=True).click()
    shown = [it for it in view.data["parts"] if it["level"] <= 3]
    assert page.locator('[role="treeitem"]').count() == len(shown)
    page.get_by_role("button", name="Show as table").click()
    rows = [row.inner_text().split("\t") for row in page.locator(".nw-table tbody tr").all()]
    assert [int(row[3].replace(",", "")) for row in rows] == [it["parameters"] for it in shown]
    assert [int(row[4].replace(",", "")) for row in rows] == [it["macs"] for it in shown]
    page.get_by_role("button", name="tensors", exact=True).click()
    assert page.locator('[role="treeitem"]').count() == len(view.data["parts"])


@pytest.mark.parametrize(("theme", "size"), (("light", "laptop"), ("dark", "projector")))
def test_nothing_serious_stands_in_the_way(page_of, view, theme, size):
    page = page_of(view, theme=theme, size=size)
    page.get_by_role("button", name="blocks", exact=True).click()
    chosen(page).focus()
    page.keyboard.press("ArrowDown")
    assert serious_faults(page) == []
