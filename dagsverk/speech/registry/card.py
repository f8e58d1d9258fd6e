"""The model card of a fine-tuned Whisper, as the Hugging Face Hub reads it. Light: loads no learning
library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagsverk import words
from dagsverk.promotion import Decision
from dagsverk.speech.evaluation.modes import NAMES, OTHER
from dagsverk.speech.evaluation.report import Check, EvaluationReport, ModeScore, Retention, Scores, TwoModes
from dagsverk.speech.languages import Language
from dagsverk.speech.registry.gate import cut_words, difference, percent, unseen_words, voices
from dagsverk.speech.registry.knew_before import knew_before

OTHER_RATES = ("WER by Whisper's rules", "WER, new sentences")
LIBRARIES = ("dagsverk", "torch", "transformers", "jiwer", "numpy")
INTERVALS = (
    "95 % intervals by a bootstrap over speakers (all clips of a speaker are drawn together), with Student's "
    "t for the number of speakers. Rates are edits per word or character of the reference, over all clips "
    "together; they can exceed 100 %. Normalised: without case and punctuation, all letters kept (å is not "
    "a); an Italian elided article counts as a word (l'acqua: two). By Whisper's rules: with Whisper's own "
    "normaliser, as most published figures are made. New sentences: clips whose sentence is not read in "
    "training, nor one that is the same but for spelling, numbers or a word."
)


FROM_PLACES = ("base_model", "source", "model", "tokenizer", "noises", "rooms")  # may be folders of a machine
PADDED = "transformers' `pipeline`, faster-whisper and most other programs pad every clip to 30 s"


@dataclass(frozen=True)
class Reports:
    """Of a candidate, of the model it was trained from, and of the champion until then, if there was one."""

    candidate: EvaluationReport  # in the mode that it is served in
    base: EvaluationReport
    champion: EvaluationReport | None
    other: EvaluationReport | None = None  # the candidate in the other mode, if it was scored


def model_card(
    language: Language,
    *,
    reports: Reports,
    decision: Decision,
    checks: Sequence[Check],
    settings: Mapping[str, Any],
    lineage: Mapping[str, Any],
    modes: TwoModes | None = None,
    retention: Retention | None = None,
) -> str:
    """The card's Markdown, with the YAML header that the Hub shows.

    Args:
        reports: of this model, of its base, and of the champion until then.
        settings: of the fine-tuning, of the preparation: {"fine_tuning": {...}, "preparation": {...}}.
        lineage: where it came from: corpus, set, run, step, base_model, code, ...
        modes: this model in both modes.
        retention: what it still knows of what it was not tuned for, if that was measured.
    """
    candidate = reports.candidate
    sections = [
        f"# {language.title}: Whisper {_origin(str(lineage['base_model']))}",
        f"Writes down what is said in {language.title}. Reads 16 kHz mono audio, up to 30 s at a time."
        + borrowed_token(language),
        "## Decision\n\n" + words.decision(decision.reason, decision.warnings, decision.rule),
        "## Scores\n\n" + _scores(reports, modes),
        *(["## True length and 30 s windows\n\n" + _two_modes(modes)] if modes else []),
        "## Groups\n\n" + _groups(candidate),
        "## What it knew before\n\n" + knew_before(retention),
        "## Limits\n\n" + _limits(candidate, checks),
        "## Data\n\n" + words.facts(_without_folders(lineage)),
        "## Settings\n\n"
        + "\n\n".join(
            f"{words.spaced(name)}:\n\n{words.facts(_without_folders(part))}"
            for name, part in settings.items()
        ),
        "## Made with\n\n" + words.versions(LIBRARIES),
        "## Use\n\n" + _use(language, modes),
    ]
    return _header(language, reports, lineage) + "\n\n".join(sections) + "\n"


def _header(language: Language, reports: Reports, lineage: Mapping[str, Any]) -> str:
    """YAML between two lines of dashes; every value in JSON, which YAML contains."""
    report, other = reports.candidate, reports.other
    forms = list(_forms(report))
    if other is not None:
        where = NAMES["full" if other.model.full_windows else "true_length"]
        forms += [(f"{form}, {where}", scores) for form, scores in _forms(other)]
    metrics = [
        {"type": name, "value": round(100 * rate.value, 2), "name": f"{name.upper()} ({form}), %"}
        for form, scores in forms
        for name, rate in (("wer", scores.wer), ("cer", scores.cer))
        if rate.value is not None
    ]
    result = {
        "task": {"type": "automatic-speech-recognition"},
        "dataset": {
            "name": lineage["corpus"],
            "type": words.last_part(lineage["source"]),
            "split": report.split,
        },
        "metrics": metrics,
    }
    base = str(lineage["base_model"])
    on_hub = {"base_model": base} if base.count("/") == 1 and not base.startswith((".", "~", "/")) else {}
    header = {
        "language": language.spoken,
        "library_name": "transformers",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["whisper", "dagsverk"],
        **on_hub,
        "metrics": ["wer", "cer"],
        "model-index": [{"name": language.model_name, "results": [result]}],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in header.items()]
    return "\n".join(["---", *lines, "---"]) + "\n\n"


def _scores(reports: Reports, modes: TwoModes | None) -> str:
    candidate, other = reports.candidate, reports.other
    rows = [_row(f"this model, {NAMES[modes.served]}" if other and modes else "this model", candidate)]
    if other and modes:
        cut = f" ({cut_words(other.cut, other)})" if other.cut and other.cut != candidate.cut else ""
        rows.append(_row(f"this model, {NAMES[OTHER[modes.served]]}{cut}", other))
    rows.append(_row("before fine-tuning", reports.base))
    if reports.champion is not None:
        rows.append(_row("champion until then", reports.champion))
    rates = ("WER", "CER", "WER, raw", "CER, raw", *OTHER_RATES)
    header = ("model", *rates, "substituted / deleted / inserted words")
    clips = words.counted(candidate.clips, f"{candidate.split} clip")
    about = (
        f"{clips}, {candidate.audio_s / 3600:.2f} h, {voices(candidate)}, "
        f"{words.counted(candidate.scores.normalised.words, 'word')}."
    )
    if candidate.cut:
        about += f" **A cut of the test split: {cut_words(candidate.cut, candidate)}.**"
    if candidate.first_wer:
        looped = words.counted(candidate.loops, "clip")
        about += (
            f" Scores are of what is served: loops ({looped}) are decoded again or said once, and what is no "
            f"speech is left out. Without that the word error rate is {percent(candidate.first_wer)}."
        )
    if candidate.empty_references:
        unscored = words.counted(candidate.empty_references, "clip")
        about += f" Not scored, having no words in their text: {unscored}."
    for sentence in unseen_words(candidate):
        about += f" **Mind: {sentence}.**"
    return f"{about}\n\n{words.table(header, rows)}\n\n{INTERVALS}"


def _two_modes(modes: TwoModes) -> str:
    """How it does in either, and what users of other programs may expect."""
    if modes.left_out is not None:
        return f"{modes.left_out}. {PADDED}: what this model says there is not known, and likely nonsense."
    rows = [
        (
            NAMES[mode],
            percent(score.wer),
            percent(score.cer),
            difference(score.against_base),
            cut_clips(score),
            f"{score.decoding.audio_s_per_s:g} s of audio a second ({score.decoding.device})",
            "**refused**" if score.refused else "served" if mode == modes.served else "allowed",
        )
        for mode, score in modes.scores.items()
    ]
    header = ("mode", "WER", "CER", "WER minus before fine-tuning", "clips", "decoded", "verdict")
    sentences = [f"{modes.reason[:1].upper()}{modes.reason[1:]}.", f"{PADDED}: {_expected(modes)}"]
    return "\n\n".join([words.table(header, rows), *sentences])


def _expected(modes: TwoModes) -> str:
    """What who uses it in full windows will find."""
    full = modes.scores["full"]
    if full.refused is not None:
        return f"**do not use it so.** In 30 s windows it is refused: {full.refused}."
    return f"expect the word error rate that it has in 30 s windows, {percent(full.wer)}."


def cut_clips(score: ModeScore) -> str:
    return f"{words.number(score.clips)}{' (a cut)' if score.cut else ''}"


def _forms(report: EvaluationReport) -> Iterator[tuple[str, Scores]]:
    """Scores of each form of the texts that the report has, by name."""
    yield "normalised", report.scores.normalised
    yield "raw", report.scores.raw
    if report.scores.whisper:
        yield "by Whisper's normaliser", report.scores.whisper


def _row(name: str, report: EvaluationReport) -> tuple[str, ...]:
    normalised, raw = report.scores.normalised, report.scores.raw
    rates = (percent(rate) for scores in (normalised, raw) for rate in (scores.wer, scores.cer))
    edits = f"{normalised.substitutions} / {normalised.deletions} / {normalised.insertions}"
    whisper, unseen = report.scores.whisper, report.unseen
    others = (whisper.wer if whisper else None, unseen.wer if unseen else None)
    return (name, *rates, *(percent(rate) if rate else "not known" for rate in others), edits)


def _groups(report: EvaluationReport) -> str:
    rows = [
        (
            f"{group.by}: {group.value}",
            str(group.clips),
            str(group.speakers) if group.speakers else "unnamed",
            percent(group.wer) if group.wer else "too few to score",
            percent(group.gap) if group.gap else "",
        )
        for group in report.groups
    ]
    least = report.config.min_group_clips
    note = f"Scored from {least} clips on. The gap is the group's WER minus that of all other clips."
    return f"{words.table(('group', 'clips', 'voices', 'WER', 'gap'), rows)}\n\n{note}"


def _limits(report: EvaluationReport, checks: Sequence[Check]) -> str:
    lines = [
        "- Scores hold for recordings like the test clips; other rooms, accents and topics are unknown.",
    ]
    lines += [
        f"- {by}: most errors for {worst.value}, WER {100 * worst.wer:.1f} %, "
        f"{100 * worst.gap.value:+.1f} points against all others"
        for by, worst in report.worst_groups.items()
        if worst.gap.value is not None and worst.gap.value > 0
    ]
    lines += [
        f"- {check.name}: {'passed' if check.passed else '**failed**'}; {check.detail}" for check in checks
    ]
    return "\n".join(lines)


def _use(language: Language, modes: TwoModes | None) -> str:
    served = "as it was trained" if modes is None else NAMES[modes.served]
    here = (
        f"In Dagsverk, which takes recordings of any length, and this model {served}:\n\n"
        "```python\nfrom pathlib import Path\n\n"
        "from dagsverk.speech.serving.torch_engine import load_engine\n"
        "from dagsverk.speech.serving.transcriber import Transcriber\n\n"
        f'engine = load_engine(Path("this folder"), "this model", language="{language.code}")\n'
        f'Transcriber(engine, "{language.code}").transcribe(Path("recording.wav")).text\n```'
    )
    fixed = f"Language ({language.token}) and task are in `generation_config.json`."
    full = modes.scores.get("full") if modes else None
    if modes is not None and (full is None or full.refused is not None):
        return f"{here}\n\n{fixed} {PADDED}, and that does not suit this model: see above."
    there = (
        "```python\nfrom transformers import pipeline\n\n"
        'transcribe = pipeline("automatic-speech-recognition", model="this folder")\n'
        'transcribe("recording.wav")["text"]\n```'
    )
    expected = f" It pads every clip to 30 s: {_expected(modes)}" if modes else ""
    return f"{there}\n\n{fixed}{expected}\n\n{here}"


def borrowed_token(language: Language) -> str:
    """What a reader has to know of a language that Whisper lacks; empty for one that it knows."""
    if not language.is_borrowed:
        return ""
    return (
        f"\n\n**Whisper has no token for {language.spoken}: it is written under the token of another "
        f"language, `<|{language.token}|>`.** Ask for `{language.token}` where a program wants the language; "
        "do not count on the model for that one any longer."
    )


def _origin(base: str) -> str:
    name = words.last_part(base)
    return "of the size nano, trained from nothing" if base == "nano" else f"fine-tuned from {name}"


def _without_folders(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same, but of paths and addresses their last part: a card is published."""
    return {name: _without_folder(name, value) for name, value in facts.items()}


def _without_folder(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_folders(value)
    return words.last_part(value) if name in FROM_PLACES and value else value
