"""The steps of a search for better settings of a table's model classes."""

from __future__ import annotations

from prefect import task

from dagsverk.records import keep_report
from dagsverk.store import TableRef
from dagsverk.tabular.measures import WORDS
from dagsverk.tabular.searching import STEP, SearchConfig
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import HISTORIC, labelled_rows
from dagsverk.words import counted
from tasks import show
from tasks.logs import now_and_then, say
from tasks.policies import REPEATABLE
from tasks.stores import open_store


@task(name="plan-search", task_run_name="plan-search {system}", **REPEATABLE)
def plan_search(system: str, rows: TableRef, config: SearchConfig) -> int:
    """Safe to repeat: it only reads. Returns the number of searches; refuses too few rows."""
    from dagsverk.tabular import registration, search

    described = load_system(system)
    labelled = labelled_rows(open_store(), described, (HISTORIC,), rows.commit, rows.decisions)
    registration.check_rows(described, labelled)
    parts = search.parts(described, labelled, config)
    outer = search.search_of(described, labelled, config, 0).outer.config
    say(
        f"{counted(parts, 'search', 'searches')} of {counted(config.trials, 'trial')} each on "
        f"{len(labelled)} rows of commit {rows.commit}: one for each of {outer.folds} outer "
        f"folds, {counted(outer.repeats, 'time')}, and one of all rows",
        f"outer folds are fewer than the {config.outer_folds} asked, for the rarest outcome has no more rows"
        if outer.folds < config.outer_folds
        else "",
    )
    return parts


@task(name="search-trial", task_run_name="search-trial {part}-{number} {system}", **REPEATABLE)
def search_trial(system: str, rows: TableRef, config: SearchConfig, part: int, number: int) -> str:
    """Safe to repeat: what is finished is found in the search's journal, what was cut off is made again.

    Returns what became of the trial, in words.
    """
    from dagsverk.tabular import search

    described = load_system(system)
    labelled = labelled_rows(open_store(), described, (HISTORIC,), rows.commit, rows.decisions)
    done = search.trial(search.search_of(described, labelled, config, part), number)
    settings = f"{done.recipe.model_class} {dict(done.recipe.parameters)}"
    say(f"search {part}, trial {number}: {settings} {done.words}")
    return done.words


@task(name="conclude-search", task_run_name="conclude-search {system}", **REPEATABLE)
def conclude_search(system: str, rows: TableRef, config: SearchConfig) -> str:
    """Safe to repeat: it reads the journals and replaces its report. Returns the verdict, in words."""
    from dagsverk.tabular.search_result import conclude

    store, described = open_store(), load_system(system)
    labelled = labelled_rows(store, described, (HISTORIC,), rows.commit, rows.decisions)
    report = conclude(described, labelled, config, rows.commit, now_and_then())
    keep_report(store, system, STEP, report)
    show.searched(system, report)
    cost = report.cost
    say(
        report.verdict,
        f"{WORDS[report.measure]} of the defaults {report.default[report.measure].mean:.4f}, "
        f"of searched settings {report.best[report.measure].mean:.4f}",
        f"{cost.fits} fits, {cost.seconds:.0f} s; {cost.finished} trials finished, {cost.pruned} given up, "
        f"{cost.failed} failed, {cost.cut_off} cut off and made again",
        *cost.reasons,
    )
    return report.verdict
