"""Flows whose source is away at first: by Prefect's own retries they end well, and nothing is lost."""

import contextlib
import dataclasses
import http.server
import threading

import pytest
import s3fs
from faulty_proxy import faulty_proxy
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from s3_server import KEYS, s3_server
from speech_clips import json_lines, wav

from dagsverk.speech.config import CorpusConfig, PrepareConfig
from dagsverk.speech.corpora import bucket
from dagsverk.speech.errors import CorpusError, CorpusUnavailable
from dagsverk.speech.features import shards
from dagsverk.store import open_store
from dagsverk.tabular import web
from dagsverk.tabular.errors import SourceError, SourceUnavailable
from dagsverk.tabular.system import load_system
from tasks import speech, tabular
from tasks.policies import may_pass

SHARD = 2 * bucket.TOGETHER  # clips: more than are fetched from a bucket together
ROWS = b"flower_id,sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
ROWS += b"1,5.1,3.5,1.4,0.2,setosa\n"


@pytest.fixture(scope="module")
def server(prefect_server):
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


@pytest.fixture(scope="module")
def s3():
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(s3, monkeypatch, tmp_path):
    """A server of S3 that can go away, with the bucket `clips`; the store is a folder."""
    for name, value in {**KEYS, "DAGSVERK_S3_PATIENCE_S": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    with faulty_proxy(s3, seed=1, probability=1, kinds=["503"]) as between:
        between.switch_off()
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        yield between


@pytest.fixture
def client(s3, proxy):
    made = s3fs.S3FileSystem(endpoint_url=s3, skip_instance_cache=True, use_listings_cache=False)
    with contextlib.suppress(FileExistsError):
        made.mkdir("clips")
    return made


def patient(task, before_each_retry):
    """The task with its own policy, and without its pauses; the other side is told of each new try."""
    tries = []

    def condition(given, run, state):
        tries.append(run.run_count)
        before_each_retry()
        return may_pass(given, run, state)

    return task.with_options(retry_delay_seconds=0, retry_condition_fn=condition), tries


def put_corpus(client, name):
    """Clips in a bucket, of a voice for each split."""
    splits = {"train": SHARD, "dev": 2, "test": 2}
    names = [(f"{split}{number}.wav", split) for split, count in splits.items() for number in range(count)]
    rows = [{"file": file, "text": "hej", "split": split, "speaker": split} for file, split in names]
    client.pipe_file(f"clips/{name}/metadata.jsonl", json_lines(rows))
    for number, (file, _) in enumerate(names):
        client.pipe_file(f"clips/{name}/{file}", wav(0.5, 200 + number))
    return CorpusConfig(source=f"s3://clips/{name}")


def prepared(corpus, list_clips, prepare_shards):
    """The manifest that the tasks of a preparation come to, run as its flow runs them."""

    @flow
    def preparation():
        work = list_clips("sv", corpus, PrepareConfig(shard_clips=SHARD))
        for numbers in work.groups:
            prepare_shards(numbers, work.set_id, "sv", corpus)
        return speech.complete_shards("sv", work.set_id)

    return shards.manifest(open_store(), preparation())


def test_a_preparation_whose_bucket_goes_away_twice_ends_with_every_clip_and_none_set_aside(
    server, client, proxy, monkeypatch, tmp_path
):
    corpus = put_corpus(client, "away")
    proxy.go_away()
    list_clips, lists = patient(speech.list_clips, proxy.come_back)
    prepare_shards, prepares = patient(speech.prepare_shards, proxy.come_back)
    read, losses = bucket.s3.read_objects, []

    def read_objects(*arguments):
        """As ever; before the second helping of the first shard the server dies."""
        losses.append(1)
        if len(losses) == 2:
            proxy.go_away()
        return read(*arguments)

    monkeypatch.setattr(bucket.s3, "read_objects", read_objects)
    lost = prepared(corpus, list_clips, prepare_shards)
    assert (lists, prepares) == ([1], [1])
    assert (lost.listed, lost.rejected) == (SHARD + 4, {})
    assert {split: totals.clips for split, totals in lost.splits.items()} == {
        "train": SHARD,
        "dev": 2,
        "test": 2,
    }
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "other"))
    whole = prepared(corpus, speech.list_clips, speech.prepare_shards)
    assert (whole.id, whole.shards) == (lost.id, lost.shards)


def test_a_table_in_a_bucket_that_is_away_at_first_is_read(server, client, proxy):
    client.pipe_file("clips/rows.csv", ROWS)
    proxy.switch_on()
    ingest, tries = patient(tabular.ingest, proxy.switch_off)
    assert flow(lambda: ingest("iris", "s3://clips/rows.csv").commit)() >= 1
    assert tries == [1]


@pytest.mark.parametrize("source", ["s3://clips/none.csv", "s3://no-such-bucket/rows.csv"])
def test_what_is_not_there_is_asked_for_once(server, client, source):
    ingest, tries = patient(tabular.ingest, lambda: None)
    with pytest.raises(SourceError, match="there is no such bucket or object") as refusal:
        flow(lambda: ingest("iris", source))()
    assert tries == [1] and not isinstance(refusal.value, SourceUnavailable)


@pytest.mark.parametrize("trouble, passing", [(CorpusUnavailable, True), (CorpusError, False)])
def test_the_policy_knows_a_corpus_that_was_not_reached_from_a_wrong_one(trouble, passing):
    @dataclasses.dataclass
    class Ended:
        def result(self):
            raise trouble("?")

    assert may_pass(None, None, Ended()) is passing


# ------------------------------------------------------------------ web sites


@pytest.fixture
def site(monkeypatch, tmp_path):
    """A web site that gives the first of its `answers` each time, and keeps the last."""
    monkeypatch.setenv(web.VARIABLE, "1")
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))

    answers = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Keep the test's output clean."""

        def do_GET(self):
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(abs(status))
            self.send_header("Content-Length", str(len(ROWS)))
            self.end_headers()
            self.wfile.write(ROWS[:20] if status < 0 else ROWS)

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}/rows.csv", answers
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("first", [500, 503, 429, -200], ids=["500", "503", "429", "cut short"])
def test_a_table_of_a_web_site_that_answers_on_the_second_try_is_read(server, site, first):
    address, answers = site
    answers.insert(0, first)
    ingest, tries = patient(tabular.ingest, lambda: None)
    flow(lambda: ingest("iris", address))()
    assert tries == [1]
    features = tabular.features_table(load_system("iris"))
    assert len(open_store().read(features)) == 1


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_web_site_that_refuses_is_asked_once(server, site, status):
    address, answers = site
    answers[:] = [status]
    ingest, tries = patient(tabular.ingest, lambda: None)
    with pytest.raises(SourceError, match=f"answered {status}"):
        flow(lambda: ingest("iris", address))()
    assert tries == [1]
