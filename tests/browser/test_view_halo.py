"""The exported page of HaloNet's query explorer, with the network off: what it says is what numpy says."""

import functools
import re

import numpy as np
import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.frame import assembling
from netwright.views.halo.explorer import HaloExplorer

FIRST, SECOND = "stages.1.0.middle.attention", "stages.2.0.middle.attention"


@functools.cache
def explorer() -> HaloExplorer:
    net = nw.create_model("toy_halonet", pretrained=True)
    return HaloExplorer(nw.probe(net, nw.ToyWorld("test")[3]["image"]))


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def expect_told(page, layer: str, head: int, row: int, column: int, then: str = "") -> None:
    """The words under the view are about this query and have its numbers; the page's copy of them has 12 bits."""
    here = explorer().data[layer]
    told = re.fullmatch(
        r"Head (\d+), query row (\d+), column (\d+): (\d+) % own block, (\d+) % halo, (\d+) % padding; "
        r"([\d.]+) effective keys of (\d+) in the picture, ([\d.]+) px away on average\.(.*)",
        words(page),
    ).groups()
    numbers = [float(it) for it in told[:-1]]
    assert numbers[:3] == [head, row, column] and told[-1] == then
    assert numbers[3:6] == pytest.approx(100 * here["masses"][head, row, column], abs=0.55)
    statistics = {name: values[head, row, column] for name, values in here["statistics"].items()}
    assert [numbers[6], numbers[8]] == pytest.approx([statistics["effective keys"], statistics["distance"]], rel=1e-2)
    assert numbers[7] == here["valid"][row, column]


def cells(page) -> list[list[str]]:
    return page.eval_on_selector_all(
        ".nw-table tbody tr", "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )


def test_arrow_keys_move_the_query_and_a_border_makes_the_window_jump(page_of):
    page = page_of(explorer())
    picture = page.locator("canvas.nw-pick").first
    expect_told(page, FIRST, 0, 3, 3)
    picture.press("ArrowRight")
    expect_told(page, FIRST, 0, 3, 4, " The window jumped by 8.")
    picture.press("ArrowRight")
    expect_told(page, FIRST, 0, 3, 5, " The window stayed.")
    picture.press("Shift+ArrowDown")
    expect_told(page, FIRST, 0, 7, 5, " The window jumped by 8.")
    picture.press("]")
    expect_told(page, FIRST, 1, 7, 5)
    picture.press("[")
    picture.press("[")
    expect_told(page, FIRST, 3, 7, 5)


def test_a_click_picks_the_query_under_it(page_of):
    page = page_of(explorer())
    box = page.locator("canvas.nw-pick").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 6.5 / 8, box["y"] + box["height"] * 1.5 / 8)
    expect_told(page, FIRST, 0, 1, 6, " The window jumped by 8.")
    page.mouse.click(box["x"] + box["width"] * 0.5 / 8, box["y"] + box["height"] * 7.5 / 8)
    expect_told(page, FIRST, 0, 7, 0, " The window jumped by 8 rows and 8 columns.")


def test_another_layer_shows_the_same_place_and_its_own_heads(page_of):
    page = page_of(explorer())
    page.get_by_label("Layer").select_option(index=1)
    expect_told(page, SECOND, 0, 1, 1)
    assert page.get_by_role("group", name="Heads").get_by_role("button").count() == 8
    page.get_by_role("button", name=re.compile("^head 6:")).click()
    expect_told(page, SECOND, 6, 1, 1)


def test_the_table_holds_the_numbers_of_every_head(page_of):
    view, page = explorer(), page_of(explorer())
    page.get_by_role("button", name="Show as table").click()
    page.locator("canvas.nw-pick").first.press("ArrowDown")
    here = view.data[FIRST]
    found = np.array([[float(cell.replace("−", "-")) for cell in row] for row in cells(page)])
    assert found[:, 0].tolist() == [0, 1, 2, 3]
    assert np.allclose(found[:, 1:4], here["masses"][:, 4, 3], rtol=1e-2, atol=1e-3)
    assert np.allclose(found[:, 4], here["statistics"]["effective keys"][:, 4, 3], rtol=1e-2)
    assert np.allclose(found[:, 5], np.median(here["statistics"]["effective keys"], axis=(1, 2)), rtol=1e-2)
    assert np.allclose(found[:, 6], here["statistics"]["distance"][:, 4, 3], rtol=1e-2)
    assert np.allclose(found[:, 8], here["statistics"]["position share"][:, 4, 3], rtol=1e-2)


@pytest.mark.parametrize("mode", ["attention", "content", "position", "value-weighted"])
def test_each_mode_is_drawn_on_the_scale_that_its_numbers_have(page_of, mode):
    view, page = explorer(), page_of(explorer())
    page.get_by_role("button", name=mode, exact=True).click()
    maps = view.maps(3, 3, mode)
    low, high = (
        float(it.replace("−", "-").replace("e-", "e-"))
        for it in re.search("shown: (.*) to (.*)", page.locator(".nw-legend span").inner_text()).groups()
    )
    assert [low, high] == pytest.approx([maps.min(), maps.max()], rel=1e-2, abs=1e-3)
    page.get_by_role("button", name="the layer", exact=True).click()
    top = float(page.locator(".nw-legend span").inner_text().split(" to ")[1].split()[0])
    every = np.stack([view.maps(row, column, mode) for row in range(8) for column in range(8)])
    assert top == pytest.approx(np.abs(every).max(), rel=1e-2)


def test_a_key_is_taken_apart_into_its_numbers(page_of):
    view, page = explorer(), page_of(explorer())
    one = page.locator("canvas.nw-pick").nth(1)
    side = one.bounding_box()["width"] / 14
    one.click(position={"x": 9.5 * side, "y": 5.5 * side})
    one.press("ArrowDown")
    told = one.get_attribute("aria-label")
    assert told.startswith("Key, row 6, column 9 of the window (row 3, column 6 of the map)")
    numbers = [float(it.replace("−", "-")) for it in re.findall(r"(?:content|position|together) ([+−][\d.e−]+)", told)]
    content, position = (view.maps(3, 3, mode)[0, 6, 9] for mode in ("content", "position"))
    assert numbers == pytest.approx([content, position, content + position], rel=1e-2, abs=2e-3)
    share = float(re.search(r"([\d.]+) % of the attention", told)[1])
    assert share == pytest.approx(100 * view.maps(3, 3)[0, 6, 9], abs=0.02)
    one.click(position={"x": 0.5 * side, "y": 0.5 * side})
    assert "padding: its key and value are 0): content 0," in one.get_attribute("aria-label")


def test_what_was_taken_away_is_told_beside_the_twin(page_of):
    view, page = explorer(), page_of(explorer())
    row = next(it for it in view.ablations(0) if it["key"] == "padding")
    page.get_by_role("button", name="padding masked", exact=True).click()
    told = words(page)
    own, twin = (float(it.replace("−", "-")) for it in re.findall(r"changes by ([+−][\d.]*\d)", told))
    assert own == pytest.approx(row["change"], rel=1e-2) and twin == pytest.approx(row["twin"]["change"], rel=1e-2)
    assert f"{row['kept']} of the 5 likeliest stay" in told
    page.get_by_role("button", name="random twin", exact=True).click()
    assert (
        view.twin.probe.class_names[view.twin.probe.top(1)[0]]
        in page.locator("h3", has_text="Take something").inner_text()
    )
    assert "In the random twin" not in words(page)


def test_the_twin_is_shown_at_the_same_place(page_of):
    page = page_of(explorer())
    page.locator("canvas.nw-pick").first.press("ArrowUp")
    page.get_by_role("button", name="random twin", exact=True).click()
    found = [int(it) for it in re.findall(r"(\d+) %", words(page))]
    masses = 100 * explorer().twin.data[FIRST]["masses"][0, 2, 3]
    assert np.abs(np.array(found) - masses).max() <= 0.55
    ink = page.eval_on_selector(
        "canvas[aria-hidden]", "it => it.getContext('2d').getImageData(it.width / 2, it.height / 2, 1, 1).data[3]"
    )
    assert ink == 255


def test_a_page_without_its_twin_says_what_was_not_measured(page_of):
    view = HaloExplorer(explorer().probe)
    page = page_of(view, twin=False)
    assert page.get_by_role("button", name="padding masked", exact=True).is_enabled()
    page.get_by_label("Layer").select_option(index=1)
    assert page.get_by_text("Not measured for this page").is_visible()
    assert page.get_by_role("button", name="padding masked", exact=True).is_disabled()


LIVE = """async ([text, payload]) => {
    const script = URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
    const {default: {render}} = await import(script);
    const state = {payload, choice: "{}"}, heard = {};
    const set = (name, value) => { state[name] = value; heard[`change:${name}`]?.(); };
    const model = {
        get: (name) => state[name], set, on: (name, f) => { heard[name] = f; }, off: () => {},
        save_changes: () => { if (state.question) { const q = state.question; state.question = null; answerOfTheKernel(q).then((it) => set("answer", it)); } },
    };
    render({model, el: document.getElementById("live")});
}"""


def test_live_the_kernel_answers_for_the_net_and_then_for_its_twin(page_of):
    view = HaloExplorer(explorer().probe)
    page = page_of("<!doctype html><html lang='en'><body><div class='nw-view'>a notebook</div><div id='live'></div>")
    widget = view.live

    def kernel(question: str) -> str:
        widget.question = question
        return widget.answer

    page.expose_function("answerOfTheKernel", kernel)
    page.evaluate(LIVE, [assembling.module("halo"), widget.payload])
    page.get_by_role("button", name="content off", exact=True).click()
    page.wait_for_function("document.querySelector('#live .nw-words')?.textContent.includes('In the random twin')")
    row = next(it for it in view.ablations(0) if it["key"] == "content")
    own, twin = (float(it.replace("−", "-")) for it in re.findall(r"changes by ([+−][\d.]*\d)", words(page)))
    assert [own, twin] == pytest.approx([row["change"], row["twin"]["change"]], rel=1e-2)
    page.get_by_role("button", name="Measure all").click()
    page.wait_for_function(
        "[...document.querySelectorAll('#live th[scope=row] button')].every(it => !it.closest('tr').textContent.includes('–'))"
    )
    rows = page.locator("#live tr", has=page.get_by_role("button", name="halo 0 instead of 3", exact=True))
    assert f"{view.ablations(0)[1]['change']:+.2f}" in rows.inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(page_of, theme):
    page = page_of(explorer(), theme=theme)
    page.get_by_role("button", name="Show as table").click()
    page.get_by_role("button", name="head 1 at its mean", exact=True).click()
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
