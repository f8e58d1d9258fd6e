"""Recordings below an S3 prefix are written down, also while the bucket changes or does not answer."""

import shutil

import pytest
import s3fs
from s3_server import KEYS, make_bucket, shared_s3_server
from speech_models import sounds
from speech_site import spoken_store

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.errors import CorpusUnavailable
from dagsverk.speech.languages import language
from dagsverk.speech.transcription import adding_up, models, work
from dagsverk.speech.transcription.config import TranscriptionConfig
from dagsverk.store import open_store

SWEDISH = language("sv")
PLACE = "transcriptions-test/calls"


@pytest.fixture
def bucket(monkeypatch):
    address = shared_s3_server()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    make_bucket(address, PLACE.split("/", maxsplit=1)[0])
    client = s3fs.S3FileSystem(
        endpoint_url=address,
        key=KEYS["AWS_ACCESS_KEY_ID"],
        secret=KEYS["AWS_SECRET_ACCESS_KEY"],
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    for old in client.find("transcriptions-test"):
        client.rm_file(old)
    for name, sound in zip(("a.wav", "b å.wav"), sounds(), strict=False):
        client.pipe_file(f"{PLACE}/{name}", encode_wav(sound.audio))
    client.pipe_file(f"{PLACE}/a.txt", sounds()[0].text.encode())
    return client


@pytest.fixture
def run(tmp_path, monkeypatch):
    shutil.copytree(spoken_store(), tmp_path / "store")
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    config = TranscriptionConfig(source=f"s3://{PLACE}", output="s3://transcriptions-test/texts")

    def go(between=lambda: None):
        _, made = work.plan(store, SWEDISH, config, "v1")
        between()
        load = lambda: models.champion(store, SWEDISH)  # noqa: E731
        done = work.write_all(store, SWEDISH, made, made.waiting, config, load=load)
        return adding_up.complete(store, SWEDISH, made, config, [done])

    return go


def test_objects_are_written_down_once_scored_and_their_texts_put_below_the_output(bucket, run):
    report = run()
    assert (report.written, report.new, report.failed) == (2, 2, {})
    assert report.scored is not None and report.scored.wer.value == 0
    assert bucket.cat_file("transcriptions-test/texts/a.wav.txt").decode() == f"{sounds()[0].text}\n"
    assert run().new == 0
    bucket.pipe_file(f"{PLACE}/a.wav", encode_wav(sounds()[2].audio))
    assert run().new == 1


def test_objects_that_change_or_vanish_after_the_listing_are_left_for_the_next_run(bucket, run):
    def change():
        bucket.pipe_file(f"{PLACE}/a.wav", encode_wav(sounds()[2].audio))
        bucket.rm_file(f"{PLACE}/b å.wav")

    report = run(change)
    assert report.failed == {"changed while it was read": 1, "cannot be read": 1}
    assert (run().written, run().failed) == (1, {})


def test_a_bucket_that_does_not_answer_ends_the_run_and_counts_against_no_recording(bucket, run, monkeypatch):
    def away():
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "1")

    with pytest.raises(CorpusUnavailable):
        run(away)
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_s3_server())
    assert (run().written, run().failed) == (2, {})


NAMES = [
    "a b.wav",
    "50% off.wav",
    "a%20b.wav",
    "tab\tin.wav",
    "A.wav",
    "å+&?#=;.wav",
    "\ufffd\u200b.wav",
    "a.wav/b.wav",
]


def test_keys_with_any_signs_are_read_and_those_that_are_no_paths_are_counted(bucket, run, tmp_path):
    for name in NAMES:
        bucket.pipe_file(f"{PLACE}/{name}", encode_wav(sounds()[1].audio))
    for key in ("calls//empty.wav", "calls/./dot.wav", f"calls/{'x' * 600}.wav", "calls/.hidden.wav"):
        bucket.call_s3("put_object", Bucket="transcriptions-test", Key=key, Body=b"words")
    report = run()
    assert (report.recordings, report.written) == (2 + len(NAMES) + 3, 2 + len(NAMES))
    assert report.failed == {"not a regular file": 3}
    assert "no path" in report.failures[0].detail
    for name in NAMES:
        text = bucket.cat_file(f"transcriptions-test/texts/{name}.txt").decode()
        assert text == f"{sounds()[1].text}\n", name
    assert run().new == 0
