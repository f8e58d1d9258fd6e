import json
from dataclasses import replace

import pytest
import torch
from speech_models import small_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import Recorder, make_model, make_set, tiny_config

from dagsverk.records import read_json
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.runs import (
    NEUTRAL,
    TrainingPoint,
    ValidationPoint,
    cost,
    curve,
    note_cost,
    run_config,
    run_folder,
    run_id,
)
from dagsverk.speech.training.fit import base_model, fit, load_checkpoint
from dagsverk.speech.training.progress import (
    EventReader,
    EventWriter,
    Several,
    TensorBoard,
    Throttled,
)
from dagsverk.store import NotFound, open_store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store with a set in it, and the name of a model folder."""
    folder = tmp_path_factory.mktemp("training")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    store = open_store(str(folder / "store"))
    yield store, make_set(store), make_model(folder / "model"), folder
    patch.undo()


@pytest.mark.slow
def test_a_run_learns_and_its_best_checkpoint_is_the_one_with_least_errors_on_dev(place):
    store, set_id, model, _ = place
    config = tiny_config(
        model, steps=90, batch_s=30.0, learning_rate=5e-3, evaluate_every=30, spec_augment=False,
        translate_share=0.0, checkpoint_every=90, keep_checkpoints=1
    )  # fmt: skip
    progress = Recorder()
    ref = fit(store, set_id, "sv", config, progress)
    points = curve(store, ref.run)
    losses = [point.loss for point in points if isinstance(point, TrainingPoint)]
    validations = [point for point in points if isinstance(point, ValidationPoint)]
    ranks = {point.step: (point.dev_wer, point.dev_loss) for point in validations}
    assert losses[-1] < losses[0] / 3
    assert list(ranks) == progress.validated_after == [30, 60, 90]
    assert ref.step == min(ranks, key=lambda step: ranks[step])
    assert progress.best == ref.step
    assert progress.steps == list(range(1, 91))


def test_the_default_settings_of_nano_make_a_run(place):
    store, set_id, _, _ = place
    ref = fit(store, set_id, "sv", FinetuneConfig(steps=2, processes=1))
    settings = run_config(store, ref.run)
    assert None not in settings.finetune.to_dict().values()
    assert (settings.set_id, settings.language, settings.clips, settings.dev_clips) == (set_id, "sv", 16, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_rank": 2},
        {"lora_rank": 2, "freeze_encoder": True},
        {"freeze_encoder": True, "windows": "full", "batch_s": 60.0},
        {"gradient_checkpointing": True, "accumulate": 2, "decay": "cosine", "label_smoothing": 0.1},
        {"precision": "bf16"},
    ],
    ids=" ".join,
)
def test_every_way_to_train_moves_the_weights_and_its_checkpoint_loads(place, changes):
    store, set_id, model, folder = place
    config = tiny_config(model, steps=2, evaluate_every=2, **changes)
    ref = fit(store, set_id, "sv", config)
    tuned = load_checkpoint(store, ref, folder / "cache")
    base = base_model(store, ref.run)
    assert tuned.fingerprint() != base.fingerprint()
    names = dict(base.model.named_parameters()).keys()
    assert dict(tuned.model.named_parameters()).keys() == names  # LoRA is merged
    assert not any(weight.requires_grad for weight in tuned.model.parameters())
    encoder = tuned.model.get_encoder().state_dict()
    same = all(
        torch.equal(encoder[name], weight) for name, weight in base.model.get_encoder().state_dict().items()
    )
    assert same == ("freeze_encoder" in changes)
    save_model_folder(tuned, folder / f"saved-{ref.run}", language="sv")


def test_a_run_is_named_by_what_decides_its_weights(place):
    _, set_id, model, _ = place
    config, swedish = tiny_config(model), language("sv")
    name = run_id("a", set_id, config, swedish)
    changes = {"processes": 5, "checkpoint_every": 7, "keep_checkpoints": 9, "push_to_hub": "me/mine"}
    assert set(changes) == set(NEUTRAL)
    assert run_id("a", set_id, replace(config, **changes), swedish) == name
    others = {
        run_id("b", set_id, config, swedish),
        run_id("a", "sv-other", config, swedish),
        run_id("a", set_id, replace(config, seed=1), swedish),
        run_id("a", set_id, config, language("it")),
    }
    assert len(others) == 4 and name not in others
    assert run_folder(name) == f"speech/swedish/runs/{name}"
    with pytest.raises(SpeechError, match="no run"):
        run_folder("../secrets")


@pytest.mark.parametrize(
    ("config", "run"),
    [
        (FinetuneConfig(), "sv-6cf3b8a698f2fba9"),
        (
            FinetuneConfig(model="openai/whisper-small", steps=400, learning_rate=1e-5, lora_rank=32),
            "sv-6d33bc98c45f570d",
        ),
    ],
    ids=lambda value: getattr(value, "model", value),
)
def test_runs_that_were_begun_by_an_older_version_keep_their_names(config, run, monkeypatch):
    monkeypatch.setattr("dagsverk.speech.runs.package_version", lambda: "0.1.0")
    assert run_id("a" * 64, "sv-0123456789abcdef", config, language("sv")) == run


def test_a_set_of_another_number_of_mel_bins_is_refused(place, tmp_path):
    store, set_id, _, _ = place
    wide = small_model()
    convolution = wide.model.get_encoder().conv1
    wide.model.get_encoder().conv1 = torch.nn.Conv1d(128, convolution.out_channels, 3, padding=1)
    wide.model.config.num_mel_bins = 128
    save_model_folder(replace(wide, n_mels=128), tmp_path, language="sv")
    with pytest.raises(ModelError, match=r"128 mel bins, sv-.* has 80; prepare a set with n_mels 128"):
        fit(store, set_id, "sv", tiny_config(str(tmp_path)))


def test_a_set_of_another_language_and_an_absent_one_are_refused(place):
    store, set_id, model, _ = place
    with pytest.raises(SpeechError, match="is of language sv"):
        fit(store, set_id, "it", tiny_config(model))
    with pytest.raises(NotFound):
        fit(store, "sv-0000000000000000", "sv", tiny_config(model))


def test_a_loss_that_is_no_number_stops_the_run_in_words_and_saves_nothing(place):
    store, set_id, model, _ = place
    config = tiny_config(
        model, learning_rate=0.1, max_grad_norm=1e30, warmup_share=0.0, weight_decay=1.0, seed=5
    )
    progress = Recorder()
    broken = small_model()
    torch.nn.init.constant_(broken.model.model.decoder.layers[0].fc1.weight, 1e38)
    folder = place[3] / "broken"
    save_model_folder(broken, folder, language="sv")
    with pytest.raises(SpeechError, match=r"in step 1 the loss is nan.*learning_rate below 0\.1"):
        fit(store, set_id, "sv", replace(config, model=str(folder)), progress)
    assert progress.steps == []


def test_a_run_begun_by_another_version_is_said_to_be(place):
    store, set_id, model, _ = place
    ref = fit(store, set_id, "sv", tiny_config(model, steps=1, evaluate_every=1, seed=9))
    path = f"{run_folder(ref.run)}/config.json"
    store.put(path, json.dumps({**read_json(store, path), "unheard": 1}).encode(), overwrite=True)
    with pytest.raises(SpeechError, match=r"begun by another version of Dagsverk.*unheard"):
        run_config(store, ref.run)


def test_a_base_model_that_became_another_is_not_mistaken_for_the_old_one(place):
    store, set_id, _, folder = place
    name = make_model(folder / "moving")
    ref = fit(store, set_id, "sv", tiny_config(name, steps=1, evaluate_every=1))
    save_model_folder(small_model(seed=1), folder / "moving", language="sv")
    with pytest.raises(ModelError, match="is not the model any more that"):
        load_checkpoint(store, ref, folder / "cache")


def test_progress_reaches_tensorboard_and_another_process(tmp_path):
    relayed, throttled = Recorder(), Recorder()
    writer = EventWriter(tmp_path / "events")
    reader = EventReader(tmp_path / "events", relayed)
    reader.relay()  # nothing is written yet
    everyone = Several(TensorBoard(tmp_path), writer, Throttled(throttled, every_s=3600))
    everyone.started("sv-1", 3, 0)
    for step in (1, 2, 3):
        everyone.step(step, 1.0 / step, 1e-3, 12.0)
        reader.relay()
    everyone.validated(3, 0.5, 0.25, 0.125)
    everyone.finished(3)
    with (tmp_path / "events").open("a") as file:
        file.write('["step", 4')  # a line that is being written
    reader.relay()
    assert relayed.steps == [1, 2, 3]
    assert (throttled.steps, throttled.validated_after, throttled.best) == ([1], [3], 3)
    events = EventAccumulator(str(tmp_path / "sv-1")).Reload()
    assert [point.value for point in events.Scalars("loss/train")] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [point.value for point in events.Scalars("dev/wer")] == [0.25]


def test_what_a_run_leaves_is_json_that_others_can_read(place):
    store, set_id, model, _ = place
    ref = fit(store, set_id, "sv", tiny_config(model, steps=2, evaluate_every=1))
    root = run_folder(ref.run)
    written = [path for path in store.list(root) if path.endswith(".json")]
    assert {f"{root}/config.json", f"{root}/curve.json", f"{root}/finished.json"} <= set(written)
    for path in written:
        json.loads(store.get(path), parse_constant=pytest.fail)  # no NaN
    assert read_json(store, f"{root}/config.json")["config"]["model"] == model
    spent = cost(store, ref.run)
    assert spent["seconds"] > 0
    assert spent["device"]
    note_cost(store, ref.run, {"flow_run": "f", "run": "speech-training sv", "machine": "another"})
    assert cost(store, ref.run) == {**spent, "flow_run": "f", "run": "speech-training sv"}
    assert not [path for path in store.list(root) if path.endswith((".bin", ".pt", ".pkl"))]
