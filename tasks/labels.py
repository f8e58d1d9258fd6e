"""The steps of a search for wrong labels: of clips, and of rows."""

from __future__ import annotations

from dataclasses import replace

from prefect import task

from dagsverk.cache import cache_folder
from dagsverk.label_report import STEP, Suspect, SuspectLabels, suspect_labels
from dagsverk.records import keep_report
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.serving.champions import promoted
from dagsverk.store import NotFound, TableRef
from dagsverk.tabular.system import load_system
from tasks import show_labels as show
from tasks.logs import now_and_then, say
from tasks.policies import REPEATABLE
from tasks.stores import open_store


@task(name="mend-clips", task_run_name="mend clips {language}", **REPEATABLE)
def mend_clips(language: str, set_id: str) -> str:
    """Safe to repeat: a set is named by its parent and the decisions, and its manifest written last."""
    from dagsverk.speech import steps
    from dagsverk.speech.labels.mending import mend

    store, of = open_store(), language_of(language)
    made = mend(store, set_id)
    before = steps.kept(store, of, steps.Prepared)
    if before is not None and before.set != made.id and not made.settings.get("train_only"):
        steps.keep(store, of, steps.prepared(made, new=True))
    by_hand = made.by_hand
    if by_hand is None:
        say(f"no decision of people applies to {made.id}: it is used as it was prepared")
        return made.id
    say(
        f"{made.id} is {by_hand.parent} with {by_hand.words}",
        *(f"{count} decisions do not apply: {why}" for why, count in by_hand.not_applied.items()),
    )
    return made.id


@task(name="suspect-texts", task_run_name="suspect texts {language}", **REPEATABLE)
def suspect_texts(language: str, set_id: str) -> int:
    """Safe to repeat: what a model makes of a set is kept, and the report replaced. Returns how many."""
    from dagsverk.speech.labels.finding import find

    store, of = open_store(), language_of(language)
    champion, progress = promoted(store, of), now_and_then()
    model = store.model(champion.name, champion.version)
    report = find(
        store, of, model, set_id, cache_folder(), lambda done, total: progress(f"{done} of {total} clips")
    )
    report = replace(report, suspects=_with_sounds_of(report, suspect_labels(store, of.name)))
    keep_report(store, of.name, STEP, report)
    show.suspected(report)
    say(f"{model.name} version {model.version} read {report.labels} texts of {set_id}", report.words)
    return report.suspicious


def _with_sounds_of(report: SuspectLabels, before: SuspectLabels | None) -> tuple[Suspect, ...]:
    """Recordings that were kept for the report before are those of this one: they are named by content."""
    sounds = {one.key: one.sound for one in before.suspects if one.sound} if before else {}
    return tuple(replace(one, sound=sounds.get(one.key, "")) for one in report.suspects)


@task(name="keep-suspect-clips", task_run_name="keep suspect clips {language}", **REPEATABLE)
def keep_suspect_clips(language: str, corpus: CorpusConfig) -> int:
    """Safe to repeat: sounds are kept by their content. A corpus out of reach is noted, not an error."""
    from dagsverk.speech.corpora.opening import open_corpus
    from dagsverk.speech.features.shards import manifest
    from dagsverk.speech.labels.finding import keep_sounds

    store, of = open_store(), language_of(language)
    report = suspect_labels(store, of.name)
    if report is None:
        raise NotFound(
            f"no texts of {of.name} were looked at: prefect deployment run speech-labels/{of.name}"
        )
    try:
        opened = open_corpus(corpus, language)
    except CorpusError as error:
        say(f"the suspicious clips cannot be heard on the page: {error}")
        return 0
    report = keep_sounds(store, of, report, opened, manifest(store, report.of).n_mels)
    keep_report(store, of.name, STEP, report)
    kept = sum(1 for one in report.suspects if one.sound)
    say(f"keeps the sound of {kept} of the {len(report.suspects)} most suspicious clips")
    return kept


@task(name="suspect-outcomes", task_run_name="suspect outcomes {system}", **REPEATABLE)
def suspect_outcomes(system: str, rows: TableRef) -> int:
    """Safe to repeat: it reads the table and replaces its report. Returns how many are suspicious."""
    from dagsverk.tabular.label_noise import find

    store, described = open_store(), load_system(system)
    report = find(store, described, rows, now_and_then())
    keep_report(store, system, STEP, report)
    show.suspected(report)
    say(f"looked at {report.labels} outcomes of commit {rows.commit}", report.words)
    return report.suspicious
