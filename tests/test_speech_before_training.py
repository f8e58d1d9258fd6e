"""The model before training beside the one in use: where it is had from, and which words differ."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from speech_models import small_model, sounds
from speech_site import RUN, SWEDISH, spoken_store, tune, wav
from ui_site import own_copy

from dagsverk.speech import runs
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.registry.adoption import adopt
from dagsverk.speech.serving import answering, before_training, service
from dagsverk.speech.serving.before_training import NoModelBefore, model_before, was_tuned
from dagsverk.speech.serving.comparing import compare
from dagsverk.speech.serving.jobs import Jobs
from dagsverk.speech.serving.service import Answer
from dagsverk.speech.serving.transcriber import Segment, Transcript
from dagsverk.store import open_store
from ui.api import build_api
from ui.speech import beside
from ui.speech.desk import SpeechDesk
from ui.speech.differences import compared
from ui.tabular.desk import TabularDesk

TEXTS = [sound.text for sound in sounds()]
THREE = wav(np.concatenate([part for s in sounds() for part in (np.zeros(24_000, np.float32), s.audio)]))
NAMES = "before", "now"


@pytest.fixture(scope="module", autouse=True)
def in_this_process(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(service, "WRITER", answering.write_down)
        yield


@pytest.fixture
def folder(tmp_path):
    """Of the model before training."""
    return tmp_path / "published"


@pytest.fixture
def store(tmp_path, folder):
    """Whose champion was trained from a published model in a folder."""
    store = open_store(str(own_copy(spoken_store(), tmp_path)))
    tune(store, folder)
    return store


@pytest.fixture
def recording(tmp_path):
    (tmp_path / "three.wav").write_bytes(THREE)
    return tmp_path / "three.wav"


@pytest.fixture
def jobs(store, tmp_path):
    server = Jobs(lambda: store, lambda: tmp_path / "jobs", at_work=1)
    yield server
    server.close()


def ended(server, id):
    *_, last = server.follow(id, every_s=0.02)
    return last


def model_of(store, tmp_path):
    with model_before(store, SWEDISH, store.champion("whisper_swedish"), tmp_path / "cache") as before:
        return before.model


def test_it_is_taken_from_where_training_took_it(store, tmp_path):
    model = model_of(store, tmp_path)
    assert (model.name, model.version) == ("published", before_training.NOT_REGISTERED)


@pytest.mark.parametrize("of", ["sv", "it"])
def test_an_adopted_version_of_the_same_weights_serves_where_the_folder_is_gone(store, folder, tmp_path, of):
    adopted = adopt(store, language(of), str(folder)).version
    shutil.rmtree(folder)
    model = model_of(store, tmp_path)
    assert (model.name, model.version) == (language(of).model_name, adopted)


def test_where_it_cannot_be_had_it_is_said_how_and_no_folder_is_named(store, folder, tmp_path):
    shutil.rmtree(folder)
    with pytest.raises(NoModelBefore, match=r"published, from which .* --param model=FOLDER") as error:
        model_of(store, tmp_path)
    assert str(tmp_path) not in str(error.value)


def test_other_weights_under_the_same_name_are_not_taken_for_it(store, folder, tmp_path):
    save_model_folder(small_model(1), folder, language="sv")
    with pytest.raises(NoModelBefore, match="another SHA-256"):
        model_of(store, tmp_path)


def test_a_run_whose_record_is_gone_leaves_nothing_to_compare_with(store, tmp_path):
    store.remove(runs.run_folder(RUN))
    with pytest.raises(NoModelBefore, match="is not known"):
        model_of(store, tmp_path)


def test_what_began_from_nothing_and_what_was_not_trained_have_no_model_before(store, folder, tmp_path):
    first = store.model("whisper_swedish", 1)
    adopted = store.model("whisper_italian", adopt(store, language("it"), str(folder)).version)
    old = replace(first, info={**first.info, "base_model": None})
    assert not was_tuned(old)
    assert [was_tuned(one) for one in (first, adopted, store.champion("whisper_swedish"))] == [
        False,
        False,
        True,
    ]
    with pytest.raises(NoModelBefore), model_before(store, SWEDISH, first, tmp_path):
        pass


def test_it_is_held_for_the_next_recording_and_let_go_after_a_while(store, tmp_path, monkeypatch):
    monkeypatch.setattr(before_training, "IDLE_S", 0.05)
    slot = before_training._Slot()
    champion = store.champion("whisper_swedish")
    first = slot.take(store, SWEDISH, champion, tmp_path / "cache")
    assert slot.take(store, SWEDISH, champion, tmp_path / "cache") is first
    slot.give_back()
    assert slot._idle is None
    slot.give_back()
    slot._idle.join(20)
    assert slot.key is None


def test_a_job_is_compared_by_a_job_of_its_own_and_asking_twice_gives_the_same_one(jobs, store, recording):
    id = jobs.submit(SWEDISH, recording, visitor="anna", name="three.wav", prompt="tre ljud")
    answer = ended(jobs, id)
    first = compare(jobs, id)
    assert compare(jobs, id).id == first.id
    view = ended(jobs, first.id)
    assert (view.state, view.error) == ("done", "")
    assert compare(jobs, id).id == jobs.beside(id).id == first.id
    order = view.job.order
    assert (order.tasks, order.prompt, order.words, order.before) == (("transcribe",), "tre ljud", True, 2)
    assert view.result.original.model.version == before_training.NOT_REGISTERED
    assert answer.result.original.model.version == 2
    assert id not in repr(store.get(next(path for path in store.list("transcription-jobs/"))))


def test_a_comparison_that_failed_is_begun_anew(jobs, store, folder, recording):
    id = jobs.submit(SWEDISH, recording, visitor="anna")
    ended(jobs, id)
    folder.rename(folder.with_name("away"))
    failed = ended(jobs, compare(jobs, id).id)
    assert (failed.state, "speech-adopt/swedish" in failed.error) == ("failed", True)
    folder.with_name("away").rename(folder)
    assert ended(jobs, compare(jobs, id).id).state == "done"


def test_what_is_not_done_has_no_recording_or_no_model_before_is_refused_in_words(jobs, store, recording):
    id = jobs.submit(SWEDISH, recording, visitor="anna")
    ended(jobs, id)
    jobs._files.drop_recording(id)
    with pytest.raises(AudioError, match="no longer kept"):
        compare(jobs, id)
    store.promote("whisper_swedish", 1, reason="back", expected=2)
    again = jobs.submit(SWEDISH, recording, visitor="anna")
    ended(jobs, again)
    with pytest.raises(NoModelBefore, match="not trained from another model"):
        compare(jobs, again)


def test_the_route_queues_it_and_the_page_is_given_the_lines_that_differ(store, recording):
    desk = TabularDesk(store.url)
    speech = SpeechDesk(desk.opened)
    client = TestClient(build_api(desk, speech))
    id = client.post("/api/jobs/sv", content=recording.read_bytes()).json()["id"]
    ended(speech.jobs, id)
    assert client.post(f"/api/jobs/{id}/before-training/shown", json={}).json() == {"state": "none"}
    other = client.post(f"/api/jobs/{id}/before-training").json()
    assert other["id"] != id
    ended(speech.jobs, other["id"])
    shown = client.post(f"/api/jobs/{id}/before-training/shown", json={}).json()
    assert (shown["state"], shown["job"]) == ("done", other["id"])
    assert "Before training: published" in shown["html"]
    assert "Now: version 2" in shown["html"]
    assert re.search(r"\d+ of \d+ words? differs?, in 3 lines\.", shown["words"])
    both = speech.jobs.view(id).result
    assert f'data-job="{id}"' in beside.offer(both)
    assert beside.offer(replace(both, job="")) == ""
    assert client.delete(f"/api/jobs/{other['id']}").status_code == 200
    assert client.post(f"/api/jobs/{id}/before-training/shown", json={}).json() == {"state": "none"}
    assert client.post(f"/api/jobs/{'x' * 32}/before-training").status_code == 404
    speech.jobs.close()


def segment(start_s, end_s, text):
    return Segment(start_s, end_s, text, -0.1, 0.0)


def test_lines_of_both_meet_by_their_times_whichever_model_left_one_out_or_cut_otherwise():
    before = [segment(0, 4, "a"), segment(4, 8, "b"), segment(20, 30, "c")]
    after = [segment(0, 4, "A"), segment(10, 12, "new"), segment(20, 25, "C1"), segment(25, 30, "C2")]
    lines = beside.stretches(before, after)
    assert [(line.start_s, line.end_s, line.before, line.after) for line in lines] == [
        (0, 4, "a", "A"), (4, 8, "b", ""), (10, 12, "", "new"), (20, 30, "c", "C1 C2"),
    ]  # fmt: skip


def answer_of(store, *segments):
    transcript = Transcript(segments, "sv", "transcribe", 30.0)
    return Answer(
        language=SWEDISH, model=store.champion("whisper_swedish"), transcript=transcript, took_s=1.0
    )


def test_where_lines_were_corrected_the_words_of_both_are_counted_against_that(store):
    before = answer_of(
        store, segment(0, 4.125, "en låg ton & <hej"), segment(4.125, 8, "brus och"), segment(8, 9, "x")
    )
    after = answer_of(
        store, segment(0, 4.125, "en låg ton"), segment(4.125, 8, "brus och"), segment(8, 9, "x")
    )
    lines = [
        beside.Corrected(start_s=0, end_s=4.12, text="En låg <i>ton</i>."),
        beside.Corrected(start_s=4.12, end_s=8, text="brus"),
        beside.Corrected(start_s=5, end_s=6, text="of no line"),
    ]
    words, html = beside.comparison(after, before, lines)
    assert words == "2 of 8 words differ, in 1 line. In 2 other lines both wrote the same words."
    assert "in 2 lines with 4 words: before training 3 wrong, now 1." in html
    assert html.count("Corrected: ") == 2
    assert "&lt;i&gt;" in html
    assert "<i>" not in html
    assert "&lt;hej" in html


def test_of_scripts_without_spaces_characters_are_counted(store):
    before, after = (
        replace(answer_of(store, segment(0, 4, text)), language=language("ja"))
        for text in ("今日は雨", "今日は雪")
    )
    words, html = beside.comparison(after, before)
    assert words == "1 of 4 characters differs, in 1 line."
    assert '<p lang="ja">' in html


def test_two_silences_and_two_equal_texts_need_no_table(store):
    empty, same = answer_of(store), answer_of(store, segment(0, 4, "Ett, två!"))
    assert beside.comparison(empty, empty)[0] == "Neither model heard words in it."
    words, html = beside.comparison(same, answer_of(store, segment(0, 4, "ett två")))
    assert (words, "dv-compared" in html) == ("Both wrote the same words, in 1 line.", False)


@pytest.mark.parametrize(
    "first, second, code, marked",
    [
        ("Premi otto, grazie.", "premi 8 grazie", "it", ("Premi [otto,] grazie.", "premi [8] grazie")),
        ("a b c", "a c", "sv", ("a [b] c", "a c")),
        ("", "a b", "sv", ("", "[a b]")),
        ("l'acqua – bolle", "l'aria bolle", "it", ("[l'acqua] – bolle", "[l'aria] bolle")),
        ("10 000 kr", "10.000 kr!", "sv", ("10 000 kr", "10.000 kr!")),
        ("<b>a</b> & x", "y", "sv", None),
        ("今日は晴れ", "今日は雨", "ja", ("今日は[晴れ]", "今日は[雨]")),
    ],
)  # fmt: skip
def test_differing_words_are_marked_as_they_are_written_and_say_whose_they_are(first, second, code, marked):
    made = compared(first, second, code, NAMES)
    assert "<b>" not in made.first
    if marked is None:
        return
    for html, name, wanted in zip((made.first, made.second), NAMES, marked, strict=True):
        label = f'<mark><span class="sr-only" lang="en">only {name}: </span>'
        assert html.replace(label, "[").replace("</mark>", "]") == wanted.replace("'", "&#x27;")


WORDS = st.text(alphabet="abå' -.<&", max_size=40)


@given(WORDS, WORDS)
def test_marks_change_no_letter_and_are_there_only_where_words_differ(first, second):
    made = compared(first, second, "sv", NAMES)
    for html, text in ((made.first, first), (made.second, second)):
        bare = re.sub(r'<span class="sr-only".*?</span>|</?mark>', "", html)
        assert bare == beside.parts.text(text)
    assert ("<mark>" in made.first + made.second) == (made.edits > 0)


def test_a_long_recording_is_compared_in_no_time_that_grows_with_its_square():
    words = [f"ord{number % 997}" for number in range(20_000)]
    other = [word if number % 50 else "annat" for number, word in enumerate(words)]
    assert compared(" ".join(words), " ".join(other), "sv", NAMES).edits == 400
