"""The page of a training: the slider moves through its epochs, and the numbers are those of the record."""

from conftest import serious_faults
from netwright.views.training.scrubber import Scrubber


def test_the_slider_moves_through_the_epochs_and_the_table_holds_them_all(page_of):
    view = Scrubber.recorded("toy_halonet")
    epochs = view.data["epochs"]
    page = page_of(view)
    words = page.locator(".nw-words")
    assert f"Epoch 20: {100 * epochs[19]['probability']:.1f} % for “flower”" in words.inner_text()
    page.get_by_label("Epoch", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert f"Epoch 19: {100 * epochs[18]['probability']:.1f} %" in words.inner_text()
    page.keyboard.press("Home")
    assert f"Epoch 1: {100 * epochs[0]['probability']:.1f} %" in words.inner_text()
    assert f"accuracy {100 * epochs[0]['top1']:.1f} %" in words.inner_text()
    page.get_by_role("button", name="Show as table").click()
    rows = page.locator(".nw-table tbody tr")
    assert rows.count() == 21
    assert rows.nth(6).locator("td").first.inner_text() == f"{epochs[6]['probability']:.3g}"


def test_the_training_has_no_serious_fault_of_access(page_of):
    for theme in ("light", "dark"):
        assert serious_faults(page_of(Scrubber.recorded("toy_resnest"), theme=theme)) == []
