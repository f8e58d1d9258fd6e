"""What a step did, in JSON types, for its report. Light: loads no learning library."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dagsverk.speech import runs
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.runs import CheckpointRef
from dagsverk.store import Store


def prepared(about: Manifest, *, new: bool) -> dict[str, Any]:
    """Clips, hours, speakers, and why clips were set aside. `new`: not the set of the last report."""
    speakers = sum(totals.speakers for totals in about.splits.values())  # no speaker is in two splits
    return {
        "set": about.id,
        "corpus": about.corpus,
        "new": new,
        "clips": sum(totals.clips for totals in about.splits.values()),
        "audio_s": about.seconds,
        "speakers": speakers,
        "splits": {name: asdict(totals) for name, totals in about.splits.items()},
        "set_aside": {reason: rejections.clips for reason, rejections in about.rejected.items()},
        "cut": {split: list(numbers) for split, numbers in about.cut.items()},
        "notes": list(about.notes),
        # A set with a speaker in two splits is never made; who is not named may be anyone.
        "heard_test_speakers": None if about.notes else 0,
        "bytes": sum(shard.bytes for shard in about.shards),
    }


def finetuned(store: Store, chosen: CheckpointRef, *, new: bool) -> dict[str, Any]:
    """The run, the step chosen on dev, and its rates there. `new`: not the run of the last report."""
    made, seen = runs.run_config(store, chosen.run), runs.curve(store, chosen.run)
    looks = [point for point in seen if "dev_wer" in point]
    best = next((look for look in looks if look["step"] == chosen.step), {})
    speeds = sorted(point["clips_per_s"] for point in seen if point.get("clips_per_s"))
    return {
        "run": chosen.run,
        "step": chosen.step,
        "steps": made.finetune.steps,
        "model": made.finetune.model,
        "set": made.set_id,
        "dev_wer": best.get("dev_wer"),
        "dev_cer": best.get("dev_cer"),
        "clips_per_s": speeds[len(speeds) // 2] if speeds else None,
        "set_aside": dict(made.set_aside),
        "new": new,
    }
