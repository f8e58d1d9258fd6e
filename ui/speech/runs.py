"""Fine-tuning runs on the speech monitor: the newest one's curves, and all of them in a table."""

from __future__ import annotations

from dagsverk.speech.results import Run
from dagsverk.speech.runs import Curve, TrainingPoint, ValidationPoint
from dagsverk.speech.serving.champions import speech_command
from dagsverk.words import counted
from ui import parts
from ui.parts import Head, Html, percent
from ui.speech.desk import SpeechView

EARLIER = 3  # runs whose word error rate is drawn beside the newest one's
LISTED = 8


def curves(view: SpeechView) -> tuple[Curve, list[Curve]]:
    """(the newest run's curve, those of the runs before it, newest first); empty before the first run."""
    drawn = [run.curve for run in view.runs if run.curve]
    return (drawn[-1], drawn[-1 - EARLIER : -1][::-1]) if drawn else ((), [])


def title(view: SpeechView) -> Html:
    head = parts.element("h2", "Training")
    if not view.runs:
        words = parts.element("p", "Loss and error rates are drawn here while a model learns.", "soft small")
        return parts.join(head, words)
    newest = view.runs[-1]
    summary = f"Run {newest.run[:9]}: {reached(newest)}."
    best = best_wer(newest.curve)
    if best is not None:
        summary += (
            f" The least word error rate on dev was {percent(best[1], 1)}, at step {best[0]:,}; dev clips "
        )
        summary += "choose the checkpoint, test clips are scored once."
    return parts.join(head, parts.element("p", summary, "soft small"))


def table(view: SpeechView) -> Html:
    """Runs, newest first."""
    if not view.runs:
        return parts.empty("No run yet", "A day trains one:", speech_command(view.language))
    heads = [Head(title="Run"), Head(title="Model")]
    heads += [
        Head(title=name, numeric=True) for name in ("Steps", "Peak learning rate", "Loss", "Best dev WER")
    ]
    rows = [_row(run) for run in list(view.runs)[: -LISTED - 1 : -1]]
    caption = f"{counted(len(view.runs), 'run')}, newest first"
    caption += f"; the newest {LISTED} are listed" if len(view.runs) > LISTED else ""
    return parts.table(caption, heads, rows)


def best_wer(curve: Curve) -> tuple[int, float] | None:
    """(step, rate) of the least word error rate on dev; of equals the first."""
    scored = [
        (point.dev_wer, point.step)
        for point in curve
        if isinstance(point, ValidationPoint) and point.dev_wer is not None
    ]
    return (min(scored)[1], min(scored)[0]) if scored else None


def _row(run: Run) -> list[object]:
    best = best_wer(run.curve)
    losses = [point.loss for point in run.curve if isinstance(point, TrainingPoint)]
    settings = run.config.finetune if run.config else None
    return [
        run.run[:12],
        parts.last_part(settings.model if settings else "–", 40),
        reached(run),
        parts.number(settings.learning_rate if settings else None, 2),
        parts.number(losses[-1]) if losses else "–",
        f"{percent(best[1], 1)} at step {best[0]:,}" if best else "–",
    ]


def reached(run: Run) -> str:
    steps = [*(point.step for point in run.curve), *run.checkpoints]
    last, wanted = max(steps, default=0), run.config.finetune.steps if run.config else None
    return f"{last:,} of {wanted:,} steps" if wanted else f"{last:,} steps"
