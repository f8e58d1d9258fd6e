"""The command for a GPU, as far as a machine without one shows: what it lacks, shows and keeps."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from speech_models import small_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu_results
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.model.models import random_model
from dagsverk.speech.training.examples import Example
from dagsverk.speech.training.learner import make_learner

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))  # its scripts import each other as scripts do

import bench_train  # noqa: E402
from floors import Card, decoding_s, forward_flops, step_bytes, training_flops  # noqa: E402


def command(*parts, **settings):
    environment = {**os.environ, "PYTHONPATH": ".", **settings}
    script = ["bash", "benchmarks/on_gpu.sh", *parts]
    return subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """What `bench_train` keeps of two sides, and of one that failed."""
    folder = tmp_path_factory.mktemp("figures")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    bench_train.lay_out(folder, "nano", 12, 2.0)
    asked = argparse.Namespace(
        steps=4, batch_s=8.0, precision="auto", augment=True, profile=True, side="ours", mean_s=2.0
    )
    asked.model_config = "nano"
    sides = {name: bench_train.SIDES[name](folder, asked) for name in ("ours", "encoder alone")}
    yield {**sides, "recipe": "ended with 1: OutOfMemoryError: so much"}, asked
    patch.undo()


@pytest.fixture
def kept(figures, tmp_path, monkeypatch):
    """A folder with a part's figures, and a RESULTS.md of its own."""
    sides, asked = figures
    bench_train.keep(tmp_path / "small.json", asked, "NVIDIA H100", sides)
    (tmp_path / "small.log").write_text("")
    gpu_results.end(tmp_path / "small.json", 0, tmp_path / "small.log")
    monkeypatch.setattr(gpu_results, "RESULTS", tmp_path / "RESULTS.md")
    gpu_results.RESULTS.write_text("# Results\n")
    return tmp_path


def test_the_formula_counts_the_very_multiplications_of_an_encoder_and_of_a_step():
    model = random_model("nano").model
    frames, tokens = 120, 9
    work = forward_flops(model.config, frames, tokens)
    mels = torch.randn(1, 80, frames)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encode(model, mels)
    assert counter.get_total_flops() == work.convolutions + work.encoder
    example = Example(mels, torch.arange(tokens)[None], torch.arange(tokens), torch.arange(tokens))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        make_learner(model, FinetuneConfig())(example).backward()
    spared = 2 * 3 * model.config.d_model * 80 * frames  # nobody asks for the gradient of the spectra
    assert counter.get_total_flops() == training_flops(model.config, frames, tokens) - spared


def test_the_floor_of_decoding_is_arithmetic_where_bytes_are_free_and_bytes_where_arithmetic_is():
    config = small_model().model.config
    free = float("inf")
    one, two = (decoding_s(config, 400, 20, 10, batches, Card("", free, 1e9)) for batches in (1, 2))
    assert two > one  # each batch reads the weights
    work = forward_flops(config, 400, 20).whole
    assert decoding_s(config, 400, 20, 10, 1, Card("", 1e9, free)) == pytest.approx(10 * work / 1e9)
    assert step_bytes(10) == 420


def test_figures_are_shown_beside_their_floors_and_a_side_that_failed_says_why(kept):
    shown = gpu_results.report(kept)
    (row,) = (line for line in shown.splitlines() if line.startswith("| ours |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 10 and all(float(cell) > 0 for cell in cells[1:3])
    assert cells[-1] == "fp32"
    assert "## On NVIDIA H100, " in shown and "| encoder alone |" in shown
    assert f"torch {torch.__version__}" in shown
    assert "recipe: ended with 1: OutOfMemoryError: so much" in shown


def test_figures_are_added_to_the_results_once_and_a_part_that_is_run_again_leaves_the_others(kept, capsys):
    gpu_results._tell(kept, "auto")
    once = gpu_results.RESULTS.read_text()
    assert once.startswith("# Results\n\n## On NVIDIA H100, ") and (kept / "report.md").exists()
    gpu_results._tell(kept, "auto")
    assert gpu_results.RESULTS.read_text() == once
    log = kept / "resume.log"
    log.write_text("Traceback\nAssertionError: not killed\n")
    gpu_results.end(kept / "resume.json", 1, log)
    gpu_results._tell(kept, "auto")
    added = gpu_results.RESULTS.read_text().removeprefix(once)
    assert "**resume**" in added and "This part ended with 1: AssertionError: not killed." in added
    assert "**small**" not in added
    assert "**small**" in capsys.readouterr().out  # shown all the same


def test_a_part_that_begins_again_shows_no_figures_of_before_and_one_that_is_late_shows_what_it_had(kept):
    before = (kept / "small.json").read_text()
    gpu_results.begin(kept / "small.json")
    assert gpu_results.report(kept) == ""
    (kept / "small.json").write_text(before)
    gpu_results.end(kept / "small.json", 124, kept / "small.log")
    shown = gpu_results.report(kept)
    assert "This part took longer than its limit." in shown and "| ours |" in shown
    (kept / "small.json").write_text(before[:-20])  # killed while it wrote
    gpu_results.end(kept / "small.json", 137, kept / "small.log")
    assert "This part took longer than its limit." in gpu_results.report(kept)


@pytest.mark.parametrize("content", ["{", '{"sides": {"ours": {"clips": 3}}}', "[]", '{"table": 3}'])
def test_a_file_that_is_damaged_or_of_another_version_is_named_and_the_others_are_shown(kept, content):
    (kept / "prepare.json").write_text(content)
    shown = gpu_results.report(kept)
    assert "prepare.json is damaged or of another version" in shown and "| ours |" in shown


def test_what_a_figure_that_is_no_number_means_is_still_a_table(kept):
    part = json.loads((kept / "small.json").read_text())
    for side in ("ours", "encoder alone"):
        part["sides"][side] |= {"peak": float("nan"), "peak_bytes": float("nan")}  # a card nobody knows
    (kept / "small.json").write_text(json.dumps(part))
    assert "| nan |" in gpu_results.report(kept)


def test_a_python_that_lacks_packages_is_told_so_in_one_line_with_the_command_that_gets_them(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    done = command(PYTHON=str(bare), OUT=str(tmp_path / "out"))
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "-m pip install torch transformers" in line and "WHEELS=folder" in line


@pytest.mark.parametrize(
    ("parts", "settings", "words"),
    [
        (["smal"], {}, "no part smal; parts: small filled medium large evaluate resume prepare"),
        ([], {"DEVICE": "cuda"}, "DEVICE is auto or cpu, not cuda"),
    ],
)
def test_a_slip_in_the_command_is_named_before_anything_runs(tmp_path, parts, settings, words):
    done = command(*parts, OUT=str(tmp_path / "out"), **settings)
    assert (done.returncode, done.stdout.strip()) == (2, words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_how_to_try_it(tmp_path):
    done = command(PYTHON=sys.executable, OUT=str(tmp_path / "out"))
    assert done.returncode == 1
    assert "sees no GPU; DEVICE=cpu SIZE=nano CLIPS=60" in done.stdout + done.stderr
