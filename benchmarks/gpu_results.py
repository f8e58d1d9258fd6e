"""What `on_gpu.sh` asks before its parts and says after them.

check DEVICE          whether this interpreter has what the parts import, and sees a GPU (DEVICE auto)
report FOLDER DEVICE  the parts' figures as a dated section at the end of RESULTS.md (DEVICE cpu: only shown)
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "RESULTS.md"
NEEDED = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "jiwer",
    "pandas",
    "pyarrow",
    "pydantic",
    "av",
)
VERSIONS = ("torch", "transformers", "accelerate", "numpy")


def check(device: str) -> str:
    """What is missing, in words; empty if nothing is."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"{sys.executable} lacks {', '.join(missing)}: run `make setup`, or install them from wheels"
    import torch

    if device == "auto" and not torch.cuda.is_available():
        return (
            f"torch {torch.__version__} sees no GPU here; DEVICE=cpu SIZE=nano tries the script without one"
        )
    return ""


def report(folder: Path) -> str:
    """Markdown of the figures of a folder's parts."""
    parts = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not parts:
        return ""
    devices = sorted({str(part["device"]) for part in parts.values() if "device" in part})
    lines = [
        f"## On {' and '.join(devices)}, {dt.datetime.now(dt.UTC):%Y-%m-%d}: `on_gpu.sh`",
        "",
        _versions(),
    ]
    for name, one in parts.items():
        table = {"evaluate": _evaluation, "resume": _exactness, "prepare": _preparation}.get(name, _training)
        lines += ["", *table(one)]
    return "\n".join(lines) + "\n"


def _versions() -> str:
    named = []
    for name in VERSIONS:
        try:
            named.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            named.append(f"{name} not installed")
    return f"Python {sys.version.split()[0]}, {', '.join(named)}. Random weights, lengths of Common Voice 11."


def _training(part: dict[str, Any]) -> list[str]:
    heads = "clips/s", "floor, clips/s", "frames computed / needed", "% of peak", "memory, GB", "batch, s"
    rows = [
        (
            side,
            f"{one['clips'] / one['seconds']:.1f}",
            f"{one['peak'] * one['clips'] / one['needed_flops']:.0f}",
            f"{one['ratio']:.3f}",
            f"{100 * one['flops'] / one['seconds'] / one['peak']:.1f}",
            f"{one['memory_gb']:.1f}",
            f"{one['batch_s']:.0f}",
        )
        for side, one in part["sides"].items()
    ]
    caption = f"Fine-tuning {part['model']}, mean clip {part['mean_s']} s, {part['steps']} steps each:"
    return [caption, "", *_table(("side", *heads), rows)]


def _evaluation(part: dict[str, Any]) -> list[str]:
    heads = "clips/s", "encoder frames computed / needed", "GPU memory, GiB", "tokens as in fp32"
    rows = [
        (
            side,
            f"{one['clips_per_s']:.1f}",
            f"{one['frames_per_needed']:.2f}",
            f"{one['peak_gib']:.1f}" if one["peak_gib"] else "",
            f"{100 * part['agreement'][short]:.2f} %"
            if (short := side.split()[-1]) in part["agreement"]
            else "",
        )
        for side, one in part["sides"].items()
    ]
    caption = f"Evaluation with {part['model']}, {part['clips']} clips:"
    return [caption, "", *_table(("side", *heads), rows)]


def _exactness(part: dict[str, Any]) -> list[str]:
    rows = [
        (name, f"{100 * one['equal']:.3f} %", f"{one['largest']:.3g}") for name, one in part["sides"].items()
    ]
    caption = f"A run of {part['steps']} steps of {part['model']} that was killed, against one in peace:"
    return [caption, "", *_table(("runs", "weights equal bit by bit", "largest difference"), rows)]


def _preparation(part: dict[str, Any]) -> list[str]:
    return ["Preparation on one of its processor's cores:", "", *part["table"]]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    ends = " | ".join("---:" if place else "---" for place in range(len(heads)))
    return [f"| {' | '.join(heads)} |", f"| {ends} |", *(f"| {' | '.join(row)} |" for row in rows)]


def main() -> None:
    what, argument = sys.argv[1:3]
    if what == "check":
        if problem := check(argument):
            raise SystemExit(problem)
        return
    section = report(Path(argument))
    if not section:
        raise SystemExit(f"no part left figures in {argument}")
    print(section)
    if sys.argv[3] == "cpu":
        return
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(f"\n{section}")


if __name__ == "__main__":
    main()
