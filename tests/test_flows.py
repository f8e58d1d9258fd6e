"""Flows on a real server: what a run leaves behind, what is refused, what is tried again."""

import datetime as dt
import html
import re
import threading
from contextvars import copy_context

import httpx
import pytest
from prefect import flow, task
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.exceptions import ParameterTypeError
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect_server import wait_for
from run_records import lines_of, links

from dagsverk.records import last_report
from dagsverk.store import SchemaError, Unavailable, open_store
from dagsverk.tabular.compared import CompareRowsConfig
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.learning_curve import STEP as CURVE
from dagsverk.tabular.learning_curve import TabularCurve, TabularCurveConfig
from dagsverk.tabular.searching import STEP, SearchConfig, Searched
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table
from flows.compare import tabular_compare
from flows.tabular import (
    backfill,
    day,
    features,
    inference,
    monitoring,
    synthesis,
    tabular_learning_curve,
    tabular_search,
    training,
)
from tasks.policies import REPEATABLE
from tasks.runs import one_at_a_time
from ui.tabular import sections
from ui.tabular.desk import TabularDesk

QUICK = TrainingConfig(model_classes=("lda",), folds=3, repeats=1)
DATE = dt.date(2026, 1, 31)


@pytest.fixture(scope="module")
def server(prefect_server):
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


@pytest.fixture(scope="module")
def first_day(server, tmp_path_factory):
    """The store after one day of iris."""
    root = str(tmp_path_factory.mktemp("day") / "store")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSVERK_STORE", root)
        state = day("iris", DATE, training=QUICK, return_state=True)
        yield open_store(root), state


def artefacts(server, key, state):
    """Of that run alone: other tests' workers may run a day as well, when its cron is due."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    found = server.ask(lambda client: client.read_artifacts(artifact_filter=wanted))
    return [artefact for artefact in found if artefact.flow_run_id == state.state_details.flow_run_id]


def test_a_day_leaves_a_champion_new_rows_and_predictions(first_day):
    store, state = first_day
    assert store.champion("iris").version == 1
    assert len(store.read(features_table(load_system("iris")))) == 160
    assert len(store.read(predictions_table(load_system("iris")))) == 160
    assert state.result() == []


@pytest.mark.parametrize(
    "key, kind, word",
    [
        ("iris-models", "table", "lda"),
        ("iris-decision", "markdown", "**Promoted.** lda becomes champion"),
        ("iris-confusion", "markdown", "](data:image/svg+xml;base64,"),
        ("iris-new-rows", "table", "cart"),
        ("iris-alerts", "markdown", "No alert."),
        ("iris-set-aside", "table", ""),
    ],
)
def test_a_day_leaves_artefacts_in_the_prefect_ui(server, first_day, key, kind, word):
    found = artefacts(server, key, first_day[1])
    assert [artefact.type for artefact in found] == [kind]
    assert word in str(found[0].data)


def test_the_graph_of_a_run_links_its_steps(server, first_day):
    expected = {
        ("ingest iris", "cross-validate lda iris"),
        ("ingest iris", "register-best iris"),
        ("cross-validate lda iris", "register-best iris"),
        ("register-best iris", "synthesize iris 2026-01-31"),
        ("synthesize iris 2026-01-31", "predict iris"),
        ("predict iris", "monitor iris"),
    }
    assert wait_for(lambda: expected <= links(server, first_day[1]), f"the links {expected}")


@pytest.mark.parametrize(
    "step, line",
    [
        (
            "ingest iris",
            r"read 150 rows of \S+, set 0 aside; wrote 150 new and 0 changed rows to iris_features_1",
        ),
        (
            "cross-validate lda iris",
            r"scored lda on 150 rows of commit \d+ \(3 folds, 1 repeat\); log-loss 0\.",
        ),
        ("register-best iris", r"registered iris version 1; .*becomes champion.*; champion: version 1"),
        (
            "synthesize iris 2026-01-31",
            r"drew 10 of 2026-01-31; wrote 10 new rows to iris_features_1 \(commit \d+\)",
        ),
        ("predict iris", r"read version 1 and 160 rows .*, 10 of them unseen in training; wrote 160 new"),
        ("monitor iris", r"read 0 predictions of unseen real rows, .* right; 10 of invented rows; alerts: 0"),
    ],
)
def test_each_task_says_in_its_log_what_it_read_did_and_wrote(server, first_day, step, line):
    said = wait_for(lambda: lines_of(server, first_day[1], step), f"the log of {step}")
    assert [re.search(line + r".*; in \d+\.\d s$", told) is not None for told in said] == [True], said


def test_each_part_of_a_day_runs_alone_and_a_repeat_changes_nothing(first_day):
    store, _ = first_day
    before = store.version(features_table(load_system("iris")))
    features("iris")
    assert training("iris", QUICK).version == 1
    synthesis("iris", DATE)
    inference("iris")
    monitoring("iris")
    assert store.version(features_table(load_system("iris"))) == before


def test_inference_predicts_the_rows_of_a_source_without_a_training(first_day, tmp_path):
    store, _ = first_day
    iris = load_system("iris")
    mine = iris.read().head(2).assign(**{iris.id_column: ["mine-1", "mine-2"], iris.label.name: None})
    mine.to_csv(tmp_path / "mine.csv", index=False)
    inference("iris", source=str(tmp_path / "mine.csv"))
    predicted = store.read(predictions_table(iris)).set_index("row_id")
    assert predicted.loc[["iris-mine-1", "iris-mine-2"], "model_version"].tolist() == [1, 1]
    assert len(store.models("iris")) == 1


def test_an_alert_of_the_monitor_is_a_prefect_event(server, first_day):
    """Every new flower becomes a real one, with a wrong outcome."""
    store, _ = first_day
    iris = load_system("iris")
    synthesis("iris", DATE, SynthesisConfig(count=60))
    inference("iris")
    right = store.read(features_table(iris))
    wrong = right[right["origin"] == "synthetic"].assign(
        origin="historic",
        species=lambda rows: rows["species"].map(
            dict(zip(iris.classes, iris.classes[1:] + iris.classes[:1], strict=True))
        ),
    )
    store.upsert(features_table(iris), wrong)
    assert any("below its promise" in message for message in monitoring("iris"))

    def arrived():
        found = httpx.post(
            f"{server.api_url}/events/filter", json={"filter": {"event": {"prefix": ["dagsverk.alert"]}}}
        )
        return {event["event"] for event in found.json()["events"]} & {"dagsverk.alert.accuracy"}

    assert wait_for(arrived, "the alert's event")
    store.upsert(features_table(iris), right)


def test_a_backfill_runs_the_days_of_its_range_and_only_adds_what_is_missing(first_day):
    store, _ = first_day
    assert backfill("iris", DATE - dt.timedelta(days=1), DATE, training=QUICK) == 2
    rows = store.read(features_table(load_system("iris")))
    assert rows.loc[rows["origin"] == "synthetic", "event_time"].dt.date.value_counts().to_dict() == {
        DATE - dt.timedelta(days=1): 10,
        DATE: 60,
    }


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"system": "atlantis"}, "no system 'atlantis'; known: iris, titanic"),
        ({"max_bad_share": 1.5}, "less than or equal to 1"),
        ({"date": "31 January"}, "date"),
        ({"synthesis": {"count": -5}}, "count: Input should be greater than or equal to 0"),
        ({"synthesis": {"method": "magic"}}, "'cart', 'copula'"),
        ({"training": {"model_classes": ["oracle"]}}, "'knn', 'logistic'"),
        ({"training": {"folds": 1}}, "folds: Input should be greater than or equal to 2"),
        ({"training": {"fold": 5}}, "Unexpected keyword argument"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(wrong, complaint):
    with pytest.raises(ParameterTypeError, match=complaint):
        day.validate_parameters({"system": "iris", **wrong})


def test_the_limits_of_parameters_are_in_the_form_of_the_prefect_ui():
    definitions = day.parameters.definitions
    count = definitions["SynthesisConfig"]["properties"]["count"]
    assert (count["minimum"], definitions["TrainingConfig"]["properties"]["folds"]["minimum"]) == (0, 2)
    assert definitions["SynthesisConfig"]["properties"]["method"]["enum"][0] == "cart"


@pytest.mark.parametrize("run", [day, synthesis])
def test_a_day_in_the_future_fails_its_run_which_is_not_the_crash_that_is_resumed(server, first_day, run):
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    state = run("iris", tomorrow, return_state=True)
    assert state.is_failed()
    assert "in the future" in state.message


def test_a_run_is_named_after_its_system_and_its_day(server, first_day):
    state = synthesis("iris", DATE, return_state=True)
    found = server.ask(lambda client: client.read_flow_run(state.state_details.flow_run_id))
    assert found.name == "synthesis iris 2026-01-31"


@pytest.mark.parametrize(
    "trouble, tries", [(Unavailable("the store sleeps"), 3), (SchemaError("a wrong type"), 1)]
)
def test_passing_trouble_is_tried_again_and_a_wrong_value_is_not(server, trouble, tries):
    calls = []

    @task(**{**REPEATABLE, "retries": 2, "retry_delay_seconds": 0})
    def step():
        calls.append(1)
        raise trouble

    @flow
    def run():
        step()

    with pytest.raises(type(trouble)):
        run()
    assert len(calls) == tries


def test_two_runs_of_one_system_never_interleave(server):
    async def limit(client):
        await client.upsert_global_concurrency_limit_by_name("tabular-iris", 1)

    server.ask(limit)
    inside, most, done = [], [], []

    def work():
        with one_at_a_time("iris"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()
        done.append(1)

    threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert (len(done), max(most)) == (3, 1)


def test_a_learning_curve_is_a_report_and_an_artefact_and_a_second_run_finds_its_points(
    server, first_day, monkeypatch
):
    store, _ = first_day
    monkeypatch.setenv("DAGSVERK_STORE", store.url)
    config = TabularCurveConfig(folds=2, repeats=1)
    state = tabular_learning_curve("iris", config, return_state=True)
    report = last_report(store, "iris", CURVE, TabularCurve)
    assert (report.rows, report.model_version, len(report.fit.points)) == (150, 1, 4)
    assert report.config == config.to_dict()
    (shown,) = artefacts(server, "iris-learning-curve", state)
    assert state.result() in shown.data
    kept = store.list("learning_curves/iris")
    assert len(kept) == 4
    assert tabular_learning_curve("iris", config) == state.result()
    assert store.list("learning_curves/iris") == kept


def test_a_search_leaves_its_verdict_in_the_store_and_in_the_prefect_ui_and_changes_nothing(
    server, first_day, monkeypatch, tmp_path
):
    store, _ = first_day
    monkeypatch.setenv("DAGSVERK_STORE", store.url)
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path))
    before = (store.champion("iris"), store.version(features_table(load_system("iris"))))
    iris, desk = load_system("iris"), TabularDesk(store.url)
    shown_before = desk.version(iris)
    assert "Search for better settings" not in sections.details(desk.view(iris))
    config = SearchConfig(
        model_classes=("knn", "lda"), trials=3, outer_folds=2, outer_repeats=1, inner_folds=2
    )
    state = tabular_search("iris", config, return_state=True)
    report = last_report(store, "iris", STEP, Searched)
    assert (report.rows, report.cost.finished + report.cost.pruned) == (150, 9)
    assert state.result() == report.verdict
    (shown,) = artefacts(server, "iris-search", state)
    assert report.verdict in shown.data
    assert desk.version(iris) != shown_before
    assert report.verdict in html.unescape(sections.details(desk.view(iris)))
    assert (store.champion("iris"), store.version(features_table(load_system("iris")))) == before


def test_a_version_is_compared_with_itself_in_a_run_and_said_to_be_the_same(server, first_day, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", first_day[0].url)
    said = tabular_compare("iris", config=CompareRowsConfig(folds=3, repeats=1, resamples=100))
    assert "say the same on 150 rows" in said
