"""Nearest neighbours in a page without a network: click, keys and menus, and the numbers that they show."""

import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.pictures.neighbours import COLUMNS, Neighbours


@pytest.fixture(scope="module")
def view():
    return Neighbours(nw.create_model("toy_halonet", pretrained=True))


def words(page) -> str:
    return page.inner_text(".nw-words")


def said(view, number):
    data = view.data

    def name(i):
        return f"{i} ({view.class_names[view.labels[i]]})"

    nearest, far = data["neighbours"][number], data["distances"][number]
    return (
        f"Picture {name(number)}: nearest is picture {name(nearest[0])} at {far[0]:.3f}, number 10 is at {far[-1]:.3f}"
    )


def shown(page, name):
    """Distances and classes of a row of neighbours."""
    row = page.get_by_role("group", name=f"Nearest, {name}", exact=True)
    return row.locator("b").all_inner_texts()


def test_click_and_keys_show_the_neighbours_of_a_picture_with_their_distances(page_of, view):
    page = page_of(view)
    assert words(page).startswith(said(view, 0))
    box = page.locator(".nw-pick").bounding_box()
    step = box["width"] / COLUMNS
    page.mouse.click(box["x"] + 5.5 * step, box["y"] + 2.5 * step)
    number = 2 * COLUMNS + 5
    assert words(page).startswith(said(view, number))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    number += 1 + COLUMNS
    assert words(page).startswith(said(view, number))
    assert shown(page, "trained") == [f"{x:.3f}" for x in view.data["distances"][number]]
    assert shown(page, "random weights") == [f"{x:.3f}" for x in view.twin.data["distances"][number]]
    same = [(it.labels[it.data["neighbours"][number]] == it.labels[number]).sum() for it in (view, view.twin)]
    assert f"{same[0]} of 10 share its class; with random weights {same[1]}." in words(page)

    page.get_by_role("button", name="Show as table").click()
    row = page.locator(".nw-table tbody tr").nth(3).locator("td").all_inner_texts()
    assert row[1] == f"{view.data['distances'][number, 3]:.3f}" and row[0].startswith(
        f"{view.data['neighbours'][number, 3]} ("
    )

    page.get_by_role("group", name="Nearest, trained", exact=True).get_by_role("button").nth(2).click()
    assert words(page).startswith(said(view, int(view.data["neighbours"][number, 2])))


def test_the_page_says_how_much_classes_agree_and_what_a_flat_map_keeps(page_of, view):
    page = page_of(view)
    text = page.inner_text(".nw-body")
    for it in (view, view.twin):
        share, low, high = (f"{100 * x:.1f} %" for x in it.data["agreement"])
        assert f"{share} share the picture's class (95 % interval {low} to {high}; by chance 4.6 %)" in text

    def keeps(it):
        shares = it.data["kept_variance"], it.data["kept_neighbours"]
        return "Keeps {:.0f} % of the variance and {:.0f} % of the neighbours".format(*(100 * x for x in shares))

    assert keeps(view) in text
    page.get_by_role("button", name="random", exact=True).click()
    assert keeps(view.twin) in page.inner_text(".nw-body")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_it(page_of, view, theme):
    assert serious_faults(page_of(view, theme=theme)) == []
