"""The gates, the splits and the two paths in an exported page: what is clicked, and the numbers that are then read."""

import re

import numpy as np
import pytest

import netwright as nw
from conftest import serious_faults
from netwright.views.frame import assembling
from netwright.views.gates.gates import Gates
from netwright.views.gates.paths import GatePaths
from netwright.views.gates.splits import SplitBrowser


@pytest.fixture(scope="module")
def probe():
    net = nw.create_model("toy_resnest", pretrained=True)
    return nw.probe(net, nw.ToyWorld("test")[0]["image"])


@pytest.fixture(scope="module")
def gates(probe):
    return Gates(probe)


def words(page) -> str:
    return page.locator(".nw-words").inner_text()


def numbers_in(text: str) -> list[float]:
    """All numbers of a text, with real minus signs; in per cent as they stand."""
    return [float(it.replace("\u2212", "-")) for it in re.findall(r"[\u2212+]?\d+(?:\.\d+)?(?:e\u2212?\d+)?", text)]


def rows_of(page) -> list[list[str]]:
    return page.locator(".nw-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )


def test_a_click_on_the_strip_reads_the_gate_that_is_there(page_of, gates):
    page = page_of(gates)
    strip = page.locator("canvas.nw-pick")
    box = strip.bounding_box()
    widest = gates.data["channels"].max()
    strip.click(
        position={"x": box["width"] * 20.5 / widest, "y": box["height"] * 4.5 / 7}
    )  # layer 4, 21st of its order
    layer, mean = 4, gates.data["mean_strip"][4][0]
    channel = int(np.argsort(-mean, kind="stable")[20])
    d = gates.data["strip"][layer][0, channel]
    assert words(page).startswith(f"Layer stages.2.0, channel {channel}: d ")
    found = numbers_in(words(page).split(":")[1])
    np.testing.assert_allclose(found[:4], [d, 0.5 + d, 0.5 - d, mean[channel]], atol=2e-3)
    share = gates.data["rho"][layer]
    assert f"to this layer's output is {100 * share:.0f} % of its length" in words(page)

    page.keyboard.press("ArrowRight")
    following = int(np.argsort(-mean, kind="stable")[21])
    assert words(page).startswith(f"Layer stages.2.0, channel {following}:")
    page.keyboard.press("Shift+ArrowUp")
    assert words(page).startswith("Layer stages.0.0, channel ")

    page.get_by_role("button", name="as in the net").click()
    page.locator("select").first.select_option("mean of the set")
    page.get_by_role("button", name="Show as table").click()
    rows = rows_of(page)
    assert [row[0] for row in rows] == [str(i) for i in range(16)]
    np.testing.assert_allclose([numbers_in(row[1])[0] for row in rows], gates.data["mean_strip"][0][0], atol=2e-3)


def test_bars_of_what_attention_adds_pick_the_layer(page_of, gates):
    page = page_of(gates, twin=False)
    shown = page.locator(".nw-bar-value").all_inner_texts()
    np.testing.assert_allclose([float(text) for text in shown], gates.data["rho"], rtol=6e-3)
    page.locator(".nw-bar").nth(5).click()
    low, high = gates.data["set_rho"][:, 5].min(), gates.data["set_rho"][:, 5].max()
    assert words(page).startswith(
        "Layer stages.2.1"
    ) and f"over the set {100 * low:.0f} % to {100 * high:.0f} %" in words(page)


def test_other_gates_show_what_forcing_them_gave_beside_the_random_twin(page_of, gates):
    page = page_of(gates)
    page.get_by_role("button", name="other gates").click()
    logits, own, changes = gates.data["forced_logits"], gates.probe.target(), gates.data["changes"]
    twin = gates.twin
    for row, forced, forced_twin in zip(rows_of(page), logits, twin.data["forced_logits"], strict=True):
        assert numbers_in(row[1])[0] == pytest.approx(forced[own], rel=6e-3)
        assert numbers_in(row[2])[0] == pytest.approx(forced[own] - gates.data["logits"][own], rel=1e-2, abs=1e-3)
        assert row[5].removesuffix(" (other)") == gates.probe.class_names[forced.argmax()]
        assert row[5].endswith(" (other)") == (forced.argmax() != own)
        theirs = twin.probe.target()
        assert numbers_in(row[6])[0] == pytest.approx(
            forced_twin[theirs] - twin.data["logits"][theirs], rel=1e-2, abs=1e-3
        )
    page.locator("button[data-change=negated]").click()
    assert f"now {gates.probe.class_names[logits[changes.index('negated')].argmax()]}" in words(page)

    page.get_by_label("Force the gates of").select_option("stages.1.1")
    expected = gates.force([3], "negated")[own].item()
    assert words(page).startswith("Gates of stages.1.1, negated: the logit of star goes from ")
    assert numbers_in(words(page).split(" to ")[1])[0] == pytest.approx(expected, rel=6e-3)

    page.get_by_role("button", name="random twin").click()
    assert numbers_in(page.locator(".nw-table td").first.inner_text())[0] == pytest.approx(
        twin.effects()["stages.1.1"][0]["logit"], rel=6e-3
    )
    assert page.locator("table thead th").count() == 6  # beside the twin there is no twin


def test_what_gates_know_stands_beside_what_shuffled_labels_know(page_of, gates):
    page = page_of(gates, twin=False)
    page.get_by_role("button", name="what gates know").click()
    sheet, data = page.locator(".nw-body").inner_text(), gates.data
    assert f"{100 * data['agree']:.0f} % have a nearest neighbour of their own class" in sheet
    assert f"negated {100 * data['flips']['negated']:.0f} %" in sheet
    channel = int(np.argsort(-data["mean_strip"][0][0], kind="stable")[3])
    page.locator("canvas.nw-pick").focus()
    page.keyboard.press("Home")  # no key of the view's: nothing happens
    while f"channel {channel}:" not in words(page):
        page.keyboard.press("ArrowRight")
    assert f"{100 * data['eta2'][0][0, channel]:.0f} % lies between classes" in words(page)
    assert f"with shuffled labels {100 * data['eta2_shuffled'][0]:.0f} %" in words(page)


def test_the_splits_of_a_channel_are_read_where_one_clicks(page_of, probe):
    view = SplitBrowser(probe, "stages.1.0")
    page = page_of(view)
    data = view.data
    slider = page.get_by_label("Channel (most added first)")
    slider.focus()
    page.keyboard.press("ArrowRight")
    canvas = page.locator("canvas.nw-pick").nth(1)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 2.5 / 16, "y": box["height"] * 6.5 / 16})
    first, second = data["splits"][1, :, 6, 2]
    a, b = data["gates"][1]
    assert words(page).startswith(f"Channel {data['channels'][1]} at row 6, column 2: ")
    found = numbers_in(re.sub("U[₀₁]", "", words(page).split(": ")[1]))
    expected = [
        first,
        second,
        a,
        b,
        (a - b) / 2,
        data["out"][1, 6, 2],
        data["fixed"][1, 6, 2],
        abs(data["added"][1, 6, 2]),
    ]
    np.testing.assert_allclose(found, expected, atol=6e-3)
    reads = data["reads"][1]
    assert (
        f"split 0 reads {reads[0, 0]} to {reads[0, 1]}, split 1 reads {reads[1, 0]} to {reads[1, 1]}"
        in page.locator(".nw-note").first.inner_text()
    )
    page.keyboard.press("ArrowUp")
    assert "at row 5, column 2" in words(page)

    page.get_by_role("button", name="the whole layer").click()
    reach = max(np.abs(data["splits"]).max(), np.abs(data["splits"][:, 0] - data["splits"][:, 1]).max())
    assert numbers_in(page.locator(".nw-legend").inner_text())[1] == pytest.approx(reach, rel=6e-3)
    page.get_by_role("button", name="Show as table").click()
    assert numbers_in(rows_of(page)[1][3])[0] == pytest.approx(data["splits"][1, 1].max(), rel=6e-3)


def test_the_paths_of_a_place_are_told_apart_in_numbers(page_of, probe):
    view = GatePaths(probe, "stages.1.0")
    page = page_of(view)
    page.locator("canvas.nw-pick").focus()
    page.keyboard.press("ArrowUp")  # to the nearest place that the page knows
    found = view.look((0, 4))
    top, left, bottom, right = found["box"]
    assert (
        f"Row 0, column 4: kernels and strides reach rows {top} to {bottom - 1}, columns {left} to {right - 1}"
        in words(page)
    )
    shares = [float(it) for it in re.findall(r"([\d.]+) % of the energy lies outside", words(page))]
    np.testing.assert_allclose(shares, [100 * found["outside"][0]], atol=0.06)
    assert "with gates held, 0 %." in words(page)
    page.get_by_role("button", name="Show as table").click()
    rows = rows_of(page)
    assert float(rows[2][1].removesuffix(" %")) == pytest.approx(100 * found["outside"][2], abs=0.06)
    assert rows[1][1] == "0 %"
    page.get_by_role("button", name="gradient length").click()
    assert "of the longest gradient" in page.locator(".nw-legend").first.inner_text()


def live(page_of, view):
    """The view's page as it is beside a kernel: what it asks, the view answers."""
    told = assembling.page(view.title, [(view.script, view.message(live=True))])
    ask = """function live(state) {
      const model = stored(state), { set } = model;
      model.set = (name, value) => {
        set(name, value);
        if (name === "question") kernel(value).then((it) => set("answer", it));
      };
      return model;
    }
    """
    place = 'stored({ payload: data.textContent, choice: "{}" })'
    assert place in told
    page = page_of(told.replace(place, place.replace("stored", "live")).replace("const places", f"{ask}const places"))

    def kernel(question):
        view.live.question = question
        return view.live.answer

    page.expose_function("kernel", kernel)
    return page


def test_beside_a_kernel_gates_go_part_of_the_way_and_other_blocks_and_places_are_shown(page_of, gates, probe):
    own = probe.target()
    page = live(page_of, gates)
    page.get_by_role("button", name="other gates").click()
    page.get_by_label("How far").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("text=75 % of the way to one half")
    expected = gates.force(gates.scopes["all layers"], "even", 0.75)[own].item()
    assert numbers_in(words(page).split(" to ")[-1])[0] == pytest.approx(expected, rel=6e-3)

    page = live(page_of, SplitBrowser(probe))
    page.get_by_label("Layer").select_option("stages.2.1")
    data = SplitBrowser(probe, "stages.2.1").data
    page.wait_for_selector(f"text=Channel {data['channels'][0]} at row 2, column 2")
    page = live(page_of, view := GatePaths(probe, "stages.1.0"))
    page.locator("canvas.nw-pick").focus()
    page.keyboard.press("ArrowUp")
    box = view.look((3, 4))["box"]
    page.wait_for_selector(f"text=Row 3, column 4: kernels and strides reach rows {box[0]} to {box[2] - 1}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_three_views_have_no_serious_fault_of_accessibility(page_of, gates, probe, theme):
    page = page_of(gates, theme=theme)
    for sheet in ("other gates", "what gates know", "what attention adds"):
        page.get_by_role("button", name=sheet).click()
        assert serious_faults(page) == []
    for view in (SplitBrowser(probe), GatePaths(probe, "stages.1.0")):
        page = page_of(view, theme=theme)
        page.get_by_role("button", name="Show as table").click()
        assert serious_faults(page) == []
