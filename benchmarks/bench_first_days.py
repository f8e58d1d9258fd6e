"""A whole first day on tables that packages ship: time, peak memory and scores.

The systems are the files in `table_systems`, written as a user would write them. Each day (ingest,
cross-validate every model class, register, synthesise, predict, monitor) runs in a process of its own on an
empty store, as plain functions: what Prefect adds is measured by `bench_day.py`. Seconds are the clock's,
beside the processor's; peak memory is the greatest that the process held. Penguins need the package
palmerpenguins, and are left out without it.

Run from the root: python benchmarks/bench_first_days.py [--systems wine digits] [--verbose]
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = ("wine", "breast_cancer", "digits", "penguins", "rare", "wide")
DATE = dt.date(2026, 1, 31)
STEPS = ("ingest", "cross-validate", "register", "synthesise", "predict", "monitor")


def day(name: str, store: str, verbose: bool) -> dict[str, Any]:
    """One day, step by step, in this process: seconds of each, and what came of it."""
    sys.path.insert(0, str(ROOT))
    os.environ["DAGSVERK_STORE"] = store
    import dagsverk.tabular.systems as package

    package.__path__.append(str(ROOT / "benchmarks" / "table_systems"))
    from dagsverk.records import last_report
    from dagsverk.store import open_store
    from dagsverk.tabular.config import TrainingConfig
    from dagsverk.tabular.days import SynthesisConfig
    from dagsverk.tabular.reports import Monitored, Trained
    from tasks import tabular as tasks

    if verbose:
        _show_the_log()
    config, seconds, begun = TrainingConfig(), {}, time.perf_counter()

    def lap(step: str, result: Any) -> Any:
        nonlocal begun
        seconds[step], begun = time.perf_counter() - begun, time.perf_counter()
        return result

    rows = lap("ingest", tasks.ingest.fn(name))
    scores = [tasks.cross_validate.fn(name, rows, each, config) for each in config.model_classes]
    lap("cross-validate", scores)
    lap("register", tasks.register_best.fn(name, rows, scores, config))
    lap("synthesise", tasks.synthesize.fn(name, DATE, SynthesisConfig()))
    lap("predict", tasks.predict.fn(name))
    lap("monitor", tasks.monitor.fn(name))
    opened = open_store()
    trained = last_report(opened, name, "training", Trained)
    monitored = last_report(opened, name, "monitoring", Monitored)
    champion = opened.champion(name)
    assert trained and monitored and champion
    return {
        "rows": int(champion.info["decision"]["numbers"]["rows"]),
        "inputs": len(champion.schema) - 1,
        "seconds": seconds,
        "best": _best(trained),
        "alerts": list(monitored.alerts),
    }


def _show_the_log() -> None:
    import logging

    logging.getLogger("tasks.logs").setLevel(logging.INFO)


def _best(trained: Any) -> dict[str, str]:
    from dagsverk.words import interval

    best = trained.compared[0]
    shown = ("accuracy", "balanced_accuracy", "average_precision", "log_loss")
    scores = {name: getattr(best, name) for name in shown}
    calibrated = ", calibrated" if best.calibrated else ""
    words = {name: interval(s.mean, s.low, s.high) for name, s in scores.items()}
    return {"model": f"{best.model_class}{calibrated}", "measure": trained.measure, **words}


def measure(name: str, verbose: bool) -> dict[str, Any]:
    """The day in a child of its own; with its processor seconds and peak memory."""
    with tempfile.TemporaryDirectory(prefix="dagsverk-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--day", name, "--store", f"{folder}/store", "--to", str(result)]
        begun = time.perf_counter()
        child = subprocess.Popen([*command, *(["--verbose"] if verbose else [])], cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the day of {name} ended with {child.returncode}")
        content: dict[str, Any] = json.loads(result.read_text())
    return {
        **content,
        "total_s": time.perf_counter() - begun,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


def table(days: dict[str, dict[str, Any]]) -> str:
    heads = [
        "table",
        "rows x inputs",
        "day, s",
        "processor, s",
        "peak, GiB",
        *(f"{s}, s" for s in STEPS[1:4]),
    ]
    heads += [
        "best model",
        "chosen by",
        "accuracy",
        "balanced accuracy",
        "average precision",
        "log-loss",
        "alerts",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, d in days.items():
        cells = [name, f"{d['rows']:,} x {d['inputs']}", f"{d['total_s']:.0f}", f"{d['cpu_s']:.0f}"]
        cells += [f"{d['peak_gib']:.2f}", *(f"{d['seconds'][step]:.0f}" for step in STEPS[1:4])]
        cells += [*d["best"].values(), str(len(d["alerts"]))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chosen(names: Sequence[str]) -> list[str]:
    """Those whose data are installed."""
    here = importlib.util.find_spec("palmerpenguins") is not None
    if not here and "penguins" in names:
        print("penguins are left out: pip install palmerpenguins")
    return [name for name in names if name != "penguins" or here]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--verbose", action="store_true", help="show each task's log")
    parser.add_argument("--day", help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.day:
        asked.to.write_text(json.dumps(day(asked.day, asked.store, asked.verbose)))
        return
    days = {}
    for name in chosen(asked.systems):
        days[name] = measure(name, asked.verbose)
        print(f"{name}: {days[name]['total_s']:.0f} s", flush=True)
        for alert in days[name]["alerts"]:
            print(f"  alert: {alert}")
    print("\n" + table(days))


if __name__ == "__main__":
    main()
