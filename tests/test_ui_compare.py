"""The page that compares, in this process: what it offers, draws, refuses and escapes."""

import io
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from speech_site import MARKUP, SWEDISH, spoken_store
from ui_site import own_copy

from dagsverk.speech.compared import results
from dagsverk.speech.compared.paired import paired, rates
from dagsverk.speech.compared.results import CompareReport, Cost, Side
from dagsverk.store import open_store
from dagsverk.suggesting.compared import better_speech
from ui import compare
from ui.api import build_api
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

pytestmark = pytest.mark.usefixtures("own_cache")
HOSTILE = f"theirs {MARKUP}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with a comparison of its champion and a program that is right, and hostile."""
    folder = own_copy(spoken_store(), tmp_path_factory.mktemp("compare"))
    store = open_store(str(folder))
    keep_comparison(store)
    return folder


def keep_comparison(store):
    desk = SpeechDesk(store.url)
    rows = results.rows_of(store, desk.view(SWEDISH).shown.rows)
    none = dict.fromkeys(("substitutions", "deletions", "insertions", "character_errors"), 0)
    right = rows.assign(hypothesis=rows["text"], **none)
    sides = [side(store, "whisper_swedish 1", rows, version=1), side(store, HOSTILE, right)]
    outcome = paired(rows, right, resamples=200, min_group_clips=5)
    hostile = {"second": MARKUP, "sound": sound(store)}
    examples = tuple(replace(one, **hostile) for one in outcome.examples)
    report = CompareReport(
        **{**vars(outcome), "examples": examples}, key="0011223344556677", at="2026-11-27T04:00:00+00:00",
        language="sv", of=f"all clips of {MARKUP}", clips_key="aa", first=sides[0], second=sides[1],
        set_aside={f"{HOSTILE}: refused": 2}, notes=(MARKUP,), took_s=1.0,
    )  # fmt: skip
    results.keep(store, SWEDISH, report)


def side(store, name, rows, version=None):
    sink = io.BytesIO()
    rows.to_parquet(sink)
    path = f"{results.folder(SWEDISH)}/rows/{version or 0:016x}.parquet"
    store.put(path, sink.getvalue(), overwrite=True)
    wer, cer = rates(rows, resamples=200, seed=0)
    cost = Cost(audio_s=60.0, took_s=6.0, clips=70, machine=MARKUP, price_per_audio_hour=0.36)
    return Side(
        name=name, detail=MARKUP, key=f"key{version}", rows=path, wer=wer, cer=cer, empty=0, loops=0,
        refused={}, cost=cost, version=version,
    )  # fmt: skip


def sound(store):
    path = f"{results.folder(SWEDISH)}/audio/{'0' * 24}.wav"
    store.put(path, b"RIFF0000", overwrite=True)
    return path


def look(folder, about="", first="", second="", last=""):
    desk = TabularDesk(str(folder))
    return compare.look(desk, SpeechDesk(desk.opened), about, first, second, last)


def test_the_newest_comparison_is_shown_with_verdict_groups_examples_and_cost(folder):
    _, one, two, _, html = look(folder, "swedish")
    assert (one.value, two.value) == ("c-key1-aa", "c-keyNone-aa")
    wanted = ("beyond chance", "is better than whisper_swedish 1", "Where they differ most", "360", "0.36")
    assert [words for words in wanted if words not in html] == []
    assert f'src="api/speech/swedish/comparisons/audio/{"0" * 24}.wav"' in html


def test_no_text_from_outside_becomes_markup(folder):
    for first in ("c-key1-aa", "c-keyNone-aa"):
        html = look(folder, "swedish", first)[-1]
        assert "<img" not in html
        assert "&lt;img" in html


def test_a_comparison_that_cannot_be_read_is_named_and_the_others_are_shown(folder, tmp_path):
    own = own_copy(folder, tmp_path)
    store = open_store(str(own))
    for name in ("reports/ffff.json", "newest.json"):
        store.put(f"{results.folder(SWEDISH)}/{name}", b'{"key": "<script>"', overwrite=True)
    page = look(own)[-1]
    assert "reports/ffff.json" in page and "remove it" in page
    assert "is better than" in page
    assert [one.key for one in results.reports(store, SWEDISH)] == ["0011223344556677"]


def test_two_evaluations_of_the_same_clips_are_compared_without_a_run(folder):
    evaluations = [value for _, value in look(folder, "swedish")[1].choices if value.startswith("e-")]
    _, one, two, _, html = look(folder, "swedish", evaluations[0])
    assert one.value == evaluations[0] != two.value
    assert "Not measured" in html
    assert "no recording is kept" in html


@pytest.mark.parametrize("asked", ["e-nothing", "../../etc/passwd", MARKUP, "c-key1-aa"])
def test_what_is_asked_for_and_is_not_there_or_the_same_twice_falls_back(folder, asked):
    _, one, two, _, html = look(folder, MARKUP, asked, asked)
    assert one.value != two.value
    assert "<img" not in html


def test_a_page_that_shows_the_newest_is_left_alone(folder):
    stamp = look(folder, "swedish")[3]
    again = look(folder, "swedish", "c-key1-aa", "c-keyNone-aa", stamp)
    assert all(one == {"__type__": "update"} for one in again)


def test_an_empty_store_says_what_to_run(tmp_path):
    html = look(tmp_path / "nothing")[-1]
    assert "prefect deployment run speech-compare/swedish" in html
    html = look(tmp_path / "nothing", "titanic")[-1]
    assert "prefect deployment run tabular-compare/titanic" in html


def test_the_sound_of_an_example_is_given_out_and_nothing_else_is(folder):
    client = TestClient(build_api(TabularDesk(str(folder))))
    below = "/api/speech/swedish/comparisons/audio"
    assert client.get(f"{below}/{'0' * 24}.wav").content == b"RIFF0000"
    assert client.get(f"{below}/{'1' * 24}.wav").status_code == 404
    for name in ("..%2f..%2freports%2f0011223344556677.json", "x" * 24, "0" * 25):
        assert client.get(f"{below}/{name}.wav").status_code in (404, 422)


def test_a_model_that_is_better_than_the_one_in_use_is_suggested(folder):
    (one,) = better_speech(open_store(str(folder)), SWEDISH)
    assert one.about == "model"
    assert one.shown
    assert one.gain.low < one.gain.value < one.gain.high
