"""What the speech pages read of the store: a language's champion, runs and scores, once per version."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagsverk.cache import cache_folder
from dagsverk.records import last_report, plain, report_version
from dagsverk.speech import results, steps
from dagsverk.speech.evaluation.report import EvaluationReport, PlayableClip, Verdict
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import AUTO, Language, language
from dagsverk.speech.results import Run
from dagsverk.speech.searching import STEP as SEARCH
from dagsverk.speech.searching import SearchedSpeech
from dagsverk.speech.serving.champions import owners
from dagsverk.speech.serving.jobs import Jobs
from dagsverk.speech.steps import Prepared, Steps
from dagsverk.speech.transcription.results import Transcribed
from dagsverk.speech.transcription.results import reports as transcription_reports
from dagsverk.store import Model, StoreError, Unavailable
from ui.desk import Desk

FIRST = ("sv", "it")  # these have deployments; any other language is listed once the store knows it


class UnknownLanguage(LookupError):
    """Not one of Whisper's languages."""


def named_language(name: str) -> Language:
    """The language of a code or an English name. Raises UnknownLanguage."""
    try:
        return language(name)
    except ValueError as error:
        raise UnknownLanguage(str(error)) from error


def spoken_language(name: str) -> Language | None:
    """The same; None of "auto": it is told from the recording."""
    return None if name.strip().lower() == AUTO else named_language(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpeechView:
    """Everything that the speech monitor shows of one language, as of one version."""

    language: Language
    version: str
    champion: Model | None
    card: str  # Markdown; empty without a champion
    card_problem: str  # why the champion's files cannot be trusted; empty when they can
    promotions: Sequence[Mapping[str, Any]]  # oldest first
    models: Sequence[Model]  # all versions, oldest first
    runs: Sequence[Run]  # newest last
    reports: Mapping[str, EvaluationReport]  # evaluations by key, oldest first
    verdicts: Sequence[Verdict]  # newest last
    worst: Sequence[PlayableClip]  # of `shown`
    steps: Steps
    tested: Prepared | None  # the set that `shown` is of, where it is still there
    transcriptions: Sequence[Transcribed] = ()  # places whose recordings are written down again and again
    searched: SearchedSpeech | None = None  # what the last search for settings came to

    @property
    def blank(self) -> bool:
        """Nothing has been prepared, trained or scored yet."""
        kept = self.champion or self.runs or self.reports or self.transcriptions or self.searched
        return not (kept or any(vars(self.steps).values()))

    @property
    def shown(self) -> EvaluationReport | None:
        """The report whose groups and worst clips are shown: the champion's, else the newest candidate's."""
        keys = [evaluation_of(self.champion, self.verdicts)] if self.champion else []
        keys += [verdict.candidate for verdict in reversed(self.verdicts)]
        return next((self.reports[key] for key in keys if key in self.reports), None)


def evaluation_of(model: Model, verdicts: Sequence[Verdict]) -> str:
    """The key of the report on a version: the one that it was registered with or, of a model as published,
    that of its newest comparison with a candidate; empty when it was in none."""
    compared = (v.champion for v in reversed(verdicts) if v.champion and v.champion_version == model.version)
    return str(model.info.get("evaluation") or next(compared, ""))


class SpeechDesk(Desk[Language, SpeechView]):
    """Reads languages: their models, runs and scores."""

    card_file = "README.md"

    @functools.cached_property
    def jobs(self) -> Jobs:
        """Recordings that are written down while nobody waits; see `dagsverk.speech.serving.jobs`."""
        return Jobs(lambda: self.store, self._jobs_folder)

    def _jobs_folder(self) -> Path:
        """Of this store: a cache may serve several."""
        return cache_folder() / "jobs" / hashlib.sha256(self.store.url.encode()).hexdigest()[:16]

    def languages(self) -> list[Language]:
        """Swedish and Italian, then whatever else the store knows."""
        stored = {of.code for of in (*results.speech_languages(self.store), *owners(self.store))}
        return [language(code) for code in (*FIRST, *sorted(stored - set(FIRST)))]

    def champion(self, of: Language) -> Model | None:
        return self.store.champion(of.model_name)

    def tests_of(self, of: Language, model: Model) -> tuple[EvaluationReport | None, Prepared | None]:
        """The report that a version was judged by, and the set that it is of; None for what is not there.

        Never an error: a page that transcribes does so without them.
        """
        try:
            key = self._evaluation_of(of, model)
            report = results.report(self.store, of, key) if key else None
            return report, self._set(report)
        except (StoreError, OSError):
            return None, None

    def _evaluation_of(self, of: Language, model: Model) -> str:
        registered = model.info.get("evaluation")  # most have one, and then no verdict is read
        return str(registered) if registered else evaluation_of(model, results.verdicts(self.store, of))

    def _set(self, report: EvaluationReport | None) -> Prepared | None:
        """The set that a report is of, as it says itself."""
        try:
            return steps.prepared(manifest(self.store, report.set), new=False) if report else None
        except Unavailable:
            raise
        except (StoreError, ValueError):
            return None

    def _version(self, of: Language) -> str:
        steps_kept = plain(steps.last_steps(self.store, of))
        written = [plain(one) for one in transcription_reports(self.store, of)]
        searched = report_version(self.store, of.name, SEARCH)
        state = json.dumps(
            [results.results_version(self.store, of), steps_kept, written, searched], sort_keys=True
        )
        return hashlib.sha256(state.encode()).hexdigest()[:16]

    def _searched(self, of: Language) -> SearchedSpeech | None:
        """None where the report is of another version: the page has more to show than that."""
        try:
            return last_report(self.store, of.name, SEARCH, SearchedSpeech)
        except Unavailable:
            raise
        except StoreError:
            return None

    def _is_gone(self, before: SpeechView, _: Hashable) -> bool:
        return before.champion is not None and self.champion(before.language) is None

    def sound(self, of: Language, key: str, number: int) -> bytes:
        """The WAV of the n-th worst clip of an evaluation. Raises NotFound."""
        return self.store.get(f"speech/{of.name}/evaluations/{key}/audio/{number}.wav")

    def _read(self, of: Language, version: Hashable) -> SpeechView:
        store, champion = self.store, self.champion(of)
        card, card_problem = self._card(champion)
        read: dict[str, Any] = {
            "champion": champion,
            "card": card,
            "card_problem": card_problem,
            "promotions": store.champions(of.model_name),
            "models": store.models(of.model_name),
            "runs": results.runs(store, of),
            "reports": {report.key: report for report in results.reports(store, of)},
            "verdicts": results.verdicts(store, of),
            "steps": steps.last_steps(store, of),
            "transcriptions": transcription_reports(store, of),
            "searched": self._searched(of),
        }
        shown = SpeechView(language=of, version=str(version), worst=(), tested=None, **read).shown
        worst = results.worst_clips(store, of, shown) if shown else []
        tested = self._set(shown)
        return SpeechView(language=of, version=str(version), worst=worst, tested=tested, **read)

    def _card(self, model: Model | None) -> tuple[str, str]:
        """(the model's card without the settings at its head and without HTML, why it cannot be had)"""
        text, problem = super()._card(model)
        if text.startswith("---\n"):
            text = text.partition("\n---\n")[2]
        return harmless(text.strip()), problem


def harmless(markdown: str) -> str:
    """The same without HTML, but for what stands in code: names of groups come from the data."""
    pieces = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.DOTALL)
    return "".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))
