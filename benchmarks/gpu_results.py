"""What `on_gpu.sh` asks before its parts and says after them.

check DEVICE [WHEELS]   what this interpreter lacks of what the parts import, in a line; whether it sees a GPU
missing                 the packages that it lacks, by the names that pip knows
begin FILE              a part begins: what it left the last time is out of date, and put aside
end FILE STATUS LOG     a part ended: its figures are stamped with time and versions, or why there are none
report FOLDER DEVICE    all parts' figures as a section; those that RESULTS.md lacks are added there (DEVICE
                        cpu: only shown). FOLDER may come from another machine
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RESULTS = Path(__file__).parent / "RESULTS.md"
PROJECT = Path(__file__).parent.parent / "pyproject.toml"
PARTS = ("small", "filled", "medium", "large", "evaluate", "resume", "prepare")
# What the parts import, by module; of pip's names where they differ.
NEEDED = {
    "torch": "torch",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "peft": "peft",
    "safetensors": "safetensors",
    "datasets": "datasets",
    "jiwer": "jiwer",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "deltalake": "deltalake",
    "scipy": "scipy",
    "av": "av",
    "ftfy": "ftfy",
    "langcodes": "langcodes[data]",
    "tensorboard": "tensorboard",
    "espeakng_loader": "espeakng-loader",
}
VERSIONS = ("torch", "transformers", "accelerate", "numpy")


def missing() -> list[str]:
    """What the parts import and this interpreter lacks, as pip calls it."""
    return [name for module, name in NEEDED.items() if find_spec(module) is None]


def outdated() -> list[str]:
    """What is here in an older version than pyproject.toml asks for."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = [one for of in ("corpora", "speech") for one in project["optional-dependencies"][of]]
    older = []
    for asked in map(Requirement, [*project["dependencies"], *extras]):
        try:
            here = version(asked.name)
        except PackageNotFoundError:
            continue
        if asked.name in NEEDED.values() and not asked.specifier.contains(here, prereleases=True):
            older.append(f"{asked.name} {here} (want {asked.specifier})")
    return older


def check(device: str, wheels: str = "") -> str:
    """Why the parts cannot run here, in a line; empty if they can."""
    if absent := missing():
        names = " ".join(f"'{name}'" if "[" in name else name for name in absent)
        offline = f"{wheels} lacks them" if wheels else "offline: WHEELS=folder with their wheels"
        return f"{sys.executable} lacks some: {sys.executable} -m pip install {names} ({offline})"
    import torch

    if device == "auto" and not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no GPU; DEVICE=cpu SIZE=nano CLIPS=60 tries this without one"
    return ""


def begin(file: Path) -> None:
    """What an earlier run of the part left is no longer shown as its figures."""
    if file.exists():
        file.replace(file.with_suffix(".before"))


def end(file: Path, status: int, log: Path) -> None:
    """Stamp a part's figures; where there are none, say why."""
    try:
        figures = dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    except ValueError:  # stopped while it wrote
        figures = {}
    if status:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no word"]
        late = status in (124, 137)
        figures["failed"] = (
            "took longer than its limit" if late else f"ended with {status}: {words[-1][:300]}"
        )
    now = dt.datetime.now(dt.UTC)
    figures |= {"at": f"{now:%Y-%m-%d %H:%M} UTC", "versions": _versions()}
    file.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def report(folder: Path, kept: str = "") -> str:
    """Markdown of the parts' figures. Args: kept: RESULTS.md; parts whose figures it has are left out."""
    lines: list[str] = []
    devices: set[str] = set()
    for name in PARTS:
        file = folder / f"{name}.json"
        mark = _mark(name, file) if file.exists() else ""
        if not mark or mark in kept:
            continue
        try:
            part = dict(json.loads(file.read_text(encoding="utf-8")))
            told = [f"This part {part['failed']}.", ""] if "failed" in part else []
            if "failed" not in part or "sides" in part or "table" in part:
                told += _TABLES.get(name, _training)(part)
        except (ValueError, KeyError, TypeError) as error:
            part, told = {}, [f"{file} is damaged or of another version ({error!r}): run the part again."]
        devices |= {str(part["device"])} if "device" in part else set()
        stamp = "; ".join(str(part[key]) for key in ("at", "versions") if key in part)
        lines += ["", f"**{name}** ({mark}{'; ' if stamp else ''}{stamp})", "", *told]
    if not lines:
        return ""
    where = " and ".join(sorted(devices)) or "a device that no part lived to name"
    heading = f"## On {where}, {dt.datetime.now(dt.UTC):%Y-%m-%d}: `on_gpu.sh`"
    return "\n".join([heading, "", "Random weights, lengths of Common Voice 11.", *lines]) + "\n"


def _mark(name: str, file: Path) -> str:
    """By which RESULTS.md shows that it has these very figures."""
    return f"figures {hashlib.sha256(name.encode() + file.read_bytes()).hexdigest()[:8]}"


def _versions() -> str:
    named = [f"Python {sys.version.split()[0]}"]
    for name in VERSIONS:
        try:
            named.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            named.append(f"{name} not installed")
    return ", ".join(named)


def _training(part: dict[str, Any]) -> list[str]:
    from floors import step_bytes

    heads = (
        *("clips/s", "floor of FLOP, clips/s", "ms a step", "floor of its weights' bytes, ms"),
        *("frames computed / needed", "% of peak", "memory, GB", "batch, s", "in"),
    )
    rows, failed = [], []
    for side, one in part["sides"].items():
        if isinstance(one, str):
            failed.append(f"{side}: {one}")
            continue
        rows.append(
            (
                side,
                f"{one['clips'] / one['seconds']:.1f}",
                f"{one['peak'] * one['clips'] / one['needed_flops']:.0f}",
                f"{1e3 * one['seconds'] / one['steps']:.1f}",
                f"{1e3 * step_bytes(int(one['weights'])) / one['peak_bytes']:.2f}",
                f"{one['ratio']:.3f}",
                f"{100 * one['flops'] / one['seconds'] / one['peak']:.1f}",
                f"{one['memory_gb']:.1f}",
                f"{one['batch_s']:.0f}",
                "bf16" if one["bf16"] else "fp32",
            )
        )
    caption = f"Fine-tuning {part['model']}, mean clip {part['mean_s']} s, {part['steps']} steps each:"
    return [caption, "", *_table(("side", *heads), rows), *(f"\n{line}" for line in failed)]


def _evaluation(part: dict[str, Any]) -> list[str]:
    heads = (
        *("clips/s", "floor, clips/s", "encoder frames computed / needed"),
        *("GPU memory, GiB", "tokens as in fp32"),
    )
    floor = _decoding_floor(part)
    rows = [
        (
            side,
            f"{one['clips_per_s']:.1f}",
            floor,
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


def _decoding_floor(part: dict[str, Any]) -> str:
    """Clips a second that the card allows, in words; empty where the part does not say enough."""
    from floors import Card, decoding_s

    if not {"config", "tokens", "batch_s", "peak", "peak_bytes"} <= set(part):
        return ""
    batches = max(1, round(part["clips"] * part["mean_s"] / part["batch_s"]))
    least_s = decoding_s(
        SimpleNamespace(**part["config"]),
        round(100 * part["mean_s"]),
        part["tokens"],
        part["clips"],
        batches,
        Card("", part["peak"], part["peak_bytes"]),
    )
    return f"{part['clips'] / least_s:.0f}"


def _exactness(part: dict[str, Any]) -> list[str]:
    rows = [
        (name, f"{100 * one['equal']:.3f} %", f"{one['largest']:.3g}") for name, one in part["sides"].items()
    ]
    caption = f"A run of {part['steps']} steps of {part['model']} that was killed, against one in peace:"
    return [caption, "", *_table(("runs", "weights equal bit by bit", "largest difference"), rows)]


def _preparation(part: dict[str, Any]) -> list[str]:
    return ["Preparation on one of its processor's cores:", "", *part["table"]]


_TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "evaluate": _evaluation,
    "resume": _exactness,
    "prepare": _preparation,
}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ends = " | ".join("---:" if place else "---" for place in range(len(heads)))
    return [f"| {' | '.join(heads)} |", f"| {ends} |", *(f"| {' | '.join(row)} |" for row in rows)]


def _tell(folder: Path, device: str) -> None:
    """Show all figures, and add to RESULTS.md those that it lacks."""
    shown = report(folder)
    if not shown:
        raise SystemExit(f"no part left figures in {folder}")
    print(shown)
    (folder / "report.md").write_text(shown, encoding="utf-8")
    if device == "cpu":
        return
    section = report(folder, RESULTS.read_text(encoding="utf-8"))
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(f"\n{section}" if section else "")
    print(f"{RESULTS}: {'the new figures were added' if section else 'has these figures already'}")


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "missing":
        print("\n".join(missing()))
    elif what == "check":
        if problem := check(*rest):
            raise SystemExit(problem)
        if old := outdated():
            print(f"older than pyproject.toml asks for, tried all the same: {', '.join(old)}")
    elif what == "begin":
        begin(Path(rest[0]))
    elif what == "end":
        end(Path(rest[0]), int(rest[1]), Path(rest[2]))
    elif what == "report":
        _tell(Path(rest[0]), rest[1])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
