"""A scored checkpoint -> a registered version, whole for others to use; promoted if the gate says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagsverk import promotion
from dagsverk.records import parse, plain, write_file
from dagsverk.speech import results, runs
from dagsverk.speech.config import NANO, WINDOW_S, FinetuneConfig
from dagsverk.speech.evaluation.forgetting import knows_english
from dagsverk.speech.evaluation.modes import OTHER
from dagsverk.speech.evaluation.report import Check, EvaluationReport, Retention, TwoModes, Verdict
from dagsverk.speech.evaluation.sanity_checks import check_folder
from dagsverk.speech.features import shards
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import SpeechModel, save_model_folder
from dagsverk.speech.registry.card import Reports, model_card
from dagsverk.speech.registry.gate import decide
from dagsverk.speech.registry.publishing import publish
from dagsverk.speech.results import clip_rows
from dagsverk.speech.steps import Outcome, Registered, model_scores
from dagsverk.store import Model, NotFound, Store
from dagsverk.version import code_version


def register(
    store: Store,
    language: Language,
    verdict: Verdict,
    model: SpeechModel,
    *,
    manifest: Manifest,
    config: FinetuneConfig,
    made: Mapping[str, str] | None = None,
) -> Registered:
    """The version that this checkpoint comes to; promoted when its decision says so.

    Safe to repeat, see `promotion.register`: a checkpoint scored on a set is saved once. A champion is pushed
    to the Hub if the config says so; if that fails all else is done, and the next call tries it again.

    Args:
        verdict: on the checkpoint, of `assessment.assess`.
        model: the checkpoint's.
        manifest: of the set that it was trained on.
        made: which run registers it, and where.
    Raises: Conflict when another process promoted a version in the meantime; SpeechError if the push fails.
    """
    key = {"registration_key": _registration_key(verdict)}
    by: dict[str, Any] = {"made": dict(made)} if made else {}
    version, registration = promotion.register(
        store,
        language.model_name,
        key,
        lambda: _save(store, language, verdict, model, manifest, config, {**key, **by}),
        nothing_new="nothing new, this checkpoint is",
    )
    pushed = ""
    if config.push_to_hub and registration.in_use:
        pushed = _push(store, version, config.push_to_hub)
    outcome = parse(version.info["told"], Outcome, f"what {version.name} {version.version} came to")
    return Registered(**vars(registration), **vars(outcome), pushed=pushed)


def _push(store: Store, version: Model, repository: str) -> str:
    with TemporaryDirectory(prefix="dagsverk-") as folder:
        files = store.download(version, Path(folder) / "model")
        return publish(files, repository, f"{version.name} version {version.version}")


def _registration_key(verdict: Verdict) -> str:
    parts = json.dumps([verdict.run, verdict.step, verdict.candidate])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _reports(store: Store, language: Language, verdict: Verdict) -> Reports:
    return Reports(
        candidate=results.report(store, language, verdict.candidate),
        base=results.report(store, language, verdict.base),
        champion=results.report(store, language, verdict.champion) if verdict.champion else None,
        other=_other_report(store, language, verdict.modes),
    )


def _other_report(store: Store, language: Language, modes: TwoModes | None) -> EvaluationReport | None:
    """Of the candidate in the mode that it is not served in, if it was scored there."""
    other = modes.scores.get(OTHER[modes.served]) if modes else None
    return results.report(store, language, other.report) if other else None


def _save(
    store: Store,
    language: Language,
    verdict: Verdict,
    model: SpeechModel,
    manifest: Manifest,
    config: FinetuneConfig,
    about: Mapping[str, Any],
) -> Model:
    reports = _reports(store, language, verdict)
    candidate, modes = reports.candidate, verdict.modes
    lineage = {**_lineage(verdict, model, manifest, config), **_mixed(store, verdict.run, config)}
    lineage |= _replayed(store, config)
    settings = {"fine_tuning": config.to_dict(), "preparation": dict(manifest.settings)}
    with TemporaryDirectory(prefix="dagsverk-") as path:
        folder = Path(path)
        with _as_served(model, modes):
            save_model_folder(model, folder, language=language.code)
        checks = (check_folder(folder, language.code), *verdict.checks)
        decision = decide(
            candidate,
            reports.base,
            reports.champion,
            against_base=verdict.against_base,
            against_champion=verdict.against_champion,
            checks=checks,
            problems=verdict.problems,
            modes=modes,
        )
        card = model_card(
            language,
            reports=reports,
            decision=decision,
            checks=checks,
            settings=settings,
            lineage=lineage,
            modes=modes,
            retention=verdict.retention,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        write_file(folder / "evaluation.json", plain(reports))
        return store.save_model(
            language.model_name,
            folder,
            metrics=_metrics(candidate, reports.base),
            description=f"{language.title}: Whisper fine-tuned from {config.model}",
            info={
                **about,
                **_about(verdict, model, manifest, config),
                "evaluation": candidate.key,
                "normaliser": candidate.normaliser,
                **_mode_info(modes),
                **_longest(store, candidate, config),
                "decision": plain(decision),
                "verdict": plain(verdict),
                "settings": settings,
                "lineage": lineage,
                "told": plain(_outcome(reports, checks, modes)),
            },
        )


def _about(
    verdict: Verdict, model: SpeechModel, manifest: Manifest, config: FinetuneConfig
) -> dict[str, Any]:
    return {
        "run": verdict.run,
        "step": verdict.step,
        "set": manifest.id,
        "base_model": config.model,
        "translates": _translates(model, config, verdict.retention),
        **({"why_english": verdict.retention.why} if verdict.retention else {}),
    }


def _as_served(model: SpeechModel, modes: TwoModes | None) -> AbstractContextManager[object]:
    """Meanwhile the model's configuration names the mode that it is served in, and those it is refused for.

    A verdict of before says nothing of modes: then it is served as it was trained.
    """
    if modes is None:
        return nullcontext()
    return model.marked(modes.served, [mode for mode, one in modes.scores.items() if one.refused])


def _mode_info(modes: TwoModes | None) -> dict[str, Any]:
    """What a version's info says of the two modes; nothing where only one was looked at by a version of
    before."""
    if modes is None:
        return {}
    scores = {
        mode: {
            "wer": score.wer.value,
            "wer_low": score.wer.low,
            "wer_high": score.wer.high,
            "clips": score.clips,
            "audio_s_per_s": score.decoding.audio_s_per_s,
            "device": score.decoding.device,
            "evaluation": score.report,
            "allowed": score.refused is None,
            "refused": score.refused,
        }
        for mode, score in modes.scores.items()
    }
    return {"windows": modes.served, "modes": scores}


def _lineage(
    verdict: Verdict, model: SpeechModel, manifest: Manifest, config: FinetuneConfig
) -> dict[str, Any]:
    return {
        "base_model": config.model,
        "corpus": manifest.corpus,
        "source": manifest.source,
        "corpus_fingerprint": manifest.fingerprint,
        "set": manifest.id,
        "splits": {split: asdict(totals) for split, totals in manifest.splits.items()},
        "set_aside": {reason: rejections.clips for reason, rejections in manifest.rejected.items()},
        "suspicious_texts": {kind: one.clips for kind, one in (manifest.suspicious or {}).items()}
        if manifest.suspicious is not None
        else "not looked at",
        **(
            {"by_hand": manifest.by_hand.words, "prepared_set": manifest.by_hand.parent}
            if manifest.by_hand
            else {}
        ),
        "cut": {split: f"{kept} of {of} clips" for split, (kept, of) in manifest.cut.items()},
        "licences": {licence or "not stated": clips for licence, clips in manifest.licences.items()},
        "run": verdict.run,
        "step": verdict.step,
        "weights": model.fingerprint(),
        "code": code_version(),
    }


def _mixed(store: Store, run: str, config: FinetuneConfig) -> dict[str, Any]:
    """Other sets of the language that were trained on; how many clips of each, their licences; or nothing."""
    if not config.mixture:
        return {}
    seen = runs.clips_seen(store, run)
    sets = {
        one.set: {
            "corpus": one.corpus,
            "clips": one.clips,
            "seen": seen.get(one.set, "not counted"),
            "left_out": dict(one.left_out),
            "say_a_sentence_of_dev_or_test": one.held_out_sentences,
            "licences": _licences(store, one.set),
        }
        for one in runs.run_config(store, run).mixed
    }
    return {"mixed": sets, "seen_of_own_set": next(iter(seen.values()), "not counted")}


def _licences(store: Store, set_id: str) -> dict[str, int] | str:
    try:
        licences = shards.manifest(store, set_id).licences
    except NotFound:
        return "not in the store any more"
    return {licence or "not stated": clips for licence, clips in licences.items()}


def _replayed(store: Store, config: FinetuneConfig) -> dict[str, Any]:
    """Whose clips were trained on besides, for the licences' sake; nothing, if none were."""
    sets: dict[str, Any] = {}
    for set_id in config.replay_sets:
        try:
            about = shards.manifest(store, set_id)
        except NotFound:
            sets[set_id] = "not in the store any more"
            continue
        licences = {licence or "not stated": clips for licence, clips in about.licences.items()}
        sets[set_id] = {"corpus": about.corpus, "source": about.source, "licences": licences}
    return {"replayed": sets} if sets else {}


def _metrics(candidate: EvaluationReport, base: EvaluationReport) -> dict[str, float]:
    """Rates with their limits, as far as they are known: a registry takes numbers only."""
    metrics: dict[str, float | None] = {"test_clips": candidate.clips}
    forms = [("", candidate.scores.normalised), ("raw_", candidate.scores.raw)]
    forms += [("whisper_", candidate.scores.whisper)] if candidate.scores.whisper else []
    for prefix, scores in forms:
        for name, rate in (("wer", scores.wer), ("cer", scores.cer)):
            metrics |= {
                f"{prefix}{name}": rate.value,
                f"{prefix}{name}_low": rate.low,
                f"{prefix}{name}_high": rate.high,
            }
    if candidate.unseen and candidate.unseen.wer:
        metrics |= {"unseen_wer": candidate.unseen.wer.value, "unseen_clips": candidate.unseen.clips}
    metrics["base_wer"] = base.scores.normalised.wer.value
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _outcome(reports: Reports, checks: tuple[Check, ...], modes: TwoModes | None) -> Outcome:
    """What summaries and pages say of a version without reading its reports."""
    candidate = reports.candidate
    return Outcome(
        candidate=model_scores(candidate),
        base=model_scores(reports.base),
        champion_row=model_scores(reports.champion) if reports.champion else None,
        checks=checks,
        clips=candidate.clips,
        speakers=candidate.speakers,
        cut=candidate.cut,
        modes=modes,
    )


def _longest(store: Store, candidate: EvaluationReport, config: FinetuneConfig) -> dict[str, float]:
    """A model trained from scratch hears clips of the length it was trained on, and longer ones badly."""
    if config.model != NANO:
        return {}
    longest_s = float(clip_rows(store, candidate)["duration_s"].max())
    return {"longest_s": min(WINDOW_S, max(5.0, 1.5 * longest_s))}  # pauses around what is said count too


def _translates(model: SpeechModel, config: FinetuneConfig, measured: Retention | None) -> bool:
    """Whether English is offered: as it was measured. Where nobody measured: if it was taught here, or by its
    pre-training."""
    if measured is not None:
        return measured.english
    pretrained = config.model != NANO and knows_english(model.model.config)
    return config.translate_share > 0 or pretrained
