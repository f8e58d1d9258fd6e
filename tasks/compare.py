"""The steps that compare two models: clips are chosen and written down, or rows judged."""

from __future__ import annotations

import os
from collections.abc import Sequence

from prefect import task
from prefect.blocks.system import Secret

from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.compared.writing import Written
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.languages import language as language_of
from dagsverk.store import TableRef
from dagsverk.tabular.compared import CompareRowsConfig, TableContender
from dagsverk.tabular.system import load_system
from dagsverk.words import counted
from tasks import show_compare as show
from tasks.logs import now_and_then, say
from tasks.policies import REPEATABLE
from tasks.stores import open_store

KEYS, BLOCK = "DAGSVERK_PROGRAM_KEYS", "program-keys"


@task(name="choose-clips", task_run_name="choose clips {language}", **REPEATABLE)
def choose_clips(
    language: str, first: Contender, second: Contender, corpus: CorpusConfig, config: CompareConfig
) -> str:
    """Safe to repeat: it only reads, and what it keeps is named by its content."""
    from dagsverk.speech.compared import material

    store, of = open_store(), language_of(language)
    path = material.choose(store, of, (first, second), corpus, config)
    made, _ = material.load(store, path)
    left_out = "; ".join(f"{counted(n, 'clip')} left out: {reason}" for reason, n in made.left_out.items())
    say(f"chose {counted(made.clips, 'clip')}: {made.of}", left_out)
    return path


@task(name="write-down", task_run_name="write down {language}, {contender.kind}", **REPEATABLE)
def write_down(language: str, plan: str, contender: Contender, corpus: CorpusConfig) -> Written:
    """Safe to repeat: each answer is kept as soon as it is there, and what is kept is not asked for again."""
    from dagsverk.speech.compared import work

    if contender.kind == "program":
        _bring_keys()
    store, of = open_store(), language_of(language)
    done = work.write_down(store, of, plan, contender, corpus, now_and_then())
    say(f"{done.name} wrote down {counted(done.new, 'clip')}; the others were kept", done.detail)
    return done


@task(name="conclude", task_run_name="conclude {language}", **REPEATABLE)
def conclude(
    language: str,
    plan: str,
    written: Sequence[Written],
    contenders: Sequence[Contender],
    corpus: CorpusConfig,
    config: CompareConfig,
) -> str:
    """Safe to repeat: it reads what is kept and replaces its report. Returns the verdict, in words."""
    from dagsverk.speech.compared import concluding

    store, of = open_store(), language_of(language)
    report = concluding.conclude(store, of, plan, written, contenders, corpus, config)
    show.compared(of, report)
    aside = "; ".join(f"{counted(n, 'clip')} set aside: {reason}" for reason, n in report.set_aside.items())
    say(report.verdict, aside, *report.notes)
    return report.verdict


@task(name="compare-rows", task_run_name="compare rows of {system}", **REPEATABLE)
def compare_rows(
    system: str, rows: TableRef, first: TableContender, second: TableContender, config: CompareRowsConfig
) -> str:
    """Safe to repeat: it reads rows of a commit and replaces its report. Returns the verdict, in words."""
    from dagsverk.tabular.comparing import compare

    report = compare(open_store(), load_system(system), (first, second), config, rows.commit, now_and_then())
    show.compared_rows(report)
    aside = "; ".join(f"{counted(n, 'row')} left out: {reason}" for reason, n in report.left_out.items())
    say(report.verdict, aside, *report.notes)
    return report.verdict


def _bring_keys() -> None:
    """Of programs, from a Prefect Secret block where the environment has none."""
    if os.environ.get(KEYS):
        return
    try:
        os.environ[KEYS] = str(Secret.load(BLOCK).get())  # type: ignore[union-attr]
    except ValueError:  # no such block: most programs want no key, and those that do say so
        return
