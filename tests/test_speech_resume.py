import contextlib
import hashlib
import itertools
import json
import math
import random
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file
from store_backends import BACKENDS
from training_process import STOPPED, Trainer
from training_runs import make_model, make_set, tiny_config

from dagsverk.records import from_bytes, read_json, to_bytes
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.model.models import load_model
from dagsverk.speech.runs import CheckpointRef, TrainingPoint, ValidationPoint, run_config, run_folder
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.batches import Position
from dagsverk.speech.training.checkpoints import Best, State, newest, steps
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.fit import fit, load_checkpoint
from dagsverk.speech.training.loop import make_sampler
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import Store, open_store


class Killed(BaseException):
    """What a test throws into a run, where a machine would be lost."""


class KilledAfter(Quiet):
    def __init__(self, step: int) -> None:
        self._step = step
        self.begun_after: list[int] = []

    def started(self, _run, _total, resumed_from):
        self.begun_after.append(resumed_from)

    def step(self, step, *_):
        if step == self._step:
            raise Killed


class LostAfterWrites:
    """A store whose machine is lost at its n-th write, before or after it is done."""

    def __init__(self, store: Store, writes: int, *, done: bool) -> None:
        self._store, self._left, self._done = store, writes, done

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in ("put", "put_file", "remove"):
            return method

        def counted(*args, **kwargs):
            self._left -= 1
            if self._left == 0 and not self._done:
                raise Killed
            result = method(*args, **kwargs)
            if self._left == 0:
                raise Killed
            return result

        return counted


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a prepared set, a model, and the run of `tiny_config` that nobody disturbed."""
    folder = tmp_path_factory.mktemp("resume")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    store = open_store(str(folder / "undisturbed"))
    set_id = make_set(store)
    make_model(folder / "model")
    ref = fit(store, set_id, "sv", tiny_config(str(folder / "model")))
    yield folder, set_id, ref
    patch.undo()


def end_of(store: Store, ref: CheckpointRef, cache: Path):
    """What a run came to: weights and optimiser as bytes, which clips it saw in which order, its curve."""
    state, files = newest(store, ref.run, cache)
    validations = [point for point in state.curve if isinstance(point, ValidationPoint)]
    losses = [(point.step, point.loss) for point in state.curve if isinstance(point, TrainingPoint)]
    bytes_of = {name: files[name].read_bytes() for name in (checkpoints.MODEL, checkpoints.OPTIMISER)}
    return state.step, state.trail, validations, losses, ref, bytes_of


def same_clips(folder: Path, name: str):
    """Another store with the same set, in which nothing was trained yet."""
    store = open_store(str(folder / name))
    return store, make_set(store)


@pytest.mark.parametrize("step", [1, 6, 11])
def test_a_run_lost_after_any_step_ends_with_the_same_bytes(place, step):
    folder, _, ref = place
    store, set_id = same_clips(folder, f"lost-{step}")
    config = tiny_config(str(folder / "model"))
    with pytest.raises(Killed):
        fit(store, set_id, "sv", config, KilledAfter(step))
    again = KilledAfter(-1)
    resumed = fit(store, set_id, "sv", config, again)
    assert again.begun_after == [(step - 1) // 3 * 3]  # saved every third step, told before it is saved
    undisturbed = open_store(str(folder / "undisturbed"))
    assert end_of(store, resumed, folder / "cache") == end_of(undisturbed, ref, folder / "cache")


@pytest.mark.parametrize(
    ("write", "done"), [(2, False), (3, True), (8, False), (13, True), (21, False), (22, True)]
)
def test_a_run_lost_at_any_write_ends_with_the_same_bytes(place, write, done):
    folder, _, ref = place
    store, set_id = same_clips(folder, f"write-{write}-{done}")
    config = tiny_config(str(folder / "model"))
    with pytest.raises(Killed):
        fit(LostAfterWrites(store, write, done=done), set_id, "sv", config)
    resumed = fit(store, set_id, "sv", config)
    undisturbed = open_store(str(folder / "undisturbed"))
    assert end_of(store, resumed, folder / "cache") == end_of(undisturbed, ref, folder / "cache")


def test_a_process_killed_again_and_again_at_random_steps_ends_with_the_bytes_of_an_undisturbed_one(place):
    folder, _, _ = place
    config = tiny_config(str(folder / "model"), steps=24, evaluate_every=24, checkpoint_every=2)
    whole, set_id = same_clips(folder, "whole")
    undisturbed = Trainer(whole.url, set_id, config)
    assert undisturbed.wait_for("never")[-1] == ("done", 24)
    torn, _ = same_clips(folder, "torn")
    seed = random.randrange(1000)
    at = sorted(random.Random(seed).sample(range(3, 23), 3))
    for step in at:
        trainer = Trainer(torn.url, set_id, config)
        assert trainer.wait_for("step", step)[-1] == ("step", step), (seed, at)
        trainer.process.kill()
        assert trainer.end() == -signal.SIGKILL
    assert Trainer(torn.url, set_id, config).wait_for("never")[-1] == ("done", 24), (seed, at)
    (run,) = {path.split("/")[3] for path in torn.list("speech/swedish/runs")}
    ref = CheckpointRef(run, 24)
    assert end_of(torn, ref, folder / "cache") == end_of(whole, ref, folder / "cache"), (seed, at)


def test_no_clip_is_trained_on_twice_in_an_epoch_nor_left_out(place):
    folder, set_id, ref = place
    store = open_store(str(folder / "undisturbed"))
    made = run_config(store, ref.run)
    train = Examples(
        open_prepared(store, set_id, ("train",), folder / "cache"), load_model(made.finetune.model).tokenizer
    )
    walk = make_sampler(train, made.finetune).steps(Position(), made.groups_per_step)
    seen: dict[int, list[int]] = {}
    trail = ""
    for batches, _ in itertools.islice(walk, 12):
        ids = []
        for batch in batches:
            seen.setdefault(batch.epoch, []).extend(batch.clips.tolist())
            ids += [train.rows["id"].iat[clip] for clip in batch.clips]
        trail = hashlib.sha256("\n".join([trail, *ids]).encode()).hexdigest()
    *whole, last = seen.values()
    assert whole and all(sorted(epoch) == list(range(16)) for epoch in whole)
    assert len(set(last)) == len(last)
    assert newest(store, ref.run, folder / "cache")[0].trail == trail  # and just these were trained on


def test_sigterm_saves_the_step_it_came_in_and_the_run_goes_on_from_there(place):
    folder, _, ref = place
    store, set_id = same_clips(folder, "told")
    config = tiny_config(str(folder / "model"))
    trainer = Trainer(store.url, set_id, config)
    trainer.wait_for("step", 1)
    trainer.process.terminate()
    rest = trainer.wait_for("never")
    assert trainer.end() == STOPPED
    assert steps(store, ref.run)[-1] == (rest[-1][1] if rest else 1)
    resumed = fit(store, set_id, "sv", config)
    undisturbed = open_store(str(folder / "undisturbed"))
    assert end_of(store, resumed, folder / "cache") == end_of(undisturbed, ref, folder / "cache")


def test_in_bf16_too_a_lost_run_ends_with_the_same_bytes(place):
    folder, _, _ = place
    config = tiny_config(str(folder / "model"), precision="bf16")
    ends = []
    for name, lost_after in (("bf16", -1), ("bf16, lost", 5)):
        store, set_id = same_clips(folder, name)
        with contextlib.suppress(Killed):
            fit(store, set_id, "sv", config, KilledAfter(lost_after))
        again = KilledAfter(-1)
        ref = fit(store, set_id, "sv", config, again)
        assert again.begun_after == ([3] if lost_after > 0 else [])  # a finished run is found
        ends.append(end_of(store, ref, folder / "cache"))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_every_kind_of_store_a_lost_run_ends_with_the_same_bytes(place, backend, tmp_path):
    folder, _, ref = place
    store = BACKENDS[backend](tmp_path)
    set_id = make_set(store)
    config = tiny_config(str(folder / "model"))
    with pytest.raises(Killed):
        fit(store, set_id, "sv", config, KilledAfter(5))
    resumed = fit(store, set_id, "sv", config)
    assert steps(store, ref.run) == [9, 12]
    undisturbed = open_store(str(folder / "undisturbed"))
    assert end_of(store, resumed, folder / "cache") == end_of(undisturbed, ref, folder / "cache")
    tuned = load_checkpoint(store, resumed, tmp_path / "other-machine")
    assert tuned.fingerprint() == load_checkpoint(undisturbed, ref, folder / "cache").fingerprint()


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(place, caplog):
    folder, _, ref = place
    store, set_id = same_clips(folder, "damaged")
    config = tiny_config(str(folder / "model"))
    with pytest.raises(Killed):
        fit(store, set_id, "sv", config, KilledAfter(8))
    damaged = f"{run_folder(ref.run)}/checkpoints/000006"
    weights = bytearray(store.get(f"{damaged}/model.safetensors"))
    weights[-5] ^= 1
    store.put(f"{damaged}/model.safetensors", bytes(weights), overwrite=True)
    again = KilledAfter(-1)
    resumed = fit(store, set_id, "sv", config, again)
    assert again.begun_after == [3]
    assert f"{damaged} in {store.url} is damaged: model.safetensors" in caplog.text
    undisturbed = open_store(str(folder / "undisturbed"))
    assert end_of(store, resumed, folder / "cache") == end_of(undisturbed, ref, folder / "cache")


def test_the_state_that_an_older_version_saved_is_read_and_saved_with_what_came_since():
    older = (
        '{"step": 3, "position": {"epoch": 1, "index": 2}, "trail": "ab", "curve": [{"step": 3, "loss": 2.5, '
        '"learning_rate": 0.002, "clips_per_s": 55.1}, {"step": 3, "dev_loss": 2.25, "dev_wer": null, '
        '"dev_cer": 0.5}], "recent": [2.75], "best": {"step": 3, "rank_wer": Infinity, "dev_loss": 2.25}}'
    )
    state = from_bytes(older.encode(), State, "an older checkpoint")
    assert (state.step, state.position, state.recent) == (3, Position(1, 2), (2.75,))
    assert state.best == Best(step=3, rank_wer=math.inf, dev_loss=2.25)
    assert [type(point) for point in state.curve] == [TrainingPoint, ValidationPoint]
    assert json.loads(to_bytes(state)) == {**json.loads(older), "seen": [], "seconds": 0.0}


def test_the_newest_checkpoints_and_the_best_one_are_kept(place):
    folder, _, ref = place
    store = open_store(str(folder / "undisturbed"))
    assert set(steps(store, ref.run)) == {9, 12, ref.step}
    assert read_json(store, f"{run_folder(ref.run)}/finished.json")["step"] == ref.step


def test_a_finished_run_is_found_again_and_nothing_is_written(place):
    folder, set_id, ref = place
    store = open_store(str(folder / "undisturbed"))
    before = store.list("")
    changed = tiny_config(str(folder / "model"), keep_checkpoints=1, checkpoint_every=5)  # changes no weight
    assert fit(LostAfterWrites(store, 1, done=False), set_id, "sv", changed) == ref
    assert store.list("") == before


def test_a_checkpoint_loads_as_the_model_that_was_trained(place):
    folder, _, ref = place
    store = open_store(str(folder / "undisturbed"))
    tuned = load_checkpoint(store, ref, folder / "cache")
    saved = load_file(checkpoints.whole(store, ref.run, ref.step, folder / "cache")[checkpoints.MODEL])
    assert len(saved) > 20
    held = dict(tuned.model.named_parameters())
    assert all(bool((held[name] == tensor).all()) for name, tensor in saved.items())
