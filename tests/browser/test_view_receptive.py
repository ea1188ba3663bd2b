"""Receptive fields in a page without a network: click, keys and menus, and the numbers that they show."""

import json

import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.frame import assembling
from netwright.views.receptive.field import LOCAL, WHOLE, ReceptiveField, spread


@pytest.fixture(scope="module")
def view():
    net = nw.create_model("toy_resnest", pretrained=True)
    return ReceptiveField(nw.probe(net, nw.ToyWorld("test")[3]["image"]), "stages.1")


def words(page) -> str:
    return page.inner_text(".nw-words")


def click_part(page, row, column, parts):
    box = page.locator(".nw-pick").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (column + 0.5) / parts, box["y"] + box["height"] * (row + 0.5) / parts)


def said(view, place, row, column):
    """What the page is to say of a cell, from the arrays of the view."""
    y0, y1, x0, x1 = view.boxes[place].local(row, column)
    local = view.energy(place, (row, column), LOCAL)
    return [
        f"{place}, cell in row {row}, column {column}: box of {y1 - y0 + 1} × {x1 - x0 + 1} pixels (rows {y0} to {y1}",
        f"columns {x0} to {x1})",
        f"local path's energy lies in {view.pixels_for(local, 0.5)} pixels",
        f"90 % in {view.pixels_for(local, 0.9)}.",
    ]


def outside(view, place, row, column):
    y0, y1, x0, x1 = view.boxes[place].local(row, column)
    whole = view.energy(place, (row, column), WHOLE)
    return 1 - whole[y0 : y1 + 1, x0 : x1 + 1].sum() / whole.sum()


def test_click_keys_and_menus_show_the_box_and_the_energy_of_a_cell(page_of, view):
    page = page_of(view)
    half = view.pixels_for(view.data["local_energy"], 0.5)
    assert "stages.1, cell in row 4, column 4: box of 63 × 63 pixels (rows 1 to 63, columns 1 to 63)" in words(page)
    assert f"energy lies in {half} pixels" in words(page) and "16 draws" in words(page)

    cells = spread(8, 4)
    click_part(page, 1, 2, 4)
    for text in said(view, "stages.1", cells[1], cells[2]):
        assert text in words(page)
    page.keyboard.press("ArrowDown")
    for text in said(view, "stages.1", cells[2], cells[2]):
        assert text in words(page)
    page.keyboard.press("ArrowLeft")
    assert f"cell in row {cells[2]}, column {cells[1]}" in words(page)

    page.get_by_label("Map").select_option(index=0)
    middle = spread(16, 3)[1]
    for text in said(view, "stages.0", middle, middle):
        assert text in words(page)
    share = outside(view, "stages.0", middle, middle)
    digits = 2 if share < 0.01 else 1 if share < 0.1 else 0
    assert f"{100 * share:.{digits}f} % of the whole net's energy lies outside of the box" in words(page)
    page.get_by_role("button", name="Show as table").click()
    table = page.locator(".nw-table td").all_inner_texts()
    field = view.energy("stages.0", (middle, middle), LOCAL)
    assert table[5] == str(view.pixels_for(field, 0.5)) and table[7] == "0.00 %"
    assert float(table[4]) == pytest.approx(field.sum(), rel=0.01)


def test_the_twin_has_the_same_box_and_another_energy(page_of, view):
    page = page_of(view)
    before = words(page)
    page.get_by_role("button", name="random twin").click()
    after = words(page)
    assert before.split("pixels")[0] == after.split("pixels")[0]
    assert f"energy lies in {view.twin.pixels_for(view.twin.data['local_energy'], 0.5)} pixels" in after


def test_one_scale_for_all_cells_unless_one_is_chosen(page_of, view):
    page = page_of(view)
    shared = page.locator(".nw-legend:visible").inner_text()
    click_part(page, 0, 0, 4)
    assert page.locator(".nw-legend:visible").inner_text().split(";")[0] == shared.split(";")[0]
    page.get_by_role("button", name="this cell").click()
    scale, shown = page.locator(".nw-legend:visible").inner_text().split("; shown: ")
    assert scale.startswith(shown)


KERNEL = """
function kernel(state) { // asks Python as anywidget would
  const model = stored(state), set = model.set;
  model.set = (name, value) => {
    set(name, value);
    if (name === "question") window.askPython(value).then((answer) => set("answer", answer));
  };
  return model;
}
const views = {};"""


def test_with_a_kernel_every_cell_can_be_picked_and_its_energy_settles_with_more_draws(page_of, view):
    asked = []

    def answer(question):
        question = json.loads(question)
        asked.append(question)
        return assembling.dumps({**view.answer(question), "id": question["id"]})

    html = assembling.page(view.title, [(view.script, view.message(live=True))])
    page = page_of(html.replace("stored({ payload", "kernel({ payload").replace("const views = {};", KERNEL))
    page.expose_function("askPython", answer)
    click_part(page, 1, 6, 8)
    page.wait_for_function("document.querySelector('.nw-words').textContent.includes('16 draws')")
    assert [(it["row"], it["column"], it["start"]) for it in asked] == [(1, 6, 0), (1, 6, 8)]
    field = view.energy("stages.1", (1, 6), LOCAL, draws=16)
    assert f"energy lies in {view.pixels_for(field, 0.5)} pixels" in words(page)
    assert f"90 % in {view.pixels_for(field, 0.9)}." in words(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_it(page_of, view, theme):
    assert serious_faults(page_of(view, theme=theme)) == []
