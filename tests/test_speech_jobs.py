"""Jobs: queued with a place, cancelled at once; what a server left is taken up; nothing stays for ever."""

import dataclasses
import datetime as dt
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from speech_models import sounds
from speech_site import SWEDISH, spoken_store, wav
from ui_site import own_copy

from dagsverk.speech.errors import Busy
from dagsverk.speech.languages import language
from dagsverk.speech.serving import answering, jobs, service
from dagsverk.speech.serving.champions import NoSpeechModel
from dagsverk.speech.serving.job_files import NoJob, digest
from dagsverk.speech.serving.jobs import Jobs
from dagsverk.store import Unavailable, open_store
from ui.api import build_api
from ui.speech import transcribe
from ui.speech.desk import SpeechDesk
from ui.speech.page_jobs import PageJobs
from ui.tabular.desk import TabularDesk

TEXTS = [sound.text for sound in sounds()]
THREE = wav(np.concatenate([part for s in sounds() for part in (np.zeros(24_000, np.float32), s.audio)]))


@pytest.fixture(scope="module", autouse=True)
def in_this_process(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(service, "WRITER", answering.write_down)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return open_store(str(own_copy(spoken_store(), tmp_path_factory.mktemp("own"))))


@pytest.fixture
def recording(tmp_path):
    (tmp_path / "three.wav").write_bytes(THREE)
    return tmp_path / "three.wav"


@pytest.fixture
def made(store, tmp_path):
    """Servers, one after the other, on the same folder."""
    servers = []

    def make(at_work=1, of=store):
        servers.append(Jobs(lambda: of, lambda: tmp_path / "jobs", at_work=at_work))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def ended(server, id):
    *_, last = server.follow(id, every_s=0.02)
    return last


def test_a_job_ends_with_the_text_that_is_kept_in_the_store(made, store, recording):
    server = made()
    id = server.submit(SWEDISH, recording, visitor="anna", name="three.wav")
    view = ended(server, id)
    assert (view.state, view.job.name, view.error) == ("done", "three.wav", "")
    assert [segment.text for segment in view.result.original.transcript.segments] == TEXTS
    assert all(segment.words for segment in view.result.original.transcript.segments)
    assert "writes Swedish only" in view.result.why_no_english
    kept = [path for path in store.list("transcription-jobs/") if digest(id) in path]
    assert len(kept) == 1
    assert id.encode() not in store.get(kept[0])
    assert b"anna" not in store.get(kept[0])


def test_another_server_and_one_whose_cache_was_emptied_have_the_result_too(made, recording, tmp_path):
    server = made()
    id = server.submit(SWEDISH, recording, visitor="anna")
    result = ended(server, id).result
    assert made().view(id).result == result
    (tmp_path / "jobs").rename(tmp_path / "elsewhere")
    assert made().view(id).result == result


def test_jobs_wait_in_their_order_and_move_up(made, recording):
    server = made(at_work=0)
    ids = [server.submit(SWEDISH, recording, visitor="anna") for _ in range(3)]
    assert [(server.view(id).state, server.view(id).place) for id in ids] == [
        ("queued", n) for n in (1, 2, 3)
    ]
    server.remove(ids[0])
    assert [server.view(id).place for id in ids[1:]] == [1, 2]
    assert [view.id for view in server.of("anna")] == [ids[2], ids[1]]
    assert server.of("berta") == server.of("") == []


def test_the_page_says_how_many_are_before(made, recording):
    server = made(at_work=0)
    ids = [server.submit(SWEDISH, recording, visitor="anna") for _ in range(3)]
    page = PageJobs(SimpleNamespace(jobs=server))
    shown = [next(page.follow(id, SimpleNamespace(session_hash="page"))) for id in ids]
    assert [stage.place for stage in shown] == [1, 2, 3]
    assert [transcribe._stage(None, stage, "").split("<span>")[1].split("<")[0] for stage in shown] == [
        "Waiting for its turn: it is the next one …",
        "Waiting for its turn: 1 recording before it …",
        "Waiting for its turn: 2 recordings before it …",
    ]


@pytest.mark.parametrize("tries, state", [(0, "done"), (2, "done"), (3, "failed")])
def test_what_a_server_that_died_was_at_is_taken_up_again_but_not_for_ever(made, recording, tries, state):
    dead = made(at_work=0)
    id = dead.submit(SWEDISH, recording, visitor="anna")
    dead._files.write(dataclasses.replace(dead._files.read(id), tries=tries))
    view = ended(made(), id)
    assert view.state == state
    if state == "failed":
        assert "ended 3 times while it was at this recording" in view.error


def test_a_server_that_is_stopped_leaves_its_job_to_the_next_one(made, recording, monkeypatch):
    begun = threading.Event()

    def never(*options):
        begun.set()
        while True:
            options[-1]()

    first = made()
    with monkeypatch.context() as patch:
        patch.setattr(service, "WRITER", never)
        id = first.submit(SWEDISH, recording, visitor="anna")
        assert begun.wait(20)
        assert first.view(id).state == "running"
        second = made(at_work=0)
        assert second.view(id).state == "running"  # as another server sees it
        first.close()
        for thread in threading.enumerate():
            if thread.name == "job-0":
                thread.join(20)
    assert first._files.read(id).tries == 0
    assert ended(made(), id).state == "done"


def test_a_job_that_is_removed_while_it_runs_ends_at_once_and_leaves_nothing(
    made, recording, monkeypatch, tmp_path
):
    begun, ended_work = threading.Event(), threading.Event()

    def never(*options):
        begun.set()
        try:
            while True:
                options[-1]()
        finally:
            ended_work.set()

    server = made()
    monkeypatch.setattr(service, "WRITER", never)
    id = server.submit(SWEDISH, recording, visitor="anna")
    assert begun.wait(20)
    server.remove(id)
    assert ended_work.wait(20)
    with pytest.raises(NoJob):
        server.view(id)
    assert list((tmp_path / "jobs").iterdir()) == []
    monkeypatch.setattr(service, "WRITER", answering.write_down)
    assert ended(server, server.submit(SWEDISH, recording, visitor="anna")).state == "done"


def test_a_store_that_is_away_delays_a_job_and_does_not_fail_it(made, recording, monkeypatch):
    away = [True]
    write_down = answering.write_down

    def once_away(*options):
        if away:
            away.pop()
            raise Unavailable("the bucket does not answer")
        return write_down(*options)

    monkeypatch.setattr(service, "WRITER", once_away)
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.05)
    server = made()
    assert ended(server, server.submit(SWEDISH, recording, visitor="anna")).state == "done"


def test_a_job_whose_state_cannot_be_written_rests_and_lets_the_others_by(made, recording, monkeypatch):
    server = made()
    write, full = server._files.write, [True]

    def on_a_full_disk(job):
        if job.visitor == "anna" and full:
            raise OSError(28, "No space left on device")
        write(job)

    monkeypatch.setattr(server._files, "write", on_a_full_disk)
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 3.0)  # longer than a thread rests after a fault
    first = server.submit(SWEDISH, recording, visitor="anna")
    assert ended(server, server.submit(SWEDISH, recording, visitor="berta")).state == "done"
    full.clear()
    assert ended(server, first).state == "done"


def test_what_is_no_recording_fails_with_its_reason(made, tmp_path):
    (tmp_path / "text.wav").write_bytes(b"I am a text")
    server = made()
    view = ended(server, server.submit(SWEDISH, tmp_path / "text.wav", visitor="anna"))
    assert (view.state, view.reason, view.result) == ("failed", "not audio", None)


def test_without_a_champion_nothing_is_queued(made, recording, tmp_path):
    with pytest.raises(NoSpeechModel):
        made().submit(language("it"), recording, visitor="anna")
    assert not (tmp_path / "jobs").exists()


def test_one_visitor_and_all_of_them_have_so_many_at_a_time(made, recording, monkeypatch):
    server = made(at_work=0)
    for _ in range(jobs.MOST_OF_VISITOR):
        server.submit(SWEDISH, recording, visitor="anna")
    with pytest.raises(Busy, match="5 of your recordings"):
        server.submit(SWEDISH, recording, visitor="anna")
    server.submit(SWEDISH, recording, visitor="berta")
    monkeypatch.setattr(jobs, "MOST", 6)
    with pytest.raises(Busy, match="no more are taken"):
        server.submit(SWEDISH, recording, visitor="carl")
    monkeypatch.setattr(jobs, "MOST", 60)
    monkeypatch.setattr(jobs, "MOST_BYTES", 7 * len(THREE) - 1)
    with pytest.raises(Busy, match="no more are taken"):
        server.submit(SWEDISH, recording, visitor="carl")


def test_recordings_go_after_an_hour_and_jobs_after_a_week(made, store, recording):
    server = made()
    id = server.submit(SWEDISH, recording, visitor="anna")
    now = ended(server, id).job.ended
    server.sweep(now + dt.timedelta(minutes=50))
    assert server.recording(id).read_bytes() == THREE
    server.sweep(now + dt.timedelta(minutes=70))
    assert server.recording(id) is None
    assert server.view(id).result is not None
    server.sweep(now + dt.timedelta(days=8))
    with pytest.raises(NoJob):
        server.view(id)
    assert not any(digest(id) in path for path in store.list("transcription-jobs/"))


def test_results_whose_cache_is_gone_go_by_age_too(made, store, recording, tmp_path):
    server = made()
    id = server.submit(SWEDISH, recording, visitor="anna")
    now = ended(server, id).job.ended
    server.close()
    (tmp_path / "jobs").rename(tmp_path / "elsewhere")
    made(at_work=0).sweep(now + dt.timedelta(days=8))
    assert not any(digest(id) in path for path in store.list("transcription-jobs/"))


@pytest.mark.parametrize("id", ["", "x", "../" * 10 + "ab", "a" * 32, "a" * 31 + "\n", "a" * 5000])
def test_no_other_id_opens_anything(made, id):
    server = made(at_work=0)
    for ask in (server.view, server.remove):
        with pytest.raises(NoJob):
            ask(id)
    assert server.recording(id) is None


# ---------------------------------------------------------------- REST


@pytest.fixture
def client(store):
    desk = SpeechDesk(store.url)
    yield TestClient(build_api(TabularDesk(store.url), desk))
    desk.jobs.close()


def test_a_program_sends_a_recording_goes_away_and_comes_back_for_the_text(client):
    sent = client.post("/api/jobs/swedish", files={"file": ("three.wav", THREE)})
    assert (sent.status_code, sent.json()["name"]) == (202, "three.wav")
    address = f"/api/jobs/{sent.json()['id']}"
    while (answer := client.get(address).json())["state"] in ("queued", "running"):
        assert client.get(f"{address}?format=srt").status_code in (200, 409)
    assert answer["state"] == "done"
    assert answer["result"]["text"] == "\n".join(TEXTS)
    assert answer["result"]["segments"][0]["words"]
    assert client.get(f"{address}?format=srt").text.startswith("1\n00:00:0")
    assert client.get(f"{address}?format=srt&task=translate").status_code == 409
    assert client.delete(address).json()["state"] == "removed"
    assert client.get(address).status_code == client.delete(address).status_code == 404


@pytest.mark.parametrize(
    "path, status",
    [("klingon", 404), ("italian", 503), ("sv?task=sing", 422), (f"sv?prompt={'x' * 5000}", 422)],
)
def test_what_cannot_be_queued_is_refused(client, path, status):
    answer = client.post(f"/api/jobs/{path}", content=THREE)
    assert (answer.status_code, "error" in answer.json()) == (status, True)
