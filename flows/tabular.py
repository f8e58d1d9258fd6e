"""The days of the tabular systems: raw rows -> champion, new rows, predictions, monitor."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import AfterValidator, Field

from dagsverk import threads
from dagsverk.addresses import SCHEMA, refuse_keys
from dagsverk.form import Day
from dagsverk.store import ModelRef, TableRef
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.learning_curve import TabularCurveConfig
from dagsverk.tabular.searching import SearchConfig
from dagsverk.tabular.system import known_system, systems
from tasks import labels
from tasks import learning_curve as curves
from tasks import search as searches
from tasks import tabular as tasks
from tasks.runners import side_by_side
from tasks.runs import day_of, days_between, one_at_a_time, run_name

SystemName = Annotated[str, AfterValidator(known_system), Field(json_schema_extra={"enum": systems()})]
Share = Annotated[float, Field(ge=0, le=1)]
Source = Annotated[str, AfterValidator(refuse_keys), Field(json_schema_extra=SCHEMA)]


@flow(name="features", flow_run_name="features {system}")
def features(system: SystemName, source: Source | None = None, max_bad_share: Share = 0.1) -> TableRef:
    """Raw rows -> checked rows in the feature table, bad ones set aside.

    Args:
        system: Which system.
        source: Path, http(s) URL or s3:// address of a .csv or .parquet file; empty: the embedded facts.
        max_bad_share: Nothing is taken when more than this share of the rows fails its checks.
    """
    with one_at_a_time(system):
        return tasks.ingest(system, source, max_bad_share)


@flow(name="training", flow_run_name="training {system}")
def training(system: SystemName, config: TrainingConfig = TrainingConfig()) -> ModelRef:
    """Feature table -> all model classes compared on the same folds -> the best registered, perhaps champion.

    Args:
        system: Which system.
        config: What is compared, how, and by how much a new champion must be better.
    """
    with one_at_a_time(system):
        return _train(system, tasks.newest_rows(system), config)


@flow(
    name="tabular-search",
    flow_run_name="tabular-search {system}",
    task_runner=side_by_side(threads.allowed()),
)
def tabular_search(system: SystemName, config: SearchConfig = SearchConfig()) -> str:
    """Feature table -> a report: are there settings better than the defaults, on rows no choice has seen?

    It changes no model and writes no table, so a day may run beside it. A repeat goes on with what is done.

    Args:
        system: Which system.
        config: Which classes, how many trials, on which folds.
    """
    rows = tasks.newest_rows(system)
    parts = searches.plan_search(system, rows, config)
    for number in range(config.trials):  # trials of one search follow each other, searches go side by side
        under_way = [
            searches.search_trial.submit(system, rows, config, part, number) for part in range(parts)
        ]
        for trial in under_way:
            trial.result()
    return searches.conclude_search(system, rows, config)


@flow(
    name="tabular-learning-curve",
    flow_run_name="tabular-learning-curve {system}",
    task_runner=side_by_side(threads.allowed()),
)
def tabular_learning_curve(system: SystemName, config: TabularCurveConfig = TabularCurveConfig()) -> str:
    """Feature table -> a report: how the error falls as rows grow, and what twice and four times would bring.

    It changes no model and writes no table, so a day may run beside it. Points that are there are used.

    Args:
        system: Which system.
        config: Which model class, which shares of the rows, on which folds.
    """
    rows = tasks.newest_rows(system)
    plan = curves.plan_curve(system, rows, config)
    points = [curves.curve_point.submit(system, rows, config, plan, share) for share in config.shares]
    return curves.conclude_curve(system, rows, config, plan, [point.result() for point in points])


@flow(name="tabular-labels", flow_run_name="tabular-labels {system}")
def tabular_labels(system: SystemName) -> int:
    """Feature table, as decided so far, + the champion's recipe -> outcomes that may be wrong.

    Args:
        system: Which system.
    """
    return labels.suspect_outcomes(system, tasks.newest_rows(system))


@flow(name="synthesis", flow_run_name=run_name)
def synthesis(
    system: SystemName, date: Day | None = None, config: SynthesisConfig = SynthesisConfig()
) -> TableRef:
    """Real rows -> the day's new rows, with outcomes, in the feature table.

    Args:
        system: Which system.
        date: The day, not in the future; empty: the day this run was scheduled on (UTC).
        config: Which generator, how many rows, which seed.
    """
    with one_at_a_time(system):
        return tasks.synthesize(system, day_of(date), config)


@flow(name="inference", flow_run_name="inference {system}")
def inference(system: SystemName, source: Source | None = None, max_bad_share: Share = 0.1) -> TableRef:
    """Feature table, a source's rows first, + champion -> a prediction for every row that has none yet.

    Args:
        system: Which system.
        source: Rows to take in first, with or without outcomes: path, http(s) URL or s3:// address.
        max_bad_share: Nothing is taken when more than this share of the source's rows fails its checks.
    """
    with one_at_a_time(system):
        rows = tasks.ingest(system, source, max_bad_share) if source else None
        return tasks.predict(system, wait_for=[rows])


@flow(name="monitoring", flow_run_name="monitoring {system}")
def monitoring(system: SystemName) -> list[str]:
    """Predictions + outcomes -> accuracy, confusion, drift; an alert is an event and a line on the page.

    Args:
        system: Which system.
    """
    return tasks.monitor(system)


@flow(name="day", flow_run_name=run_name)
def day(
    system: SystemName,
    date: Day | None = None,
    source: Source | None = None,
    max_bad_share: Share = 0.1,
    training: TrainingConfig = TrainingConfig(),
    synthesis: SynthesisConfig = SynthesisConfig(),
) -> list[str]:
    """Raw rows -> features -> champion -> the day's new rows -> predictions -> monitor.

    Args:
        system: Which system.
        date: The day, not in the future; empty: the day this run was scheduled on (UTC).
        source: Path, http(s) URL or s3:// address of a .csv or .parquet file; empty: the embedded facts.
        max_bad_share: Nothing is taken when more than this share of the rows fails its checks.
        training: What is compared, how, and by how much a new champion must be better.
        synthesis: Which generator, how many rows, which seed.
    """
    today = day_of(date)
    with one_at_a_time(system):
        rows = tasks.ingest(system, source, max_bad_share)
        model = _train(system, rows, training)
        new_rows = tasks.synthesize(system, today, synthesis, wait_for=[model])
        predictions = tasks.predict(system, wait_for=[new_rows])
        return tasks.monitor(system, wait_for=[predictions])


@flow(name="backfill", flow_run_name="backfill {system} {first} to {last}")
def backfill(
    system: SystemName,
    first: Day,
    last: Day,
    training: TrainingConfig = TrainingConfig(),
    synthesis: SynthesisConfig = SynthesisConfig(),
) -> int:
    """Past days, oldest first; a day that was run already adds nothing.

    Args:
        system: Which system.
        first: The oldest day.
        last: The newest day, not in the future.
        training: What is compared, how, and by how much a new champion must be better.
        synthesis: Which generator, how many rows, which seed.
    """
    days = days_between(first, last)
    before: list[str] | None = None  # the alerts of the day before: a link in the run's graph
    for date in days:
        before = day(  # type: ignore[call-overload]  # Prefect's types of a flow leave wait_for out
            system, date, training=training, synthesis=synthesis, wait_for=[before]
        )
    return len(days)


def _train(system: str, rows: TableRef, config: TrainingConfig) -> ModelRef:
    scores = [tasks.cross_validate(system, rows, name, config) for name in config.model_classes]
    return tasks.register_best(system, rows, scores, config)
