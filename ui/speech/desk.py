"""What the speech pages read of the store: a language's champion, runs and scores, once per version."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagsverk.records import plain
from dagsverk.speech import results, steps
from dagsverk.speech.evaluation.report import EvaluationReport, PlayableClip, Verdict
from dagsverk.speech.languages import LANGUAGES, Language, language
from dagsverk.speech.results import Run
from dagsverk.speech.steps import Steps
from dagsverk.store import Model, Store, StoreError, Unavailable
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

    @property
    def blank(self) -> bool:
        """Nothing has been prepared, trained or scored yet."""
        return not (self.champion or self.runs or self.reports or any(vars(self.steps).values()))

    @property
    def shown(self) -> EvaluationReport | None:
        """The report whose groups and worst clips are shown: the champion's, else the newest candidate's."""
        keys = [str(self.champion.info.get("evaluation"))] if self.champion else []
        keys += [verdict.candidate for verdict in reversed(self.verdicts)]
        return next((self.reports[key] for key in keys if key in self.reports), None)


class SpeechDesk:
    """Reads on behalf of the speech pages and the REST API; safe to call from several threads."""

    def __init__(self, desk: Desk[Any, Any]) -> None:
        self._desk = desk
        self._views: dict[str, SpeechView] = {}
        self._lock = threading.RLock()

    @property
    def store(self) -> Store:
        return self._desk.store

    def languages(self) -> list[Language]:
        """Swedish and Italian, then whatever else the store knows."""
        known = {found.code for found in results.speech_languages(self.store)}
        return [LANGUAGES[code] for code in (*FIRST, *sorted(known - set(FIRST)))]

    def champion(self, of: Language) -> Model | None:
        return self.store.champion(of.model_name)

    def version(self, of: Language) -> str:
        """Cheap to read, and different whenever `view` would be.

        Raises: Unavailable when what was there before is gone: a folder that is not mounted reads as empty.
        """
        steps_kept = plain(steps.last_steps(self.store, of))
        state = json.dumps([results.results_version(self.store, of), steps_kept], sort_keys=True)
        present = self._views.get(of.code)
        if present is not None and present.champion and self.champion(of) is None:
            raise Unavailable(
                f"{of.title} models that were in {self.store.url} are gone; is the folder mounted? "
                "If it was emptied on purpose, restart the pages"
            )
        return hashlib.sha256(state.encode()).hexdigest()[:16]

    def view(self, of: Language) -> SpeechView:
        """What the monitor shows now; read once per version, whoever asks."""
        with self._lock:
            version = self.version(of)
            known = self._views.get(of.code)
            if known is None or known.version != version:
                known = self._views[of.code] = self._read(of, version)
            return known

    def sound(self, of: Language, key: str, number: int) -> bytes:
        """The WAV of the n-th worst clip of an evaluation. Raises NotFound."""
        return self.store.get(f"speech/{of.name}/evaluations/{key}/audio/{number}.wav")

    def _read(self, of: Language, version: str) -> SpeechView:
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
        }
        shown = SpeechView(language=of, version=version, worst=(), **read).shown
        worst = results.worst_clips(store, of, shown) if shown else []
        return SpeechView(language=of, version=version, worst=worst, **read)

    def _card(self, model: Model | None) -> tuple[str, str]:
        """(the champion's card, why it cannot be had)."""
        if model is None or "README.md" not in model.files:
            return "", ""
        try:
            return read_card(self.store, model), ""
        except Unavailable:
            raise
        except StoreError as error:
            return "", str(error)


def read_card(store: Store, model: Model) -> str:
    """The model's card, without the block of settings at its head."""
    with tempfile.TemporaryDirectory(prefix="dagsverk-card-") as folder:
        text = (store.download(model, Path(folder) / "model") / "README.md").read_text(encoding="utf-8")
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    return harmless(text.strip())


def harmless(markdown: str) -> str:
    """The same without HTML, but for what stands in code: names of groups come from the data."""
    pieces = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.DOTALL)
    return "".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))
