"""Removal and the league table as exported pages: what is clicked, what is read, against the arrays behind it."""

import numpy as np
import pytest

from conftest import serious_faults
from netwright.explain import league
from netwright.models import create_model
from netwright.probing.capture import Probe
from netwright.toys import ToyWorld
from netwright.views.explained.league import League
from netwright.views.explained.removal import Removal


@pytest.fixture(scope="module")
def view():
    probe = Probe(create_model("toy_halonet", pretrained=True), ToyWorld("test")[2]["image"])
    return Removal(probe, maps=["class_map", "gradient_input", "occlusion"])


def words(page) -> str:
    return page.inner_text(".nw-words").replace("\u2212", "-")


def table_rows(page, where: str) -> list[list[str]]:
    return page.eval_on_selector_all(f"{where} tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.innerText))")


def test_the_slider_says_what_the_net_said_at_that_share(page_of, view):
    page = page_of(view)
    method = view.data["methods"]["occlusion"]
    control = view.data["controls"][method["size"]]
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    count, at = control["counts"][2], 2
    assert f"{count} of 64 cells gone: p({view.data['class']}) is {100 * method['deletion'][at]:.1f} %" in words(page)
    by_lot = control["random"]["deletion"].mean(0)[at]
    assert f"{100 * by_lot:.1f} % in random orders, {100 * control['centre']['deletion'][at]:.1f} % from" in words(page)
    page.get_by_role("button", name="cells come back").click()
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    assert f"64 of 64 cells back: p({view.data['class']}) is {100 * view.data['probability']:.1f} %" in words(page)
    page.get_by_role("button", name="logit").click()
    logit = view.data["logit"]
    assert f"is +{float(f'{logit:.3g}'):g} in the map's order" in words(page)


def test_menu_order_and_table_show_the_arrays(page_of, view):
    page = page_of(view)
    page.get_by_role("combobox", name="Map").select_option(label="Class map (last map, exact)")
    method = view.data["methods"]["class_map"]
    control = view.data["controls"][method["size"]]
    page.get_by_role("button", name="Show as table").click()
    rows = table_rows(page, ".nw-table")
    assert [int(row[0]) for row in rows] == control["counts"].tolist()
    shown = np.array([[float(cell.replace("\u2212", "-")) for cell in row[2:]] for row in rows])
    expected = np.stack([method["deletion"], control["random"]["deletion"].mean(0), control["centre"]["deletion"]], 1)
    assert shown == pytest.approx(expected, rel=6e-3, abs=1e-6)
    own = float(page.inner_text("text=/^Area: /").split()[1].rstrip(";"))
    assert own == pytest.approx(view.areas("class_map")[0], rel=6e-3)


def test_the_picture_shows_what_is_gone_in_the_chosen_order(page_of, view):
    page = page_of(view)
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    method = view.data["methods"]["occlusion"]
    control = view.data["controls"][method["size"]]
    picture, filling = (np.asarray(view.data[it].convert("RGB")) for it in ("picture", "filling"))
    for name, order in (
        ("the map's", method["order"]), ("a random one", control["random"]["order"]), ("centre first", control["centre"]["order"]),
    ):  # fmt: skip
        page.get_by_role("button", name=name, exact=True).click()
        shown = page.eval_on_selector(
            'canvas[aria-label^="The picture with"]',
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
        )
        side = round((len(shown) // 4) ** 0.5)
        pixels = np.array(shown).reshape(side, side, 4)[..., :3]
        at = (np.arange(64) * side // 64) + side // 128  # the middle of each pixel
        gone = order.repeat(8, 0).repeat(8, 1) < control["counts"][1]
        assert (pixels[at[:, None], at] == np.where(gone[..., None], filling, picture)).all()
        assert name in page.get_attribute('canvas[aria-label^="The picture with"]', "aria-label")


def test_the_random_twin_of_removal_has_its_own_numbers(page_of, view):
    page = page_of(view)
    page.get_by_role("button", name="random twin").click()
    assert f"is {100 * view.twin.data['probability']:.1f} %" in words(page)
    assert view.twin.data["probability"] != view.data["probability"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_neither_page_has_a_serious_fault(page_of, view, theme):
    for shown in (view, League()):
        page = page_of(shown, theme=theme, size="projector")
        page.get_by_role("button", name="Show as table").click()
        assert serious_faults(page) == []


def shown_methods(page) -> list[str]:
    return page.eval_on_selector_all("tr[data-method]", "rows => rows.map(r => r.dataset.method)")


def test_the_league_is_sorted_by_what_is_pressed(page_of):
    table = League()
    page = page_of(table)
    rows = table.rows("toy_halonet")
    assert shown_methods(page)[0] == max(rows, key=lambda row: row["pointing"][0])["method"]
    page.get_by_role("button", name="Deletion").click()
    by_deletion = sorted(rows, key=lambda row: row["deletion"][0])
    assert [row["deletion"][0] for row in by_deletion] == [
        next(row["deletion"][0] for row in rows if row["method"] == name) for name in shown_methods(page)
    ]
    page.locator('[data-sort="score"]').focus()
    page.keyboard.press("Enter")
    assert shown_methods(page)[0] == by_deletion[-1]["method"]
    page.locator('[data-sort="title"]').click()
    titles = [league.METHODS[name].title for name in shown_methods(page)]
    assert titles == sorted(titles)
    assert page.get_attribute("th:has([data-sort=title])", "aria-sort") == "ascending"


def test_the_league_shows_the_recorded_scores_twins_and_chance(page_of):
    table = League()
    page = page_of(table)
    page.get_by_role("combobox", name="Net").select_option(label="toy_resnest")
    page.get_by_role("combobox", name="What causes the label").select_option(label="shape")
    row = table.rows("toy_resnest", "shape", "occlusion")[0]
    cells = page.eval_on_selector("tr[data-method=occlusion]", "r => [...r.cells].map(c => c.innerText)")
    assert cells[1] == "{:.0f} % ({:.0f} to {:.0f})".format(*(100 * it + 1e-9 for it in row["pointing"]))
    assert cells[3] == "{:.0f} % ({:.0f} to {:.0f})".format(*(100 * it + 1e-9 for it in row["twin"]["pointing"]))
    assert f"chance is {100 * table.record['chance']['toy_resnest']['shape']:.0f} %" in words(page)
    page.get_by_role("combobox", name="Net").select_option(label="all nets")
    assert len(shown_methods(page)) == len(table.rows(None, "shape"))
