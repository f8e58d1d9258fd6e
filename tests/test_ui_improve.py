"""The page that says what would help most: its order, its chart, and an empty store."""

import html

import numpy as np
import pytest
from fitted_models import system_and_rows

from dagsverk.learning_curve import fit_curve
from dagsverk.records import keep_report
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.learning_curve import STEP as SPEECH_STEP
from dagsverk.speech.learning_curve import SpeakersAgainstMinutes, SpeechCurve
from dagsverk.tabular.learning_curve import STEP, TabularCurve
from ui import improve
from ui.improve_chart import Drawn, chart
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

IRIS, _ = system_and_rows("iris")


@pytest.fixture
def desks(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    desk = TabularDesk((tmp_path / "store").as_uri())
    return desk, SpeechDesk(desk.opened)


def fitted(errors=(0.4, 0.3, 0.25, 0.22)):
    drawn = np.random.default_rng(0)
    replicates = np.array(errors) + drawn.normal(0, 0.003, (500, len(errors)))
    sizes = [15, 30, 60, 120][: len(errors)]
    shares = [size / 120 for size in sizes]
    return fit_curve(shares, sizes, replicates, errors=errors, runs=[5] * len(errors), size_now=150)


def curve(fit, model_class="lda", reason=""):
    return TabularCurve(
        data_commit=1, rows=150, measure="log_loss", model_class=model_class, parameters={}, model_version=1,
        folds=5, repeats=1, fit=fit, seconds=1.0, set_aside={"0.01": reason} if reason else {},
    )  # fmt: skip


def shown(desks, name="iris", seen=None):
    state, trouble, content = improve.look(*desks, name, seen)
    return state, trouble, content


def test_an_empty_store_says_what_to_run(desks):
    for name, day in (("iris", "day/iris"), ("language/sv", "speech-day/swedish")):
        _, trouble, content = shown(desks, name)
        assert trouble == ""
        assert f"prefect deployment run {day}" in content
        assert "Not measured yet" in content


def test_a_system_with_a_model_is_not_told_to_begin_with_a_day(desks, tmp_path):
    store = desks[0].store
    weights = tmp_path / "model" / "weights"
    weights.parent.mkdir()
    weights.write_bytes(b"w")
    saved = store.save_model("iris", weights.parent, metrics={})
    store.promote("iris", saved.version, reason="the first", expected=None)
    content = shown(desks)[2]
    assert "Nothing says yet what would help Iris" in content
    assert "deployment run day/iris" not in content


def test_a_report_is_drawn_with_its_gain_and_again_only_when_it_changes(desks):
    state, _, content = shown(desks)
    keep_report(desks[0].store, "iris", STEP, curve(fitted()))
    newer, _, content = shown(desks, seen=state)
    assert newer != state
    words = html.unescape(content)
    assert "Bring more rows of the same kind: twice as many." in words
    assert 'class="dv-gain shown"' in content
    assert 'id="learning-curve"' in content
    assert "tabular-search/iris" in words
    assert "tabular-learning-curve/iris" not in words, "it was measured"
    assert not isinstance(shown(desks, seen=newer)[2], str), "no news, nothing is sent"


def test_what_cannot_be_told_is_said_and_not_drawn(desks):
    keep_report(desks[0].store, "iris", STEP, curve(fitted((0.4, 0.3, 0.25))))
    _, _, content = shown(desks)
    assert "cannot be told" in content
    assert 'class="band' not in content
    assert "not measured" in content


def test_text_from_the_data_is_escaped(desks):
    bad = "<img src=x onerror=alert(1)>"
    keep_report(desks[0].store, "iris", STEP, curve(fitted(), bad, bad))
    _, _, content = shown(desks)
    assert "<img" not in content
    assert "&lt;img src=x" in content


@pytest.mark.parametrize("name", ["nothing", "language/xx", "language/../..", "", None, "<b>"])
def test_a_choice_that_is_none_is_no_error(desks, name):
    _, trouble, content = shown(desks, name)
    assert trouble == ""
    assert "Nothing to improve" in content


def test_a_damaged_report_is_said_to_be_so_and_what_was_shown_stays(desks):
    state, _, _ = shown(desks)
    desks[0].store.put(f"reports/iris/{STEP}.json", b'{"fit": 1}')
    newer, trouble, content = shown(desks, seen=state)
    assert "damaged" in html.unescape(trouble)
    assert not isinstance(content, str)
    assert not isinstance(shown(desks, seen=newer)[1], str), "said once"


def spoken():
    against = SpeakersAgainstMinutes(
        share=0.25, audio_s=300.0, speakers_few=4, speakers_many=16, wer_few=0.4, wer_many=0.3,
        gain=Interval(0.1, 0.02, 0.18),
    )  # fmt: skip
    return SpeechCurve(
        set="sv-1", model="nano", clips=100, audio_s=1200.0, speakers=16, test_clips=40, test_speakers=8,
        steps=100, held="steps", seeds=2, seconds=10.0, against=(against,),
        fits={"clips": fitted(), "speakers": fitted((0.6, 0.43, 0.307, 0.22))},
    )  # fmt: skip


def test_a_language_shows_both_curves_and_speakers_against_minutes(desks):
    keep_report(desks[0].store, "swedish", SPEECH_STEP, spoken())
    _, trouble, content = shown(desks, "language/sv")
    words = html.unescape(content)
    assert trouble == ""
    assert "Bring twice the minutes, of new speakers." in words
    assert "Bring twice the minutes, of the same speakers." in words
    assert "With fewer speakers: word error rate is 60.0 % with an eighth of the minutes" in words
    assert 'class="band sea"' in content
    assert 'class="band sun"' in content
    assert "Gain of many" in words
    assert "speech-learning-curve/swedish" not in words, "it was measured"
    assert "speech-evaluation/swedish" in words


def test_the_chart_is_read_aloud_point_by_point():
    drawn = chart(
        [Drawn(name="lda", fit=fitted())],
        x_title="rows", y_title="error", say_size=lambda n: f"{n:.0f} rows", say_error=lambda e: f"{e:.2f}",
    )  # fmt: skip
    assert "lda: 0.40 with 15 rows, 0.30 with 30 rows, 0.25 with 60 rows, 0.22 with 120 rows" in drawn
