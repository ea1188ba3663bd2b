"""The exported pages of the ledger and of the groups: what is clicked, and the numbers that are then displayed."""

import re
from functools import cache

import numpy as np
import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.frame import assembling
from netwright.views.ledger.groups import GroupStructure
from netwright.views.ledger.ledger import Ledger


@cache
def probe_of(name: str):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[16]["image"])


@cache
def ledger_of(name: str, block: str | None = None) -> Ledger:
    return Ledger(probe_of(name), block)


def shown(x: float, signed: bool = True) -> str:
    """A number as paint.js writes it: three significant digits."""
    size = abs(x)
    if size == 0:
        text = "0"
    elif size >= 1e5 or size < 1e-3:
        text = re.sub(r"e([+-])0?(\d+)", lambda it: f"e{it[1].replace('+', '')}{it[2]}", f"{size:.2e}")
    else:
        text = f"{float(f'{size:.3g}'):g}"
    return (("-" if x < 0 else "+" if signed and x > 0 else "") + text).replace("-", "\u2212")


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def test_a_click_on_a_bar_shows_the_terms_share_its_place_and_both_changes(page_of):
    ledger = ledger_of("toy_resnext")
    way, page = ledger.data["ways"][0], page_of(ledger, twin=False)
    page.get_by_role("group", name="Terms of the sum").get_by_role("button", name="group 3").click()
    found = words(page)
    assert (
        f"Group 3 gives {shown(way['terms'][0, 3])} of {shown(ledger.data['logits'][0])}, “{ledger.data['names'][0]}”"
        in found
    )
    # In the last block a mean over the picture changes next to nothing, because the head takes it anyway.
    assert (
        f"Replaced by zero: predicted {shown(way['predicted']['zero'][0, 3])}, run again {shown(way['rerun']['zero'][0, 3])}"
        in found
    )
    assert f"rank {int((way['terms'][0] > way['terms'][0, 3]).sum()) + 1} of 8" in found

    half = float(np.float16(way["maps"][0, 3, 1, 1]))
    assert f"At row 1, column 1: {shown(half)}" in found
    page.locator("canvas.nw-pick").focus()
    page.keyboard.press("ArrowUp")
    assert f"At row 0, column 1: {shown(float(np.float16(way['maps'][0, 3, 0, 1])))}" in words(page)

    page.get_by_role("button", name="its mean over the picture").click()
    changes = [shown(way[kind]["mean"][0, 3]) for kind in ("predicted", "rerun")]
    assert "predicted {}, run again {}".format(*changes) in words(page)
    assert (
        page.get_by_text("ask for this class").count() == 0 or not page.get_by_text("ask for this class").is_visible()
    )


def test_two_classes_are_subtracted_and_the_table_has_the_same_numbers(page_of):
    ledger = ledger_of("toy_resnest")
    data, page = ledger.data, page_of(ledger_of("toy_resnest"), twin=False)
    page.get_by_role("combobox").nth(0).select_option(index=1)
    page.get_by_role("combobox").nth(1).select_option(index=3)  # "none" stands first
    page.get_by_role("button", name="gated splits").click()
    page.get_by_role("button", name="Show as table").click()
    terms, way = data["ways"][1]["terms"], data["ways"][1]
    difference = terms[1].astype(np.float64) - terms[2]
    rows = [
        [cell.strip() for cell in row.split("\t")] for row in page.locator(".nw-table tbody").inner_text().splitlines()
    ]
    assert [row[:2] for row in rows[:2]] == [[f"split {r}", shown(difference[r])] for r in range(2)]
    change = way["rerun"]["zero"][1].astype(np.float64) - way["rerun"]["zero"][2]
    assert [row[3] for row in rows[:2]] == [shown(value) for value in change]
    extras = data["extras"][1].astype(np.float64) - data["extras"][2]
    assert [row[1] for row in rows[2:]] == [shown(value) for value in extras]
    assert f"“{data['names'][1]}” minus “{data['names'][2]}”" in words(page)
    whole = page.get_by_text("The whole sum:").inner_text()
    assert whole.endswith(shown(float(data["logits"][1]) - float(data["logits"][2])))


def test_two_terms_taken_out_show_their_interaction_and_keys_move_through_the_bars(page_of):
    ledger = ledger_of("toy_resnext", "stages.1.1")
    way, page = ledger.data["ways"][0], page_of(ledger, twin=False)
    assert page.locator(".nw-badge").get_attribute("data-state") == "approximate"
    assert "first-order only" in page.locator(".nw-badge").inner_text()
    page.get_by_role("group", name="Terms of the sum").get_by_role("button", name="group 0").click()
    page.keyboard.press("ArrowDown")
    assert words(page).startswith("Group 1 gives")
    page.get_by_label("Take out group 1 and").select_option("group 4")
    pairs = way["pairs"]["mean"][0].astype(np.float64)
    assert f"With group 4 out too: {shown(pairs[1, 4])}" in words(page)
    assert f"of which {shown(pairs[1, 4] - pairs[1, 1] - pairs[4, 4])} is interaction" in words(page)

    page.locator("svg.nw-lines circle, svg.nw-lines rect").last.click()  # the chosen term is drawn last
    assert words(page).startswith("Group 1 gives")
    page.get_by_role("button", name="largest first").click()
    order = [
        text.split("\n")[0]
        for text in page.get_by_role("group", name="Terms of the sum").get_by_role("button").all_inner_texts()
    ]
    assert order == [f"group {j}" for j in np.argsort(-way["terms"][0], kind="stable")]


def with_kernel(view) -> tuple[str, object]:
    """A page that asks as a notebook does, and what answers it: the view's own widget, behind `window.kernel`."""
    asking = """save_changes() {
      const { question } = state;
      if (!question || question === state.told) return;
      state.told = question;
      const send = () => window.kernel ? window.kernel(question).then((it) => this.set("answer", it)) : setTimeout(send, 20);
      send();
    },"""
    html = assembling.page(view.title, [(view.script, view.message(live=True))])
    assert html.count("save_changes: () => {},") == 1

    def kernel(question: str) -> str:
        view.live.question = question
        return view.live.answer

    return html.replace("save_changes: () => {},", asking), kernel


def test_with_a_kernel_any_class_can_be_named_and_knock_outs_are_made_when_a_term_is_chosen(page_of, monkeypatch):
    monkeypatch.setattr(Ledger, "beforehand", False)
    ledger = Ledger(probe_of("toy_resnext"), "stages.2.0")
    assert ledger.payload()["ways"][0]["rerun"] is None and len(ledger.classes) == 4
    html, kernel = with_kernel(ledger)
    page = page_of(html)
    page.expose_function("kernel", kernel)
    page.get_by_role("group", name="Terms of the sum").get_by_role("button", name="group 6").click()
    page.wait_for_function("document.querySelector('.nw-words').innerText.includes('run again')")
    change = float(ledger.rerun()[0, 6])
    assert f"Group 6 gives {shown(float(ledger.data['ways'][0]['terms'][0, 6]))}" in words(page)
    assert f"run again {shown(change)}; likeliest class stays" in words(page)
    page.get_by_label("Take out group 6 and").select_option("group 2")
    page.wait_for_function("document.querySelector('.nw-words').innerText.includes('out too')")
    both = float((ledger.run_without([[6, 2]])[0] - ledger.probe.logits)[ledger.target])
    assert f"With group 2 out too: {shown(both)}" in words(page)

    number = ledger.probe.logits.argsort()[3].item()
    name = ledger.probe.class_names[number]
    assert number not in ledger.classes
    page.get_by_label("Any class by name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('.nw-words').innerText.includes('“{name}”')")
    terms = ledger.summed([number]).maps[0][0].sum((1, 2))
    assert f"Group 6 gives {shown(float(terms[6]))} of {shown(float(ledger.probe.logits[number]))}, “{name}”" in words(
        page
    )
    page.get_by_label("Any class by name").fill("unicorn")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.nw-words').innerText.includes(\"No class is called 'unicorn'\")")


def test_the_random_twin_shows_its_own_sum(page_of):
    ledger = ledger_of("toy_halonet")
    page = page_of(ledger)
    page.get_by_role("button", name="random twin").click()
    assert f"of {shown(ledger.twin.data['logits'][0])}, “{ledger.data['names'][0]}”" in words(page)
    assert page.get_by_role("combobox").nth(0).locator("option").count() == 10


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_ledger_and_the_groups_have_no_serious_fault_of_access(page_of, theme):
    for view in (ledger_of("toy_halonet", "stages.1.0"), GroupStructure(probe_of("toy_resnext"))):
        page = page_of(view, theme=theme, twin=False)
        page.get_by_role("button", name="Show as table").click()
        assert serious_faults(page) == []


def test_groups_show_their_likeness_their_directions_and_their_wires(page_of):
    view = GroupStructure(probe_of("toy_resnext"))
    data, page = view.data, page_of(GroupStructure(probe_of("toy_resnext")), twin=False)
    page.get_by_role("button", name="group 5").click()
    likeness = float(data["cka"][5, 1])
    assert words(page).startswith(f"Group 5 and group 1: likeness {shown(likeness, signed=False)}.")
    assert f"Group 5 uses {shown(float(data['participation'][5]), signed=False)} of 16 directions" in words(page)
    assert "Output 80 reads inputs 80 to 95: 16 of 128" in words(page)
    assert f"path to group 0 of stages.3.0: {shown(float(data['between'][0, 5]), signed=False)}" in words(page)

    page.get_by_role("button", name="by number").click()
    page.locator("canvas.nw-pick").nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert words(page).startswith(f"Group 5 and group 2: likeness {shown(float(data['cka'][5, 2]), signed=False)}.")

    mask = page.locator("canvas.nw-pick").nth(1)
    mask.scroll_into_view_if_needed()
    box = mask.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + box["height"] * 40.5 / 128)
    assert "Output 40 reads inputs 32 to 47" in words(page)
    page.mouse.move(box["x"] - 5, box["y"] - 5)
    assert "Output 80 reads inputs" in words(page)
    mask.focus()
    page.keyboard.press("Shift+ArrowDown")
    assert words(page).startswith("Group 6") and "Output 96 reads inputs 96 to 111" in words(page)
    assert f"at percentile {data['percentile']:g} of 200 random cuts" in page.locator(".nw-body").inner_text()


def test_a_class_with_a_long_name_does_not_widen_the_page(page_of):
    net = nw.create_model("toy_resnext", pretrained=True)
    net.class_names = tuple(f"{name}{'x' * 240}" for name in net.class_names)  # a folder's name may be so long
    page = page_of(Ledger(nw.probe(net, nw.ToyWorld("test")[16]["image"])), twin=False)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
