"""The page of the optimised pictures: the numbers that it shows are those of the record."""

from conftest import serious_faults
from netwright.views.pictures.optimised import OptimisedFeatures


def short(x: float, digits: int = 3) -> str:
    return f"{x:.{digits}g}"


def test_a_channel_is_chosen_by_click_and_by_key_and_its_numbers_are_shown(page_of):
    view = OptimisedFeatures("toy_resnext")
    page = page_of(view)
    words = page.locator(".nw-words")
    channels, excited = view.data["channels"], view.data["excited"]
    assert f"channel {channels[0, 0]}: the made picture excites it to {short(excited[0, 0])}" in words.inner_text()
    page.locator("canvas.nw-pick").click(position={"x": 150, "y": 150})  # second row, second column
    assert f"channel {channels[0, 5]}: the made picture excites it to {short(excited[0, 5])}" in words.inner_text()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Block").select_option(label="stages.3.0")
    assert f"stages.3.0, channel {channels[3, 6]}:" in words.inner_text()
    page.get_by_role("button", name="Show as table").click()
    cells = page.locator(".nw-table tbody tr").nth(6).locator("th, td").all_inner_texts()
    assert cells[:2] == [str(channels[3, 6]), short(excited[3, 6])]
    page.get_by_role("button", name="random twin").click()
    assert f"channel {view.twin.data['channels'][3, 6]}:" in words.inner_text()


def test_the_page_has_no_serious_fault_in_light_or_dark(page_of):
    for theme in ("light", "dark"):
        page = page_of(OptimisedFeatures("toy_resnet"), theme=theme)
        assert serious_faults(page) == []
