"""A judged checkpoint -> a registered version, whole for others to use; promoted if the gate says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagsverk.speech import results
from dagsverk.speech.config import WINDOW_S, FinetuneConfig
from dagsverk.speech.evaluation.sanity_checks import folder_trap
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.model.models import NANO, SpeechModel, save_model_folder
from dagsverk.speech.registry.card import model_card
from dagsverk.speech.registry.gate import decide
from dagsverk.speech.registry.publishing import publish
from dagsverk.speech.results import clip_rows
from dagsverk.speech.runs import CheckpointRef
from dagsverk.store import Model, Store
from dagsverk.version import code_version

Reports = Mapping[str, Mapping[str, Any] | None]  # candidate, base, champion


def register(
    store: Store,
    language: Language,
    ref: CheckpointRef,
    verdict: Mapping[str, Any],
    model: SpeechModel,
    *,
    manifest: Manifest,
    config: FinetuneConfig,
) -> dict[str, Any]:
    """The version that this checkpoint comes to; promoted when its decision says so.

    Safe to repeat: a checkpoint judged on a set is known by its key and saved once. A version that was saved
    but not yet promoted when its process was killed is promoted by the next call. A champion is pushed to the
    Hub if the config says so; if that fails all else is done, and the next call tries it again.

    Args:
        verdict: of `judging.judge`.
        model: the checkpoint's.
        manifest: of the set that it was trained on.
    Returns: facts for reports, in JSON types.
    Raises: Conflict when another process promoted a version in the meantime; SpeechError if the push fails.
    """
    reports = _reports(store, language, verdict)
    key = _registration_key(ref, verdict)
    name = language.model_name
    known = [found for found in store.models(name) if found.info.get("registration_key") == key]
    version = known[-1] if known else None
    if version is None:
        version = _save(store, language, ref, verdict, model, reports, manifest, config, key)
    decision, in_use = version.info["decision"], store.champion(name)
    if decision["promoted"] and (in_use is None or in_use.version < version.version):
        store.promote(
            name,
            version.version,
            reason=decision["reason"],
            expected=in_use.version if in_use else None,
        )
    champion = store.champion(name)
    pushed = ""
    if config.push_to_hub and champion is not None and champion.version == version.version:
        pushed = _push(store, champion, config.push_to_hub)
    return {**_facts(version, not known, champion), "pushed": pushed}


def _push(store: Store, version: Model, repository: str) -> str:
    with TemporaryDirectory(prefix="dagsverk-") as folder:
        files = store.download(version, Path(folder) / "model")
        return publish(files, repository, f"{version.name} version {version.version}")


def _facts(version: Model, new: bool, champion: Model | None) -> dict[str, Any]:
    decision, in_use = version.info["decision"], champion.version if champion else None
    reason = decision["reason"]
    if not new:
        same = f"nothing new, this checkpoint is version {version.version}"
        reason = same if in_use == version.version else f"{same}: {reason}"
    return {
        "version": version.version,
        "new": new,
        "promoted": decision["promoted"],
        "reason": reason,
        "decision": decision["reason"],
        "rule": decision["rule"],
        "warnings": decision["warnings"],
        "champion": in_use,
        **version.info["told"],
    }


def _registration_key(ref: CheckpointRef, verdict: Mapping[str, Any]) -> str:
    parts = json.dumps([ref.run, ref.step, verdict["candidate"]])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _reports(store: Store, language: Language, verdict: Mapping[str, Any]) -> Reports:
    return {
        role: results.report(store, language, verdict[role]) if verdict[role] else None
        for role in ("candidate", "base", "champion")
    }


def _save(
    store: Store,
    language: Language,
    ref: CheckpointRef,
    verdict: Mapping[str, Any],
    model: SpeechModel,
    reports: Reports,
    manifest: Manifest,
    config: FinetuneConfig,
    key: str,
) -> Model:
    candidate, base = reports["candidate"], reports["base"]
    if candidate is None or base is None:
        raise ValueError("a verdict names the reports of the candidate and of the model it was trained from")
    lineage = _lineage(ref, model, manifest, config)
    settings = {"fine_tuning": config.to_dict(), "preparation": dict(manifest.settings)}
    with TemporaryDirectory(prefix="dagsverk-") as path:
        folder = Path(path)
        save_model_folder(model, folder, language=language.code)
        traps = [folder_trap(folder, language.code).to_dict(), *verdict["traps"]]
        decision = decide(
            candidate,
            base,
            reports["champion"],
            against_base=verdict["against_base"],
            against_champion=verdict["against_champion"],
            traps=traps,
            problems=verdict["problems"],
        )
        card = model_card(
            language, reports=reports, decision=decision, traps=traps, settings=settings, lineage=lineage
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / "evaluation.json").write_text(json.dumps(reports, indent=1), encoding="utf-8")
        return store.save_model(
            language.model_name,
            folder,
            metrics=_metrics(candidate, base),
            description=f"{language.title}: Whisper fine-tuned from {config.model}",
            info={
                "registration_key": key,
                "run": ref.run,
                "step": ref.step,
                "set": manifest.id,
                "base_model": config.model,
                "evaluation": candidate["key"],
                "normaliser": candidate["normaliser"],
                "translates": _translates(model, config),
                **_longest(store, candidate, config),
                "decision": decision.to_dict(),
                "verdict": dict(verdict),
                "settings": settings,
                "lineage": lineage,
                "told": _told(reports, candidate, traps),
            },
        )


def _lineage(
    ref: CheckpointRef, model: SpeechModel, manifest: Manifest, config: FinetuneConfig
) -> dict[str, Any]:
    return {
        "base_model": config.model,
        "corpus": manifest.corpus,
        "source": manifest.source,
        "corpus_fingerprint": manifest.fingerprint,
        "set": manifest.id,
        "splits": {split: asdict(totals) for split, totals in manifest.splits.items()},
        "set_aside": {reason: rejections.clips for reason, rejections in manifest.rejected.items()},
        "cut": {split: f"{kept} of {of} clips" for split, (kept, of) in manifest.cut.items()},
        "licences": {licence or "not stated": clips for licence, clips in manifest.licences.items()},
        "run": ref.run,
        "step": ref.step,
        "weights": model.fingerprint(),
        "code": code_version(),
    }


def _metrics(candidate: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float]:
    """Rates with their limits, as far as they are known: a registry takes numbers only."""
    found: dict[str, float | None] = {"test_clips": candidate["clips"]}
    for prefix, form in (("", "normalised"), ("raw_", "raw")):
        for rate in ("wer", "cer"):
            interval = candidate["scores"][form][rate]
            found |= {
                f"{prefix}{rate}": interval["value"],
                f"{prefix}{rate}_low": interval["low"],
                f"{prefix}{rate}_high": interval["high"],
            }
    found["base_wer"] = base["scores"]["normalised"]["wer"]["value"]
    return {name: float(value) for name, value in found.items() if value is not None}


def _told(reports: Reports, candidate: Mapping[str, Any], traps: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What summaries and pages say of a version without reading its reports."""
    rows = {role: _row(report) if report else None for role, report in reports.items()}
    return {
        "candidate": rows["candidate"],
        "base": rows["base"],
        "champion_row": rows["champion"],
        "traps": [dict(trap) for trap in traps],
        "clips": candidate["clips"],
        "speakers": candidate["speakers"],
        "cut": candidate["cut"],
    }


def _row(report: Mapping[str, Any]) -> dict[str, Any]:
    scores = report["scores"]["normalised"]
    kept = ("wer", "cer", "substitutions", "deletions", "insertions", "words")
    return {"key": report["key"], "name": report["model"]["name"], **{name: scores[name] for name in kept}}


def _longest(store: Store, candidate: Mapping[str, Any], config: FinetuneConfig) -> dict[str, float]:
    """A model trained from scratch hears clips of the length it was trained on, and longer ones badly."""
    if config.model != NANO:
        return {}
    heard_s = float(clip_rows(store, candidate)["duration_s"].max())
    return {"longest_s": min(WINDOW_S, max(5.0, 1.5 * heard_s))}  # pauses around what is said count too


def _translates(model: SpeechModel, config: FinetuneConfig) -> bool:
    """Whether it can be asked for English: taught here, or by its pre-training (turbo's left translation
    out)."""
    layers = model.model.config
    pretrained = config.model != NANO and layers.decoder_layers == layers.encoder_layers
    return config.translate_share > 0 or pretrained
