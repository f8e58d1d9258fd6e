"""A Hugging Face Hub that goes away, by the libraries' own requests: what may pass, what stays wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from faulty_proxy import faulty_proxy
from hub_server import hub_server
from speech_clips import wav

from dagsverk.hub import may_pass

# In a process of its own, as the libraries read their variables when they are imported. It stops before it
# lists and before it reads, and goes on when it is told.
READER = """
import json, sys, time
import datasets
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError

time.sleep = lambda seconds: None  # between the libraries' own tries
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = 2

def tell(**facts):
    print(json.dumps(facts), flush=True)

for source in map(str.strip, sys.stdin):
    try:
        corpus = open_corpus(CorpusConfig(source=source), "sv")
        tell(at="list"), sys.stdin.readline()
        clips = corpus.listing().clips
        tell(at="read"), sys.stdin.readline()
        sounds = [sound for _, sound in corpus.read(clips)]
        tell(at="end", sounds=sum(isinstance(sound, bytes) for sound in sounds), of=len(sounds))
    except CorpusError as error:
        tell(at="end", kind=type(error).__name__, message=str(error))
"""


class Reader:
    """The process."""

    def __init__(self, address, home):
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER],
            env={**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def go_on(self, word=""):
        print(word, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Hub with two data sets: owner/inside has its sounds in the rows, owner/beside in files."""
    root = tmp_path_factory.mktemp("hub")
    inside = {"audio": [{"bytes": wav(0.1), "path": None}] * 4, "text": ["hej"] * 4}
    beside = {"audio": [f"sound/{number}.wav" for number in range(3)], "text": ["hej"] * 3}
    for name, columns in {"inside": inside, "beside": beside}.items():
        rows = datasets.Dataset.from_dict(columns)
        if name == "inside":
            rows = rows.cast_column("audio", datasets.Audio())
        for split in ("train", "validation", "test"):
            (root / "owner" / name / "data").mkdir(parents=True, exist_ok=True)
            rows.to_parquet(str(root / "owner" / name / "data" / f"{split}-00000-of-00001.parquet"))
    (root / "owner" / "beside" / "sound").mkdir()
    for number in (0, 1):  # the third is named, and not there
        (root / "owner" / "beside" / "sound" / f"{number}.wav").write_bytes(wav(0.1))
    with hub_server(root) as served:
        yield served


@pytest.fixture(scope="module")
def proxy(hub):
    with faulty_proxy(hub.address, seed=1, probability=1, kinds=["503"]) as between:
        between.switch_off()
        yield between


@pytest.fixture(scope="module")
def reader(proxy, tmp_path_factory):
    started = Reader(proxy.address, tmp_path_factory.mktemp("home"))
    yield started
    started.close()


@pytest.mark.parametrize("source, sounds, of", [("hub:owner/inside", 12, 12), ("hub:owner/beside", 6, 9)])
def test_a_data_set_of_the_hub_is_streamed_and_a_file_that_is_absent_is_set_aside(reader, source, sounds, of):
    assert [reader.go_on(word)["at"] for word in (source, "")] == ["list", "read"]
    assert reader.go_on() == {"at": "end", "sounds": sounds, "of": of}


@pytest.mark.parametrize("source", ["hub:owner/inside", "hub:owner/beside"])
@pytest.mark.parametrize("trouble", ["503", "away"])
@pytest.mark.parametrize("when", ["list", "read"])
def test_a_hub_that_stops_answering_may_pass_and_no_clip_is_set_aside(reader, proxy, source, trouble, when):
    step = reader.go_on(source)
    while step["at"] != when:
        step = reader.go_on()
    proxy.switch_on() if trouble == "503" else proxy.go_away()
    try:
        end = reader.go_on()
    finally:
        proxy.switch_off()
        proxy.come_back()
    assert end["kind"] == "CorpusUnavailable"
    assert end["message"].startswith("the Hugging Face Hub was not reached for owner/")


def test_a_data_set_that_is_not_there_is_wrong(reader):
    assert reader.go_on("hub:owner/none") == {"at": "list"}
    end = reader.go_on()
    assert end["kind"] == "CorpusError"
    assert "there is no data set 'owner/none' on the Hugging Face Hub" in end["message"]


class Answer:
    def __init__(self, status_code):
        self.status_code = status_code


def answered(status_code):
    error = OSError("answered")
    error.response = Answer(status_code)
    return error


def wrapped(cause):
    error = FileNotFoundError("couldn't find any data file")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, passing",
    [
        (answered(503), True),
        (answered(429), True),
        (answered(403), False),
        (answered(404), False),
        (wrapped(answered(500)), True),
        (wrapped(answered(404)), False),
        (wrapped(ConnectionResetError()), True),
        (TimeoutError(), True),
        (ValueError("a file of another form"), False),
    ],
)
def test_what_the_hub_answered_is_looked_for_inside_of_what_libraries_raise(error, passing):
    assert may_pass(error) == passing


MODEL = """
import time
time.sleep = lambda seconds: None  # between the libraries' own tries
from dagsverk.speech.errors import ModelError
from dagsverk.speech.features import clips
from dagsverk.speech.model.models import load_model
for load in (load_model, clips._tokenizer):
    try:
        load("openai/whisper-tiny")
    except ModelError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(
    "kind, variables",
    [
        ("ModelUnavailable", {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}),
        ("ModelError", {"HF_HUB_OFFLINE": "1"}),
    ],
)
def test_a_model_of_a_hub_that_is_not_reached_may_come_later_unless_we_are_told_to_stay_offline(
    tmp_path, kind, variables
):
    done = subprocess.run(
        [sys.executable, "-c", MODEL],
        env={**os.environ, "HF_HOME": str(tmp_path), **variables},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [kind] * 2
