"""How exactly a killed fine-tuning goes on: its weights against those of one that nobody killed.

Run from the root: python benchmarks/bench_resume.py [--model-config nano] [--steps 24] [--kill-at 13]

Three runs of the same clips, each in a process of its own: one in peace; one killed with SIGKILL after a
step, started again and finished; and one more in peace, which says how far two equal runs differ anyhow.
On a CPU in fp32 all are equal bit by bit. On a GPU some sums are made in another order each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from training_noise import lay_out

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.training.fit import fit, load_checkpoint
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import open_store


class Deadly(Quiet):
    """Ends its process, as a machine that is taken away does."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at

    def step(self, step: int, *_: float) -> None:
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, name: str, arguments: argparse.Namespace, kill_at: int) -> None:
    """One run, in this process. Its weights end in a file."""
    store = open_store(str(folder / name))
    config = FinetuneConfig(
        model=str(folder / "model"),
        steps=arguments.steps,
        batch_s=arguments.batch_s,
        checkpoint_every=5,
        evaluate_every=arguments.steps,
        processes=1,
    )
    chosen = fit(store, (folder / "set").read_text(), "sv", config, Deadly(kill_at))
    weights = load_checkpoint(store, chosen, folder / f"{name}-cache").model.state_dict()
    torch.save({key: tensor.cpu() for key, tensor in weights.items()}, folder / f"{name}.pt")


def run(folder: Path, name: str, words: list[str], kill_at: int = 0) -> int:
    """Its exit status."""
    command = [sys.executable, __file__, *words, "--name", name, "--folder", str(folder)]
    environment = {
        **os.environ,
        "DAGSVERK_CACHE": str(folder / f"{name}-cache"),
        "PYTHONPATH": str(Path.cwd()),
    }
    return subprocess.run([*command, "--killed", str(kill_at)], env=environment, check=False).returncode


def difference(folder: Path, one: str, other: str) -> dict[str, float]:
    """The largest difference of a weight, and the share of weights that are equal bit by bit."""
    a, b = (torch.load(folder / f"{name}.pt", weights_only=True) for name in (one, other))
    largest = max(float((a[key].double() - b[key].double()).abs().max()) for key in a)
    equal, count = sum(int((a[key] == b[key]).sum()) for key in a), sum(a[key].numel() for key in a)
    return {"largest": largest, "equal": equal / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model-config", default="nano", help="nano, tiny, base, small, …")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--kill-at", type=int, default=13, help="the step after which a run is killed")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--batch-s", type=float, default=64.0)
    parser.add_argument("--json", type=Path, help="keep the figures here, too")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--killed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.name:
        train(arguments.folder, arguments.name, arguments, arguments.killed)
        return
    with tempfile.TemporaryDirectory(prefix="bench-resume-") as temporary:
        folder = Path(temporary)
        lay_out(folder, arguments.model_config, arguments.clips, arguments.mean_s)
        for name in ("peace", "killed", "again"):
            shutil.copytree(folder / "store", folder / name)
        words = sys.argv[1:]
        assert run(folder, "killed", words, arguments.kill_at) == -signal.SIGKILL
        assert [run(folder, name, words) for name in ("peace", "killed", "again")] == [0, 0, 0]
        figures = {
            "killed and resumed": difference(folder, "peace", "killed"),
            "two in peace": difference(folder, "peace", "again"),
        }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{arguments.model_config}, {arguments.steps} steps, killed after {arguments.kill_at}, {device}")
    for name, one in figures.items():
        print(
            f"{name:20}{100 * one['equal']:9.3f} % equal bit by bit; largest difference {one['largest']:.3g}"
        )
    if arguments.json:
        about = {"device": device, "model": arguments.model_config, "steps": arguments.steps}
        arguments.json.write_text(json.dumps({**about, "sides": figures}, indent=1))


if __name__ == "__main__":
    main()
