"""The steps of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from dagsverk.records import keep_report
from dagsverk.store import TableRef
from dagsverk.tabular.learning_curve import STEP, CurvePlan, TabularCurveConfig
from dagsverk.tabular.learning_curve_words import curve_sentence
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import HISTORIC, labelled_rows
from tasks import show_learning_curve as show
from tasks.logs import now_and_then, say
from tasks.policies import REPEATABLE
from tasks.stores import open_store


@task(name="plan-curve", task_run_name="plan-curve {system}", **REPEATABLE)
def plan_curve(system: str, rows: TableRef, config: TabularCurveConfig) -> CurvePlan:
    """Safe to repeat: it only reads. Refuses rows that cannot be folded."""
    from dagsverk.tabular import learning_curve_points, registration

    store, described = open_store(), load_system(system)
    labelled = labelled_rows(store, described, (HISTORIC,), rows.commit, rows.decisions)
    registration.check_rows(described, labelled)
    plan = learning_curve_points.plan(store, described, config)
    measured = learning_curve_points.Measured(described, labelled, config, plan)
    of = f"version {plan.model_version}" if plan.model_version else "its defaults"
    say(
        f"{plan.model_class} as in {of} on {len(measured.rows)} rows of commit {rows.commit}, "
        f"{len(measured.folds.splits)} fits for each of {len(config.shares)} shares"
    )
    return plan


@task(name="curve-point", task_run_name="curve-point {share} {system}", **REPEATABLE)
def curve_point(
    system: str, rows: TableRef, config: TabularCurveConfig, plan: CurvePlan, share: float
) -> str:
    """Safe to repeat: a point is named by all that it depends on; one that is there is used."""
    from dagsverk.tabular.learning_curve_points import Measured

    store, described = open_store(), load_system(system)
    labelled = labelled_rows(store, described, (HISTORIC,), rows.commit, rows.decisions)
    measured = Measured(described, labelled, config, plan)
    point = measured.kept_point(store, share, now_and_then())
    if point.reason:
        say(f"no point of {share:.3g} of the rows: {point.reason}")
    else:
        say(f"{share:.3g} of the rows: {point.rows:.0f} rows, {point.seconds:.1f} s of fits")
    return measured.path(share)


@task(name="conclude-curve", task_run_name="conclude-curve {system}", **REPEATABLE)
def conclude_curve(
    system: str, rows: TableRef, config: TabularCurveConfig, plan: CurvePlan, points: Sequence[str]
) -> str:
    """Safe to repeat: it reads points and replaces its report. Returns what came of it, in words."""
    from dagsverk.records import read
    from dagsverk.tabular.learning_curve import TabularPoint
    from dagsverk.tabular.learning_curve_points import Measured, conclude

    store, described = open_store(), load_system(system)
    labelled = labelled_rows(store, described, (HISTORIC,), rows.commit, rows.decisions)
    measured = Measured(described, labelled, config, plan)
    report = conclude(measured, [read(store, path, TabularPoint) for path in points], rows.commit)
    keep_report(store, system, STEP, report)
    show.tabular_curve(system, report)
    sentence = curve_sentence(report)
    say(sentence, f"{report.seconds:.0f} s of fits", *(f"{s}: {why}" for s, why in report.set_aside.items()))
    return sentence
