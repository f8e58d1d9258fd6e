"""What a run that writes down recordings leaves in the Prefect UI, under fixed keys."""

from __future__ import annotations

import pandas as pd

from dagsverk.speech.languages import Language
from dagsverk.speech.transcription.files import shown
from dagsverk.speech.transcription.pseudo_config import PseudoLabels
from dagsverk.speech.transcription.results import Transcribed
from dagsverk.words import interval
from tasks.show import table


def transcribed(language: Language, report: Transcribed) -> None:
    """Counts, hours, speed and error rate of each model; why recordings have no text."""
    rate = report.scored.wer if report.scored else None
    row = {
        "recordings": report.recordings,
        "written down": report.written,
        "now": report.new,
        "hours": f"{report.audio_s / 3600:.2f}",
        "times as fast as spoken": f"{report.new_audio_s / report.new_took_s:.1f}"
        if report.new_took_s
        else "",
        "WER": interval(rate.value, rate.low, rate.high) if rate else "",
        "with a text beside": report.scored.recordings if report.scored else 0,
    }
    about = f"Recordings of {shown(report.source)}"
    table(f"{language.name}-transcriptions", pd.DataFrame([row]), about)
    failures = [
        {"recording": shown(one.path), "reason": one.reason, "detail": one.detail} for one in report.failures
    ]
    counts = ", ".join(f"{count} {reason}" for reason, count in report.failed.items()) or "none"
    table(f"{language.name}-transcriptions-failed", pd.DataFrame(failures), f"Without a text: {counts}")


def pseudo_labels(language: Language, made: PseudoLabels) -> None:
    """How much is good enough to learn from, and why the rest is not."""
    rows = [{"what": "kept", "number": made.kept, "minutes": f"{made.kept_s / 60:.1f}"}]
    rows += [{"what": reason, "number": count} for reason, count in {**made.rejected, **made.unread}.items()]
    rows += [{"what": f"in {name}", "number": count} for name, count in made.spoken.items()]
    by = f"by {made.model}" + (f" and {made.second}" if made.second else "")
    table(f"{language.name}-pseudo-labels", pd.DataFrame(rows), f"Segments of {shown(made.source)}, {by}")
