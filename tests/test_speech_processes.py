"""Runs shared by several processes, on two CPU processes that talk through gloo."""

import json
import socket

import pytest
import torch
from safetensors.torch import load_file
from training_process import STOPPED, Trainer
from training_runs import Recorder, make_model, make_set, tiny_config

from dagsverk.speech.errors import Interrupted, Killed, ModelError, SpeechError
from dagsverk.speech.runs import CheckpointRef, run_config
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.checkpoints import newest
from dagsverk.speech.training.fit import fit
from dagsverk.speech.training.launching import outcome
from dagsverk.store import NotFound, open_store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    make_model(folder / "model")
    yield folder
    patch.undo()


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def together(store, set_id, config, count=2):
    """So many processes of one run, as `torchrun` would start them."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [
        Trainer(store.url, set_id, config, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank in range(count)
    ]


def weights_of(store, ref, folder):
    return load_file(checkpoints.whole(store, ref.run, ref.step, folder / "cache")[checkpoints.MODEL])


def test_two_processes_take_the_steps_of_one_with_the_same_batches(place):
    store = open_store(str(place / "shared"))
    set_id = make_set(store)
    config = tiny_config(str(place / "model"), steps=5, evaluate_every=5, spec_augment=True)
    first, second = together(store, set_id, config)
    words = first.wait_for("never")
    assert words[-1][0] == "done"
    assert second.wait_for("never") == [("done", 5)]  # tells nothing but its end
    assert [word for word in words if word[0] == "step"] == [("step", number) for number in range(1, 6)]
    (run,) = {path.split("/")[3] for path in store.list("speech/swedish/runs")}
    assert run_config(store, run).groups_per_step == 2

    alone = open_store(str(place / "alone"))
    accumulating = tiny_config(str(place / "model"), steps=5, evaluate_every=5, accumulate=2)
    ref = fit(alone, make_set(alone), "sv", accumulating)
    one, two = (newest(s, r, place / "cache")[0] for s, r in ((alone, ref.run), (store, run)))
    assert (one.step, one.trail, one.position) == (two.step, two.trail, two.position)
    for mine, other in zip(one.curve, two.curve, strict=True):
        alike = (
            {**vars(other), "clips_per_s": mine.clips_per_s} if hasattr(mine, "clips_per_s") else vars(other)
        )
        assert type(mine) is type(other)
        assert vars(mine) == pytest.approx(alike, rel=1e-4)
    shared, single = weights_of(store, CheckpointRef(run, 5), place), weights_of(alone, ref, place)
    # sums in another order: Adam's steps are up to 2e-3, and differ by rounding only
    assert all(torch.allclose(shared[name], single[name], atol=2e-4) for name in single)


def test_sigterm_to_one_process_stops_all_at_the_same_step_and_another_number_of_them_goes_on(place):
    store = open_store(str(place / "stopped"))
    set_id = make_set(store)
    config = tiny_config(str(place / "model"), evaluate_every=12)
    first, second = together(store, set_id, config)
    first.wait_for("step", 1)
    second.process.terminate()
    rest = first.wait_for("never")
    assert (first.end(), second.end()) == (STOPPED, STOPPED)
    progress = Recorder()
    fit(store, set_id, "sv", config, progress)
    assert progress.begun_after == (rest[-1][1] if rest else 1)
    assert progress.steps[-1] == 12


def test_the_launcher_starts_processes_relays_their_progress_and_brings_back_the_end(place):
    store = open_store(str(place / "launched"))
    set_id = make_set(store)
    progress = Recorder()
    ref = fit(store, set_id, "sv", tiny_config(str(place / "model"), steps=3, processes=2), progress)
    assert (progress.begun_after, progress.best, progress.validated_after) == (0, ref.step, [3])
    assert run_config(store, ref.run).groups_per_step == 2


@pytest.mark.parametrize(
    ("left", "code", "error", "words"),
    [
        ({"error": "ModelError", "message": "no such model"}, 1, ModelError, "no such model"),
        ({"error": "NotFound", "message": "no such set"}, 1, NotFound, "no such set"),
        (None, -15, Interrupted, "told to stop before it began"),
        (None, 1, SpeechError, r"ended with code 1; their last words: .*MemoryError"),
        (None, -9, Killed, r"ended with code -9"),
    ],
)
def test_what_the_processes_raised_is_raised_here(tmp_path, left, code, error, words):
    (tmp_path / "log").write_text("Traceback\nMemoryError\n")
    if left:
        (tmp_path / "outcome.json").write_text(json.dumps(left))
    with pytest.raises(error, match=words):
        outcome(tmp_path, code)
