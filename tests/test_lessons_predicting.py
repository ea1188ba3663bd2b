"""Guesses before an experiment: kept at once, counted only when they came first, and never in the way of the notebook."""

import json

import pytest

from netwright.lessons import predicting
from netwright.lessons.predicting import calibration, predict, reveal

WHICH = ("attention.knock_out", "Which way does the logit move?", ("up", "down", "not at all"))


@pytest.fixture(autouse=True)
def session(monkeypatch, tmp_path):
    """A session of its own, beside no record."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predicting, "_asked", {})


@pytest.fixture
def recorded(tmp_path):
    (tmp_path / "progress").mkdir()
    return tmp_path / "progress" / "predictions" / "attention.knock_out.json"


def another_session(monkeypatch):
    monkeypatch.setattr(predicting, "_asked", {})


def html(shown):
    return shown._repr_mimebundle_()["text/html"]


def test_a_guess_before_the_answer_counts_as_right_or_not():
    predict(*WHICH).choose("down")
    answer = reveal(WHICH[0], "down", "It fell by 1.2.")
    assert answer and str(answer) == "You guessed “down”, and so it is. It fell by 1.2."
    predict("attention.other", "?", ("up", "down")).choose("up")
    other = reveal("attention.other", "down")
    assert not other and other.sentence == "You guessed “up”; measured was “down”."
    assert calibration().rows == (("09_attention", 2, 2, 1, 1 / 3 + 1 / 2),)
    assert "1 right, where blind guessing would give 0.8 on average" in str(calibration())


def test_no_word_scolds_a_wrong_guess():
    predict(*WHICH).choose("up")
    said = html(reveal(WHICH[0], "down")).lower()
    assert not any(word in said for word in ("wrong", "sorry", "incorrect", "unfortunately", "fail", "#d55e00"))


def test_without_a_guess_the_notebook_runs_on_and_nothing_is_recorded(recorded):
    asked = predict(*WHICH)
    answer = reveal(WHICH[0], "down")
    assert not answer and answer.sentence == "Not guessed. Measured: “down”."
    assert not recorded.parent.exists() and calibration().rows == ()
    assert "a choice now would not count" in str(asked)


def test_a_choice_after_the_answer_was_shown_does_not_count(recorded):
    asked = predict(*WHICH)
    reveal(WHICH[0], "down")
    asked.choose("down")
    answer = reveal(WHICH[0], "down")
    assert not answer and "does not count" in str(answer) and "does not count" in str(predict(*WHICH))
    assert not recorded.exists() and calibration().rows == ()


def test_a_reveal_before_its_question_says_so_and_shows_nothing(recorded):
    answer = reveal(WHICH[0], "down", "It fell by 1.2.")
    assert "has not been asked yet" in str(answer) and "1.2" not in str(answer) and "“down”" not in str(answer)
    assert not recorded.exists()
    predict(*WHICH).choose("down")  # and the guess is still worth something
    assert reveal(WHICH[0], "down")


def test_a_guess_is_on_the_disk_as_soon_as_it_is_made_and_there_again_in_the_next_session(recorded, monkeypatch):
    predict(*WHICH).choose("up")
    assert json.loads(recorded.read_text())["choice"] == "up"
    another_session(monkeypatch)
    asked = predict(*WHICH)
    assert asked.choice == "up" and "You guessed “up”" in html(asked)
    asked.choose("down")
    assert json.loads(recorded.read_text())["choice"] == "down"


def test_a_guess_of_an_earlier_session_is_answered_without_asking_again(recorded, monkeypatch):
    predict(*WHICH).choose("up")
    another_session(monkeypatch)
    assert reveal(WHICH[0], "up")
    another_session(monkeypatch)
    assert calibration().rows == (("09_attention", 1, 1, 1, 1 / 3),)


def test_what_has_been_answered_is_not_changed_any_more(recorded):
    asked = predict(*WHICH)
    asked.choose("up")
    reveal(WHICH[0], "down")
    asked.choose("down")
    assert asked.choice == "up" and json.loads(recorded.read_text())["choice"] == "up"
    assert not reveal(WHICH[0], "down")


def test_a_truth_that_was_not_offered_makes_nobody_right_or_wrong(recorded):
    predict(*WHICH).choose("up")
    answer = reveal(WHICH[0], "sideways")
    assert not answer and "not among the choices" in str(answer) and "Your guess was “up”" in str(answer)
    assert json.loads(recorded.read_text())["truth"] is None
    assert calibration().rows[0][1:4] == (1, 0, 0)


def test_numbers_and_truths_of_other_types_are_compared_as_they_read():
    predict("attention.count", "How many?", (1, 2, 3)).choose(2)
    assert reveal("attention.count", 2)


@pytest.mark.parametrize("content", ["{broken", "[]", "{}", '{"prediction": "x"}', '{"choices": 3}'])
def test_a_file_that_cannot_be_read_is_no_guess(recorded, content):
    recorded.parent.mkdir()
    recorded.write_text(content)
    assert predict(*WHICH).choice is None and calibration().rows == ()
    predict(*WHICH).choose("up")
    assert json.loads(recorded.read_text())["choice"] == "up"


def test_a_guess_among_other_choices_is_not_taken_for_one_among_these(recorded, monkeypatch):
    predict(WHICH[0], "?", ("left", "right")).choose("left")
    another_session(monkeypatch)
    assert predict(*WHICH).choice is None


def test_a_folder_that_cannot_be_written_to_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "predictions").write_text("in the way")
    asked = predict(*WHICH)
    asked.choose("up")
    assert asked.choice == "up" and reveal(WHICH[0], "up") and calibration().rows[0][1:4] == (1, 1, 1)


@pytest.mark.parametrize("name", ["knock_out", "a.b.c", "../x.y", "attention.knock out", ""])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="is called like an exercise"):
        predict(name, "?", ("a", "b"))


@pytest.mark.parametrize("choices", [(), ("a",), ("a", "a"), ("a", "b", "a")])
def test_a_question_without_a_choice_is_refused(choices):
    with pytest.raises(ValueError, match="at least two choices"):
        predict("attention.x", "?", choices)
    with pytest.raises(ValueError, match="none of the choices"):
        predict(*WHICH).choose("elsewhere")


def test_a_click_does_what_choose_does_and_the_answer_locks_the_buttons(recorded):
    asked = predict(*WHICH)
    question, buttons, note = asked.widget().children
    assert "Which way" in question.value and buttons.options == WHICH[2] and buttons.value is None
    buttons.value = "down"
    assert asked.choice == "down" and json.loads(recorded.read_text())["choice"] == "down"
    assert "You guessed “down”" in note.value and not buttons.disabled
    asked.choose("up")
    assert buttons.value == "up"
    reveal(WHICH[0], "down")
    assert buttons.disabled and buttons.value == "up" and "has been shown" in note.value


def test_a_saved_notebook_reads_without_a_kernel():
    bundle = predict("attention.x", "Is 2 < 3 & so on?", ("<b>yes", "no"))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Is 2 &lt; 3 &amp; so on?" in bundle["text/html"] and "<li>&lt;b&gt;yes</li>" in bundle["text/html"]
    assert bundle["text/plain"].splitlines()[:3] == ["Is 2 < 3 & so on?", "  - <b>yes", "  - no"]
    assert "&lt;b&gt;yes" in html(reveal("attention.x", "<b>yes"))


def test_calibration_is_by_notebook_and_says_what_is_still_open(recorded):
    assert "Nothing has been guessed so far" in str(calibration())
    for name, guess, truth in (
        ("halo.a", "x", "x"),
        ("halo.b", "x", "y"),
        ("resnest.a", "x", "x"),
        ("halo.c", "x", None),
    ):
        predict(name, "?", ("x", "y")).choose(guess)
        if truth:
            reveal(name, truth)
    assert calibration().rows == (("05_resnest", 1, 1, 1, 0.5), ("06_local_attention", 3, 2, 1, 1.0))
    assert calibration().sentence == (
        "4 guessed so far, 3 of them answered. 2 right, where blind guessing would give 1.5 on average."
    )
    assert "<table>" in html(calibration())
