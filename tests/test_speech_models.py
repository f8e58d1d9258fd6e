import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from speech_models import small_model
from transformers import AutoProcessor, pipeline

from dagsverk.speech.errors import ModelError
from dagsverk.speech.model.models import load_model, random_model, save_model_folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model_folder(small_model(), folder, language="sv")
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_nano_is_small_fresh_and_the_same_for_a_seed():
    first, again, other = load_model("nano"), load_model("nano"), load_model("nano", seed=1)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert first.n_mels == 80
    assert sum(weight.numel() for weight in first.model.parameters()) < 2e6
    assert not first.model.training


def test_making_a_model_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    random_model("nano", seed=7)
    assert torch.equal(torch.rand(1), expected)


def test_a_process_with_a_model_takes_no_attention_that_is_planned_for_each_shape():
    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model("nano")
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_a_saved_folder_is_the_same_model_with_language_and_task_fixed(saved):
    loaded = load_model(str(saved), language="sv")
    assert loaded.fingerprint() == small_model().fingerprint()
    assert (loaded.model.generation_config.language, loaded.model.generation_config.task) == (
        "sv",
        "transcribe",
    )
    assert loaded.model.dtype == torch.float32
    names = {path.name for path in saved.iterdir()}
    wanted = {"model.safetensors", "tokenizer.json", "preprocessor_config.json", "generation_config.json"}
    assert wanted <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_others_load_and_run_a_saved_folder_with_their_own_library(saved):
    assert AutoProcessor.from_pretrained(saved).feature_extractor.feature_size == 80
    speak = pipeline("automatic-speech-recognition", model=str(saved))
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    assert isinstance(speak(noise, generate_kwargs={"max_new_tokens": 5})["text"], str)


def test_the_fingerprint_is_of_every_weight():
    model = small_model()
    before = model.fingerprint()
    with torch.no_grad():
        model.model.model.decoder.layer_norm.bias[0] += 1e-3
    assert model.fingerprint() != before


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "no configuration"),
        ("tokenizer.json", "no tokenizer: want tokenizer.json or vocab.json"),
        ("preprocessor_config.json", "no preprocessor"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_by_its_name(folder, missing, words):
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=words):
        load_model(str(folder))


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights.*pickles: convert them to safetensors"):
        load_model(str(folder))


def test_weights_cut_short_and_weights_that_lack_a_part_are_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(str(folder))
    (folder / "model.safetensors").write_bytes(whole)
    weights = load_file(folder / "model.safetensors")
    del weights["model.encoder.conv1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack model\.encoder\.conv1\.weight"):
        load_model(str(folder))


def test_a_model_of_another_kind_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="is a bert; want a Whisper"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["/no/such/folder", "./absent", "a/b/c"])
def test_a_folder_that_is_not_there_is_said_so_without_asking_the_hub(name):
    with pytest.raises(ModelError, match="no model folder"):
        load_model(name)


def test_a_hub_name_out_of_reach_is_said_in_words(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cannot load the model 'openai/no-such-model'.*or take nano"):
        load_model("openai/no-such-model")


def test_a_size_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ModelError, match="want one of nano, tiny, base, small"):
        random_model("huge")


@pytest.mark.parametrize(("size", "million"), [("tiny", 37.8), ("base", 72.6)])
def test_random_models_have_the_published_sizes(size, million):
    with torch.device("meta"):
        loaded = random_model(size)
    assert sum(weight.numel() for weight in loaded.model.parameters()) / 1e6 == pytest.approx(
        million, rel=0.01
    )


def test_a_model_says_how_it_wants_to_be_served_and_so_does_its_folder(tmp_path):
    """A Whisper from elsewhere has nothing in its configuration: it knows full windows alone."""
    ours = random_model("nano")
    save_model_folder(ours, tmp_path / "ours", language="sv")
    assert not load_model(str(tmp_path / "ours")).full_windows
    del ours.model.config.encoder_windows
    save_model_folder(ours, tmp_path / "theirs", language="sv")
    assert load_model(str(tmp_path / "theirs")).full_windows
