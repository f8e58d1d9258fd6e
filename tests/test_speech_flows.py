"""The parts of a speech day on a real server: what each leaves behind, and that a repeat changes nothing."""

import logging
import re

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, LogFilter
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect_server import wait_for
from run_records import lines_of, links

from dagsverk.records import last_report
from dagsverk.speech import steps
from dagsverk.speech.compared import results
from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.config import CorpusConfig, EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.export import exporting
from dagsverk.speech.languages import language
from dagsverk.speech.learning_curve import STEP as CURVE
from dagsverk.speech.learning_curve import SpeechCurve, SpeechCurveConfig
from dagsverk.speech.summary import speech_summary
from dagsverk.store import open_store
from flows.compare import speech_compare
from flows.speech import speech_evaluation, speech_features, speech_learning_curve, speech_training

CORPUS = CorpusConfig(train_clips=40, dev_clips=6, test_clips=8)
PREPARATION = PrepareConfig(shard_clips=20)
FINETUNE = FinetuneConfig(steps=4, evaluate_every=4, dev_clips=4)
EVALUATION = EvaluationConfig(worst=2, resamples=100)
SWEDISH = language("sv")


@pytest.fixture(scope="module")
def server(prefect_server):
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


def run_day():
    """Its three parts, as a day runs them; here in this process. The states that they ended in."""
    return [
        speech_features("sv", CORPUS, PREPARATION, return_state=True),
        speech_training("sv", FINETUNE, return_state=True),
        speech_evaluation("sv", EVALUATION, CORPUS, return_state=True),
    ]


@pytest.fixture(scope="module")
def first_day(server, tmp_path_factory):
    """The store after one small day of Swedish, and how its parts ended."""
    room = tmp_path_factory.mktemp("speech-day")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSVERK_STORE", str(room / "store"))
        patched.setenv("DAGSVERK_CACHE", str(room / "cache"))
        patched.setenv("DAGSVERK_LOGS", str(room / "logs"))
        yield open_store(), run_day()


def test_a_day_ends_with_a_registered_model_and_its_scores(first_day):
    store, states = first_day
    assert [state.type.value for state in states] == ["COMPLETED"] * 3
    version = store.model(SWEDISH.model_name, states[2].result().version)
    assert {"model.safetensors", "README.md", "generation_config.json"} <= set(version.files)
    assert version.metrics["wer"] >= 0
    summary = speech_summary(store, SWEDISH)
    assert "54 from spoken" in summary
    assert "before fine-tuning" in summary


def test_a_learning_curve_finds_the_days_run_and_trains_the_parts_beside_it(
    server, first_day, monkeypatch, tmp_path
):
    store, states = first_day
    monkeypatch.setenv("DAGSVERK_STORE", store.url)
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path))
    monkeypatch.setenv("DAGSVERK_LOGS", str(tmp_path / "logs"))
    before = store.champion(SWEDISH.model_name)
    config = SpeechCurveConfig(finetune=FINETUNE, shares=(0.5, 1.0), seeds=1, ways=("clips",))
    state = speech_learning_curve("sv", config, return_state=True)
    report = last_report(store, "swedish", CURVE, SpeechCurve)
    assert report.runs[0] == states[1].result().run, "all clips: the run of the day"
    assert [point.share for point in report.fits["clips"].points] == [0.5, 1]
    assert "2 points" in state.result()
    assert speech_learning_curve("sv", config) == state.result(), "points are found"
    assert store.champion(SWEDISH.model_name) == before


@pytest.mark.parametrize(
    "part, expected",
    [
        (
            0,
            {
                ("list clips", "prepare shards"),
                ("list clips", "complete"),
                ("prepare shards", "complete"),
                ("complete", "mend clips"),
            },
        ),
        (1, {("newest-clips", "mend clips"), ("mend clips", "fine-tune")}),
        (
            2,
            {
                ("newest-checkpoint", "score"),
                ("score", "keep worst clips"),
                ("newest-checkpoint", "register"),
                ("score", "register"),
                ("register", "export"),
            },
        ),
    ],
)
def test_the_graph_of_a_run_links_its_steps(server, first_day, part, expected):
    names = sorted({name for pair in expected for name in pair}, key=len, reverse=True)

    def short(label):
        return next(name for name in names if label.startswith(name))

    def linked():
        return {(short(a), short(b)) for a, b in links(server, first_day[1][part])}

    assert wait_for(lambda: expected <= linked(), f"the links {expected}")


@pytest.mark.parametrize(
    "part, step, line",
    [
        (0, "list clips sv", r"planned the set \S+; 4 shards are to be made"),
        (0, "complete", r"completed the set \S+: train 40, dev 6, test 8 clips; 0 set aside"),
        (1, "newest-clips", r"the newest set of clips is \S+"),
        (1, "mend clips sv", r"no decision of people applies to \S+: it is used as it was prepared"),
        (1, "fine-tune sv", r"trained run \S+ of 4 steps on \S+; step 4 is best: WER"),
        (2, "newest-checkpoint", r"the newest finished training is run"),
        (2, "score", r"scored step 4 of run \S+ on 8 test clips of \S+; WER \d"),
        (2, "keep worst clips sv", r"keeps the sound of the 2 worst clips"),
        (2, "register sv", r"whisper_swedish version 1; "),
    ],
)
def test_each_task_says_in_its_log_what_it_read_did_and_wrote(server, first_day, part, step, line):
    state = first_day[1][part]
    lines = wait_for(lambda: lines_of(server, state, step), f"the log of {step}")
    assert any(re.search(line + r".*; in \d+\.\d s$", one) for one in lines), lines


def test_a_repeated_day_makes_no_new_clips_no_new_run_and_no_new_version(first_day):
    store, states = first_day
    before = store.list("speech/swedish")
    again = run_day()
    assert [state.result() for state in again] == [state.result() for state in states]
    assert [steps.kept(store, SWEDISH, kind).new for kind in (steps.Prepared, steps.Finetuned)] == [False] * 2
    assert store.list("speech/swedish") == before
    assert len(store.models(SWEDISH.model_name)) == 1


def test_an_export_that_fails_is_told_and_does_not_fail_the_evaluation_whose_version_is_there(
    server, first_day, monkeypatch
):
    store, states = first_day

    def fail(*_):
        raise RuntimeError("the library is broken")

    version = states[2].result()
    in_use = store.champion(version.name)
    if in_use is None:
        store.promote(version.name, version.version, reason="for the test", expected=None)
    monkeypatch.setattr(exporting, "export", fail)
    state = speech_evaluation("sv", EVALUATION, CORPUS, return_state=True)
    assert (state.type.value, state.result()) == ("COMPLETED", version)
    wanted = LogFilter.model_validate({"flow_run_id": {"any_": [state.state_details.flow_run_id]}})

    def warnings():
        logs = server.ask(lambda client: client.read_logs(log_filter=wanted, limit=200))
        warned = [log.message for log in logs if log.level == logging.WARNING]
        return [message for message in warned if "export" in message]

    (warning,) = wait_for(warnings, "a warning")
    assert "whisper_swedish version 1 is registered" in warning
    assert "the library is broken" in warning
    assert "prefect deployment run speech-export/swedish" in warning


@pytest.mark.parametrize(
    "key, kind, part",
    [
        ("swedish-clips", "table", 0),
        ("swedish-clips-set-aside", "table", 0),
        ("swedish-progress", "progress", 1),
        ("swedish-training", "table", 1),
        ("swedish-scores", "table", 2),
        ("swedish-decision", "markdown", 2),
    ],
)
def test_a_day_leaves_artefacts_in_the_prefect_ui(server, first_day, key, kind, part):
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    artefacts = server.ask(lambda client: client.read_artifacts(artifact_filter=wanted))
    of_run = first_day[1][part].state_details.flow_run_id
    assert [artefact.type for artefact in artefacts if artefact.flow_run_id == of_run] == [kind]


def test_a_language_that_whisper_does_not_know_is_refused_before_anything_runs(server):
    with pytest.raises(ParameterTypeError, match="Whisper knows no language 'klingon'"):
        speech_features("klingon")


def test_a_language_may_be_given_by_its_name(server):
    assert speech_training.validate_parameters({"language": "Swedish"})["language"] == "sv"


def test_a_run_compares_two_models_on_the_same_clips_and_a_repeat_asks_for_none_again(first_day):
    few = CompareConfig(most_clips=6, resamples=100)
    own, served = (Contender(kind="version", version=1, form=form) for form in ("weights", "served"))

    def compared():
        said = speech_compare("sv", own, served, CORPUS, few)
        return said, len(open_store().list(results.folder(SWEDISH)))

    said, kept = compared()
    assert "on 6 clips of" in said
    assert compared() == (said, kept)
    assert kept >= 2 * 6
