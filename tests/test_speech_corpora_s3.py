"""A corpus in an S3 bucket: listed, streamed, and told when it cannot be reached."""

import pytest
import s3fs
from s3_server import KEYS, s3_server
from speech_clips import json_lines, pack, small_release, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import places
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError


@pytest.fixture(scope="module")
def server():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server, monkeypatch):
    """An S3 client; the bucket is called clips."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = s3fs.S3FileSystem(use_listings_cache=False)
    if not client.exists("clips"):
        client.mkdir("clips")
    yield client
    s3fs.S3FileSystem.clear_instance_cache()


def opened(source, language="sv"):
    return open_corpus(CorpusConfig(source=source), language)


def put(client, files, folder):
    for path, content in files.items():
        client.pipe_file(f"clips/{folder}/{path}", content)
    return f"s3://clips/{folder}"


def test_a_release_is_read_from_a_bucket(bucket):
    source = put(bucket, small_release(), "release")
    corpus = opened(source)
    listing = corpus.listing()
    assert len(listing.clips) == 10
    assert not corpus.sequential
    heard = dict(corpus.read(listing.clips))
    assert [clip.id for clip in heard] == [clip.id for clip in listing.clips]
    expected = small_release()
    assert all(heard[clip] == expected[clip.audio] for clip in listing.clips)


@pytest.mark.parametrize("form", ["cv.tar.gz", "cv.tar"])
def test_an_archive_is_streamed_from_a_bucket(bucket, tmp_path, form):
    path = pack(small_release(), tmp_path / form)
    bucket.put_file(str(path), f"clips/{form}")
    corpus = opened(f"s3://clips/{form}")
    listing = corpus.listing()
    assert corpus.sequential
    assert len(dict(corpus.read(listing.clips))) == len(listing.clips) == 10
    assert listing.fingerprint == opened(str(path)).listing().fingerprint  # of content, not of place


def test_an_archive_that_was_uploaded_in_part_is_told(bucket, tmp_path):
    whole = pack(small_release(), tmp_path / "cv.tar.gz").read_bytes()
    bucket.pipe_file("clips/part.tar.gz", whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"s3://clips/part.tar.gz is cut short: it ends after [\d,]+ bytes"):
        opened("s3://clips/part.tar.gz").listing()


def test_a_folder_of_recordings_is_read_from_a_bucket_and_names_are_no_patterns(bucket):
    names = ["a[1].wav", "b*.wav", "c ö?.wav"]
    rows = [
        {"file": name, "text": "hej", "split": split}
        for name, split in zip(names, ("train", "dev", "test"), strict=True)
    ]
    files = {name: wav(0.3, 300 + 10 * i) for i, name in enumerate(names)}
    source = put(bucket, {"metadata.jsonl": json_lines(rows), **files}, "folder")
    corpus = opened(source)
    assert {clip.audio: sound for clip, sound in corpus.read(corpus.listing().clips)} == files


def test_more_clips_than_are_fetched_together_are_all_read(bucket):
    count = 2 * places.TOGETHER + 3
    rows = [{"file": f"{i}.wav", "text": "hej", "speaker": f"s{i}"} for i in range(count)]
    sound = wav(0.1)
    source = put(
        bucket, {"metadata.jsonl": json_lines(rows), **{f"{i}.wav": sound for i in range(count)}}, "many"
    )
    corpus = opened(source)
    clips = corpus.listing().clips
    bucket.rm(f"clips/many/{clips[40].audio}")
    found = list(corpus.read(clips))
    assert [clip.id for clip, found in found if found == sound] == [c.id for c in clips if c != clips[40]]
    assert found[-1][1].reason == "missing audio"


def test_a_new_recording_changes_the_fingerprint(bucket):
    rows = [
        {"file": f"{i}.wav", "text": "hej", "split": split}
        for i, split in enumerate(("train", "dev", "test"))
    ]
    files = {"metadata.jsonl": json_lines(rows), **{f"{i}.wav": wav() for i in range(3)}}
    first = opened(put(bucket, files, "one")).listing().fingerprint
    assert opened(put(bucket, files, "two")).listing().fingerprint == first
    assert opened(put(bucket, {"1.wav": wav(0.5, 999)}, "one")).listing().fingerprint != first


@pytest.mark.parametrize("source", ["s3://no-such-bucket/cv", "s3://no-such-bucket/cv.tar.gz"])
def test_a_bucket_that_is_missing_is_told_by_name(bucket, source):
    with pytest.raises(CorpusError, match=r"s3://no-such-bucket.*there is no such bucket"):
        opened(source)


@pytest.mark.parametrize(
    "name, message", [("nothing/here", "is empty or absent"), ("none.tar.gz", "no such bucket or object")]
)
def test_an_object_that_is_missing_is_told_by_name(bucket, name, message):
    with pytest.raises(CorpusError, match=message):
        opened(f"s3://clips/{name}").listing()


def test_a_bucket_that_denies_access_is_told_without_showing_the_key(bucket, monkeypatch):
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:  # IAM is checked: our key is not known
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()
        for path in ("cv", "cv.tar.gz"):
            with pytest.raises(CorpusError, match=r"access denied; check the AWS_\* variables") as caught:
                opened(f"s3://clips/{path}")
            assert "hunter2" not in str(caught.value) + str(caught.value.__cause__)


def test_a_server_that_does_not_answer_is_told(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(CorpusError, match="check AWS_ENDPOINT_URL"):
        opened("s3://clips/cv")
