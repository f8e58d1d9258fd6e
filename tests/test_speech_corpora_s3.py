"""A corpus in an S3 bucket: listed, streamed, and told when it cannot be reached."""

import contextlib

import numpy as np
import pytest
import s3fs
from botocore.exceptions import ClientError
from faulty_proxy import faulty_proxy
from s3_server import KEYS, s3_server
from s3fs.errors import translate_boto_error
from speech_clips import json_lines, pack, small_release, wav

from dagsverk import s3
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import bucket as bucket_module
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError, CorpusUnavailable


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
    sounds = dict(corpus.read(listing.clips))
    assert [clip.id for clip in sounds] == [clip.id for clip in listing.clips]
    expected = small_release()
    assert all(sounds[clip] == expected[clip.audio] for clip in listing.clips)


@pytest.mark.parametrize("form", ["cv.tar.gz", "cv.tar", "cv.tar.zst", "cv.tar.xz"])
def test_an_archive_is_streamed_from_a_bucket(bucket, tmp_path, form):
    path = pack(small_release(), tmp_path / form)
    bucket.put_file(str(path), f"clips/{form}")
    corpus = opened(f"s3://clips/{form}")
    listing = corpus.listing()
    assert corpus.sequential
    assert len(dict(corpus.read(listing.clips))) == len(listing.clips) == 10
    assert listing.fingerprint == opened(str(path)).listing().fingerprint  # of content, not of place


def test_of_a_zip_in_a_bucket_only_what_is_wanted_is_fetched(bucket, tmp_path, monkeypatch):
    noise = {f"more{i}.bin": np.random.default_rng(i).bytes(200_000) for i in range(5)}
    path = pack(small_release() | noise, tmp_path / "cv.zip")
    bucket.put_file(str(path), "clips/cv.zip")
    fetched = []
    read_part = s3.read_part
    monkeypatch.setattr(s3, "read_part", lambda *args: fetched.append(args[4] - args[3]) or read_part(*args))
    corpus = opened("s3://clips/cv.zip")
    listing = corpus.listing()
    assert listing.fingerprint == opened(str(path)).listing().fingerprint
    assert dict(corpus.read(listing.clips)) == dict(opened(str(path)).read(listing.clips))
    assert sum(fetched) < path.stat().st_size / 2


def test_a_zip_that_is_replaced_while_it_is_read_may_pass(bucket, tmp_path):
    path = pack(small_release(), tmp_path / "cv.zip")
    bucket.put_file(str(path), "clips/changing.zip")
    corpus = opened("s3://clips/changing.zip")
    clips = corpus.listing().clips
    bucket.pipe_file("clips/changing.zip", path.read_bytes() + b"x")
    with pytest.raises(CorpusUnavailable, match=r"cannot read s3://clips/changing\.zip"):
        list(corpus.read(clips))


def test_an_object_of_any_name_is_read_by_what_it_is(bucket, tmp_path):
    path = pack(small_release(), tmp_path / "cv.zip")
    bucket.put_file(str(path), "clips/release-of-today")
    bucket.pipe_file("clips/own/metadata.csv", b"file,text")
    assert len(opened("s3://clips/release-of-today").listing().clips) == 10
    with pytest.raises(CorpusError, match=r"is one file of a corpus; give the folder .*: s3://clips/own"):
        opened("s3://clips/own/metadata.csv")


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
    count = 2 * bucket_module.TOGETHER + 3
    rows = [{"file": f"{i}.wav", "text": "hej", "speaker": f"s{i}"} for i in range(count)]
    sound = wav(0.1)
    source = put(
        bucket, {"metadata.jsonl": json_lines(rows), **{f"{i}.wav": sound for i in range(count)}}, "many"
    )
    corpus = opened(source)
    clips = corpus.listing().clips
    bucket.rm(f"clips/many/{clips[40].audio}")
    read = list(corpus.read(clips))
    assert [clip.id for clip, content in read if content == sound] == [c.id for c in clips if c != clips[40]]
    assert read[-1][1].reason == "missing audio"


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
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "2")
    with pytest.raises(CorpusUnavailable, match="check AWS_ENDPOINT_URL, try again"):
        opened("s3://clips/cv")


def test_an_endpoint_with_a_password_in_it_is_refused_and_not_shown(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:9")
    for path in ("cv", "cv.tar.gz"):
        with pytest.raises(CorpusError, match="holds a user or password") as refusal:
            opened(f"s3://clips/{path}")
        assert "hunter2" not in f"{refusal.value} {refusal.value.__cause__}"


# ------------------------------------------------------------------ a server that goes away


@pytest.fixture
def proxy(server, bucket, monkeypatch):
    """Between us and the server; at first everything passes."""
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "2")
    with faulty_proxy(server, seed=1, probability=1, kinds=["cut"], only="GET /clips/[^?]") as between:
        between.switch_off()
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        yield between


def test_a_listing_that_is_not_answered_may_pass(bucket, proxy):
    corpus = opened(put(bucket, small_release(), "listing"))
    proxy.go_away()
    with pytest.raises(CorpusUnavailable, match="cannot list s3://clips/listing"):
        corpus.listing()
    proxy.come_back()
    assert len(corpus.listing().clips) == 10


def test_a_clip_that_is_cut_short_each_time_raises_and_is_not_set_aside(bucket, proxy):
    corpus = opened(put(bucket, small_release(), "short"))
    clips = corpus.listing().clips
    proxy.switch_on()
    with pytest.raises(CorpusUnavailable, match=r"cannot read s3://clips/short/.*\.mp3"):
        list(corpus.read(clips))
    proxy.switch_off()
    assert all(isinstance(sound, bytes) for _, sound in corpus.read(clips))


def test_a_server_that_dies_between_two_clips_raises_and_sets_none_aside(bucket, proxy):
    count = 2 * bucket_module.TOGETHER
    rows = [{"file": f"{i}.wav", "text": "hej"} for i in range(count)]
    files = {"metadata.jsonl": json_lines(rows), **{f"{i}.wav": wav(0.1) for i in range(count)}}
    corpus = opened(put(bucket, files, "dying"))
    read = []
    with pytest.raises(CorpusUnavailable):
        for _, sound in corpus.read(corpus.listing().clips):
            read.append(sound)
            if len(read) == bucket_module.TOGETHER:
                proxy.go_away()
    assert read == [wav(0.1)] * bucket_module.TOGETHER
    proxy.come_back()


def test_an_archive_whose_bytes_break_off_is_read_on_from_there(bucket, server, monkeypatch, tmp_path):
    path = pack(small_release(), tmp_path / "cv.tar")
    bucket.put_file(str(path), "clips/broken.tar")
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "4")
    with faulty_proxy(server, seed=2, probability=0.6, kinds=["cut"], only="GET .*tar") as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        corpus = opened("s3://clips/broken.tar")
        assert corpus.listing().fingerprint == opened(str(path)).listing().fingerprint
        assert between.counts()["cut"] >= 1


@pytest.mark.parametrize("form", ["cv.tar.gz", "cv.tar"])
def test_an_archive_that_is_lost_in_its_middle_may_pass_and_is_not_called_cut_short(
    bucket, proxy, tmp_path, form, monkeypatch
):
    monkeypatch.setattr(s3, "BLOCK_BYTES", 512)  # smaller than what waits in buffers
    path = pack(small_release(), tmp_path / form)
    bucket.put_file(str(path), f"clips/lost-{form}")
    corpus = opened(f"s3://clips/lost-{form}")
    clips = corpus.listing().clips
    proxy.switch_on()
    with pytest.raises(CorpusUnavailable, match=f"cannot read s3://clips/lost-{form}"):
        list(corpus.read(clips))
    proxy.switch_off()
    assert len(list(corpus.read(clips))) == 10


def test_an_archive_that_is_replaced_while_it_is_read_may_pass(bucket, proxy, monkeypatch):
    monkeypatch.setattr(s3, "BLOCK_BYTES", 512)
    bucket.pipe_file("clips/replaced.tar", b"a" * 100_000)
    proxy.switch_on()
    with contextlib.closing(bucket_module.S3Object("s3://clips/replaced.tar").open()) as stream:
        assert stream.read(100) == b"a" * 100
        bucket.pipe_file("clips/replaced.tar", b"b" * 100_000)
        proxy.switch_off()
        with pytest.raises(CorpusUnavailable):
            stream.read()


@pytest.mark.parametrize(
    "status, code, passing",
    [
        (503, "SlowDown", True),
        (500, "InternalError", True),
        (429, "TooManyRequests", True),
        (400, "RequestTimeout", True),
        (400, "ThrottlingException", True),
        (412, "PreconditionFailed", True),
        (400, "InvalidRequest", False),
        (403, "AccessDenied", False),
        (404, "NoSuchKey", False),
        (301, "PermanentRedirect", False),
        (501, "NotImplemented", False),
    ],
)
def test_what_an_answer_of_s3_means_is_told_by_its_kind(status, code, passing):
    answer = {"Error": {"Code": code, "Message": "?"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate_boto_error(ClientError(answer, "GetObject"))
    with pytest.raises(CorpusError) as raised, bucket_module.s3_errors("read", "s3://clips/x"):
        raise error
    assert isinstance(raised.value, CorpusUnavailable) == passing
