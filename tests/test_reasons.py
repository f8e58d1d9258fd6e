"""What a run that fails says: the reason that it failed for, at once, and a next move that exists."""

import datetime as dt
import re
import string

import pandas as pd
import pytest
import yaml
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect_server import ROOT

from dagsverk.speech.config import CorpusConfig
from dagsverk.store import open_store
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.system import load_system
from flows.speech import speech_evaluation, speech_features, speech_training
from flows.tabular import day, inference, training

QUICK = TrainingConfig(model_classes=("lda", "knn"), folds=3, repeats=1)
DATE = dt.date(2026, 1, 31)
IRIS = load_system("iris")
LABEL = IRIS.label.name
FLOWERS = IRIS.read()
UNTRAINABLE = "UntrainableRows: iris cannot be trained"
ENTRIES = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(scope="module")
def server(prefect_server):
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return open_store()


def flowers(**columns):
    return FLOWERS.assign(**columns)


def coded():
    return FLOWERS[LABEL].astype("category").cat.codes + 1.0


UNSCORED = {
    "a constant column": (flowers(sepal_width_cm=2.0), f"{UNTRAINABLE}: .*sepal_width_cm is 2.0 wherever"),
    "one outcome": (flowers(**{LABEL: "setosa"}), f"{UNTRAINABLE} on 150 rows: .*found: setosa 150"),
    "no outcome": (flowers(**{LABEL: None}), f"{UNTRAINABLE} on 0 rows: .*found: none"),
    "two rows": (FLOWERS.head(2), f"{UNTRAINABLE} on 2 rows"),
    "an outcome once": (FLOWERS.head(51), f"{UNTRAINABLE} on 51 rows: .*setosa 50, versicolor 1"),
    "an empty column": (flowers(sepal_width_cm=None), "TooManyBadRows: 150 of 150 rows"),
    "numbers that count rows": (flowers(petal_width_cm=range(150)), "TooManyBadRows: 142 of 150 rows"),
    "no rows": (FLOWERS.head(0), "has a header and no rows"),
    "no such column": (FLOWERS.drop(columns="sepal_width_cm"), "lacks 1 of the columns of iris"),
}


@pytest.mark.parametrize("case", UNSCORED)
def test_rows_that_no_champion_can_come_from_fail_the_day_before_anything_is_scored(
    server, store, tmp_path, case
):
    rows, reason = UNSCORED[case]
    state = day_from(rows, tmp_path)
    assert state.is_failed()
    assert re.search(reason, state.message), state.message
    assert store.list("scores/iris") == []


REFUSED = {
    "a leak": (flowers(sepal_width_cm=coded()), "accuracy .* is above .*a likely leak"),
    "chance": (
        flowers(**{LABEL: FLOWERS[LABEL].sample(frac=1, random_state=1).to_numpy()}),
        "does not beat",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_a_day_without_a_champion_fails_for_the_reason_of_the_gate(server, store, tmp_path, case):
    rows, reason = REFUSED[case]
    state = day_from(rows, tmp_path)
    assert state.is_failed()
    assert re.search(f"no champion of iris; version 1: .* is not promoted: .*{reason}", state.message)
    assert training("iris", QUICK, return_state=True).is_completed(), "to be refused is no failure"


def test_a_class_that_cannot_be_fitted_is_named(server, store, tmp_path):
    state = day_from(FLOWERS.groupby(LABEL).head(2), tmp_path)
    assert "iris: lda cannot be scored on 6 rows" in state.message
    assert "leave lda out of model_classes" in state.message


def test_a_step_without_the_one_before_names_the_day_to_run(server, store):
    assert "prefect deployment run day/iris" in inference("iris", return_state=True).message
    assert "prefect deployment run day/iris" in training("iris", return_state=True).message


@pytest.mark.parametrize(
    "step, reason",
    [
        (speech_training, "no prepared clips of .*prefect deployment run speech-features/swedish"),
        (speech_evaluation, "no finished training of .*prefect deployment run speech-training/swedish"),
    ],
)
def test_a_speech_step_without_the_one_before_names_the_run_to_start(server, store, step, reason):
    state = step("sv", return_state=True)
    assert state.is_failed()
    assert re.search(reason, state.message), state.message


def test_a_corpus_without_clips_says_so(server, store, tmp_path):
    (tmp_path / "corpus").mkdir()
    state = speech_features("sv", CorpusConfig(source=str(tmp_path / "corpus")), return_state=True)
    assert state.is_failed()
    assert str(tmp_path / "corpus") in state.message


def day_from(rows: pd.DataFrame, folder):
    rows.to_csv(folder / "rows.csv", index=False)
    return day("iris", DATE, source=str(folder / "rows.csv"), training=QUICK, return_state=True)


def commands():
    """Every `prefect deployment run FLOW/{name}` that our code or pages say."""
    said = re.compile(r"(?:prefect deployment run |\brun )([a-z-]+)/(\{[^}]+\}|[A-Za-z]+)")
    for folder in ("dagsverk", "tasks", "flows", "ui", "deployments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for flow, name in said.findall(re.sub(r'"\s+f?"', "", path.read_text(encoding="utf-8"))):
                yield pytest.param(flow, name, id=f"{path.relative_to(ROOT)}:{flow}")


COMMANDS = list(commands())
ADDED = (ROOT / "docs" / "how-to" / "add-a-system.md").read_text(encoding="utf-8")
LINES = re.findall(r"<<: \*(\w+), name: penguins", ADDED)
OF_A_NEW_SYSTEM = {"day", *(name.replace("_", "-") for name in LINES)}


def test_the_commands_of_messages_are_found():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("flow, name", COMMANDS)
def test_every_run_that_a_message_tells_to_start_is_a_deployment_of_each_system_or_language(flow, name):
    assert name.startswith("{"), "a message names the system or language that it is about"
    assert any(string.Formatter().parse(name))
    family, first = ("speech", "speech-day") if flow.startswith("speech-") else ("tabular", "day")
    names = {entry["name"] for entry in ENTRIES if deployment(entry) == first and family in entry["tags"]}
    assert names
    assert names == {entry["name"] for entry in ENTRIES if deployment(entry) == flow} & names
    assert family == "speech" or flow in OF_A_NEW_SYSTEM


def deployment(entry):
    return entry["entrypoint"].rpartition(".")[2].replace("_", "-")
