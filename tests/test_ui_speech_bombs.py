"""Recordings that are made to keep a site busy keep nobody else from it. A real server; nothing is timed."""

import contextlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from hostile_audio import decoders_of, lying_wav, server_of, silent_flac
from speech_models import sounds
from speech_site import spoken_store, wav
from ui_site import serving

from dagsverk.speech.serving.service import RECORDINGS
from ui.speech import recorder, transcribe
from ui.speech.desk import SpeechDesk

LOW_TONE = wav(sounds()[0].audio)
BOMB = silent_flac(4 * 3600, 96_000, stated=False)  # 0.3 MB that take seconds of work to refuse
PATIENCE_S = 120.0  # for a machine that has much else to do
ADDRESS = "/api/transcribe/swedish"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of a server that has its model in memory."""
    room = tmp_path_factory.mktemp("bombs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(room / "cache"))
        with serving(spoken_store(), room / "pages.log") as address:
            assert httpx.post(address + ADDRESS, content=LOW_TONE, timeout=PATIENCE_S).status_code == 200
            yield address


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.05)
    return found


def at_work(process, count, before=None):
    """So many of its decoders have begun to decode: starting takes less work. `before`: their work so far."""
    known = before or {}
    spent = {pid: spent_s - known.get(pid, 0.0) for pid, spent_s in decoders_of(process).items()}
    return sum(spent_s > 0.5 for spent_s in spent.values()) >= count


def post(address, content, **options):
    return httpx.post(address + ADDRESS, content=content, timeout=PATIENCE_S, **options)


def test_the_next_visitor_is_served_while_bombs_are_decoded(site):
    with ThreadPoolExecutor(2) as pool:
        bombs = [pool.submit(post, site, BOMB) for _ in range(2)]
        wait_for(lambda: at_work(server_of(site), 2), "two bombs at work")
        answer = post(site, LOW_TONE)
        healthy = httpx.get(f"{site}/healthz", timeout=PATIENCE_S)
        assert not any(bomb.done() for bomb in bombs), "it was served after a bomb, not beside it"
        assert (answer.status_code, answer.json()["text"]) == (200, "en låg ton")
        assert healthy.status_code == 200
        for bomb in bombs:
            refused = bomb.result()
            assert refused.status_code == 422
            assert refused.json()["problems"] == {"recording": "too long"}
            assert "at most 7200 s" in refused.json()["error"]


@pytest.mark.parametrize(
    "content, reason",
    [(lying_wav(1), "undecodable"), (silent_flac(60 * 3600, 8000, stated=True), "too long")],
)
def test_what_lies_about_its_rate_or_tells_of_60_hours_is_refused_before_it_is_decoded(site, content, reason):
    answer = post(site, content)
    assert (answer.status_code, answer.json()["problems"]) == (422, {"recording": reason})


@contextlib.contextmanager
def callers(address, count):
    """So many who send a bomb and wait; on leaving they hang up."""
    host = address.removeprefix("http://")
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection((host.rpartition(":")[0], int(host.rpartition(":")[2]))))
            head = f"POST {ADDRESS} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(BOMB)}\r\n\r\n"
            sockets[-1].sendall(head.encode() + BOMB)
        yield
    finally:
        for one in sockets:
            one.close()


def test_when_all_places_are_taken_callers_are_told_to_come_back_and_those_who_hang_up_free_theirs(site):
    process = server_of(site)
    with callers(site, 14):
        refused = wait_for(lambda: busy(site), "a full house")
        assert int(refused.headers["retry-after"]) > 0
        assert "try again later" in refused.json()["error"]
        assert len(decoders_of(process)) <= 9, "no more at work than there are places, and one ahead"
        assert httpx.get(f"{site}/healthz", timeout=PATIENCE_S).status_code == 200
    wait_for(lambda: not at_work(process, 1), "the end of what nobody waits for")
    wait_for(lambda: post(site, LOW_TONE).json().get("text") == "en låg ton", "a place")


def busy(address):
    """The answer that there is no place, if that is the answer; who is let into the line hangs up soon."""
    with contextlib.suppress(httpx.ReadTimeout):
        answer = httpx.post(address + ADDRESS, content=LOW_TONE, timeout=0.5)
        return answer if answer.status_code == 503 else None
    return None


# ---------------------------------------------------------------- the pages, in this process


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield SpeechDesk(str(spoken_store()))


@pytest.fixture
def bomb(tmp_path):
    (tmp_path / "bomb.flac").write_bytes(BOMB)
    return str(tmp_path / "bomb.flac")


def is_free():
    """Whether all places are."""
    with RECORDINGS._changed:
        return RECORDINGS._free == 6 and not RECORDINGS._line


def test_stop_ends_a_recording_that_is_being_decoded(speech, bomb):
    before = decoders_of(os.getpid())  # of tests before this one, kept warm
    pages = transcribe.respond(speech, "sv", bomb)
    assert any("Reading the recording" in page for page, _ in zip(pages, range(20), strict=False))
    wait_for(lambda: at_work(os.getpid(), 1, before), "the bomb at work")
    pages.close()
    wait_for(lambda: is_free() and not at_work(os.getpid(), 1, before), "its end")


def test_stop_ends_the_wait_of_a_recording_in_line(speech, bomb):
    before = [transcribe.respond(speech, "sv", bomb) for _ in range(6)]
    for pages in before:
        next(pages)
    wait_for(lambda: RECORDINGS._free == 0, "a full house")
    waiting = transcribe.respond(speech, "sv", bomb)
    assert all("Waiting for its turn" in page for page, _ in zip(waiting, range(3), strict=False))
    assert len(RECORDINGS._line) == 1
    waiting.close()
    wait_for(lambda: not RECORDINGS._line, "an empty line")
    assert RECORDINGS._free == 0
    for pages in before:
        pages.close()
    wait_for(is_free, "an empty house")


def test_stop_ends_a_recording_that_is_being_written_down(speech, tmp_path):
    (tmp_path / "long.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(16_000)], 2000)))
    pages = transcribe.respond(speech, "sv", str(tmp_path / "long.wav"))
    assert any("Written down: " in page for page in pages)
    pages.close()
    wait_for(is_free, "its end")


def test_recordings_are_written_down_in_turns_so_a_short_one_does_not_wait_for_a_long_one(speech, tmp_path):
    (tmp_path / "long.wav").write_bytes(wav(np.tile(np.r_[sounds()[0].audio, np.zeros(16_000)], 2000)))
    (tmp_path / "low.wav").write_bytes(LOW_TONE)
    long = transcribe.respond(speech, "sv", str(tmp_path / "long.wav"))
    assert any("Written down: " in page for page in long)
    assert "en låg ton" in list(transcribe.respond(speech, "sv", str(tmp_path / "low.wav")))[-1]
    assert "Written down: " in next(long), "the long one was done first"
    long.close()
    wait_for(is_free, "its end")


def test_the_recorder_refuses_a_bomb_in_words_and_keeps_nothing(bomb, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_RECORDINGS", str(tmp_path / "recordings"))
    assert "too long" in recorder.listen(bomb)
    (tmp_path / "lie.wav").write_bytes(lying_wav(1))
    prompt = {"text": "Hej", "english": "", "skipped": []}
    *_, said = recorder.keep_one("mine", "sv", "", "anna", True, str(tmp_path / "lie.wav"), prompt)
    assert "samples per second, found 1" in said
    assert not list((tmp_path / "recordings").rglob("*.wav"))
