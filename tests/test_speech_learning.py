import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_models import small_model
from torch.nn import functional
from training_runs import make_set

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.corpora.corpus import Clip
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.model import nano
from dagsverk.speech.model.encoder import collate, encode
from dagsverk.speech.model.models import random_model
from dagsverk.speech.model.tokens import build_byte_tokenizer, end_id, labels
from dagsverk.speech.training.augmentation import MASKS, mask_spectra
from dagsverk.speech.training.batches import Batch
from dagsverk.speech.training.defaults import FILLED, find_batch_s, resolve
from dagsverk.speech.training.examples import UNLEARNT, Example, Examples, to_tensors
from dagsverk.speech.training.learner import (
    learning_rate,
    make_learner,
    make_optimiser,
    merge_adapters,
    trained,
)
from dagsverk.speech.training.loop import make_sampler
from dagsverk.speech.training.memory_fit import step_fits
from dagsverk.store import open_store

TOKENIZER = build_byte_tokenizer()


def example(texts=("hej", "hallå där"), frames=60, seed=0) -> Example:
    made = labels(TOKENIZER, "sv", "transcribe", texts)
    mels = torch.randn(len(texts), 80, frames, generator=torch.Generator().manual_seed(seed))
    return Example(mels, *to_tensors(made, end_id(TOKENIZER)))


def config(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"steps": 10, "learning_rate": 1e-3, "batch_s": 4.0, **changes})


def test_the_loss_is_that_of_the_librarys_own_forward():
    given_, model = example(frames=3000), small_model().model
    wanted = torch.full(given_.tokens.shape, -100)
    wanted.view(-1)[given_.places] = given_.targets
    logits = model(input_features=given_.mels, decoder_input_ids=given_.tokens).logits
    expected = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="sum", ignore_index=-100)
    loss = make_learner(model, config())(given_)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_language_text_and_end_are_learnt_and_the_rest_of_the_prompt_is_not():
    given_ = example(["hej", "å"])
    language, end = 272, 256
    assert given_.targets.tolist() == [language, *b"hej", end, language, *"å".encode(), end]
    assert given_.tokens.tolist() == [[257, 272, 359, 363, *b"hej"], [257, 272, 359, 363, 195, 165, 256]]


def test_with_a_frozen_encoder_only_the_decoder_learns():
    learner = make_learner(small_model().model, config(freeze_encoder=True))
    learner(example()).backward()
    assert all(name.startswith("model.decoder") for name in trained(learner))
    assert all(weight.grad is None for weight in learner.model.get_encoder().parameters())
    assert all(weight.grad is not None for weight in trained(learner).values())


def test_all_but_the_encoders_sinusoids_learn_otherwise():
    learner = make_learner(small_model().model, config())
    learner(example()).backward()
    still = {name for name, weight in learner.model.named_parameters() if weight.grad is None}
    assert still == {"model.encoder.embed_positions.weight"}


@pytest.mark.parametrize("freeze", [False, True])
def test_lora_trains_few_weights_and_merges_into_the_same_function(freeze):
    learner = make_learner(small_model().model, config(lora_rank=4, freeze_encoder=freeze))
    weights = trained(learner)
    assert all("lora_" in name for name in weights)
    assert freeze != any("encoder.layers" in name for name in weights)
    optimiser = make_optimiser(weights, config())
    optimiser.param_groups[0]["lr"] = 0.1
    learner(example()).backward()
    optimiser.step()
    learner.eval()
    with torch.no_grad():
        taught = learner(example())
        merge_adapters(learner.model)
        assert learner(example()).item() == pytest.approx(taught.item(), rel=1e-4)
        assert make_learner(small_model().model, config())(example()).item() != pytest.approx(taught.item())
    assert {name for name, _ in learner.model.named_parameters()} == {
        name for name, _ in small_model().model.named_parameters()
    }


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        learner = make_learner(small_model().model, config(gradient_checkpointing=checkpointing)).train()
        learner(example()).backward()
        gradients.append({name: weight.grad for name, weight in trained(learner).items()})
    plain, checkpointed = gradients
    assert all(torch.allclose(plain[name], checkpointed[name], atol=1e-6) for name in plain)


def test_norms_biases_and_embeddings_do_not_decay():
    weights = trained(make_learner(small_model().model, config()))
    decayed, others = make_optimiser(weights, config()).param_groups
    names = {id(weight): name for name, weight in weights.items()}
    assert decayed["weight_decay"] == 0.01 and others["weight_decay"] == 0
    assert all(weight.ndim >= 2 for weight in decayed["params"])
    kept = {names[id(weight)] for weight in others["params"]}
    assert {"model.decoder.embed_tokens.weight", "model.encoder.layer_norm.weight"} <= kept
    assert not any(name.endswith(("proj.weight", "fc1.weight", "conv1.weight")) for name in kept)


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        ("linear", 0, 0.5),  # two steps of warm-up
        ("linear", 1, 1.0),
        ("linear", 2, 1.0),
        ("linear", 6, 0.5),
        ("linear", 9, 0.125),
        ("cosine", 6, 0.5),
        ("cosine", 2, 1.0),
        ("constant", 9, 1.0),
    ],
)
def test_the_rate_rises_and_then_decays(decay, step, expected):
    made = config(warmup_share=0.2, decay=decay)
    assert learning_rate(step, made) == pytest.approx(1e-3 * expected)


@settings(max_examples=40, deadline=None)
@given(frames=st.lists(st.integers(1, 120), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_spec_augment_masks_bands_within_each_clip_and_is_the_same_for_a_seed(frames, seed):
    mels = torch.rand(len(frames), 80, 140, generator=torch.Generator().manual_seed(seed)) + 1
    lengths = torch.tensor(frames)
    masked = mask_spectra(mels, lengths, torch.Generator().manual_seed(seed))
    assert torch.equal(masked, mask_spectra(mels, lengths, torch.Generator().manual_seed(seed)))
    for clip, before, length in zip(masked, mels, frames, strict=True):
        changed = clip != before
        bands = changed.all(dim=1)
        times = changed[~bands].all(dim=0)
        assert torch.equal(changed, bands[:, None] | times[None, :])
        assert bands.sum() <= MASKS * 27
        assert times.sum() <= MASKS * math.ceil(length * 0.1)
        assert not times[length:].any()
        assert torch.allclose(clip[changed], before.mean())


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    long = Clip(
        id="train-long",
        audio="long.wav",
        text="ett " * 200,
        language="sv",
        split="train",
        speaker="train-voice-0",
    )
    store = open_store(str(folder / "store"))
    # prepared for a tokenizer with room for the long text, then taught with one that has not
    return open_prepared(store, make_set(store), ("train",), folder), long


def test_a_text_longer_than_the_decoder_holds_is_set_aside_and_never_cut(clips):
    prepared, long = clips
    rows = prepared.rows.copy()
    rows.loc[3, "text"] = long.text
    from dataclasses import replace

    made = Examples(replace(prepared, rows=rows), TOKENIZER)
    assert [(one.clip, one.reason) for one in made.set_aside] == [(rows.loc[3, "id"], "text too long")]
    assert made.set_aside[0].detail == "804 tokens, at most 448"
    assert len(made) == len(rows) - 1
    assert rows.loc[3, "id"] not in set(made.rows["id"])
    rows["text"] = long.text
    with pytest.raises(SpeechError, match=r"no clip of sv-.* can be used: 16 have texts longer than 448"):
        Examples(replace(prepared, rows=rows), TOKENIZER)


def test_the_share_of_clips_that_teach_translation_is_drawn_by_epoch_and_clip(clips):
    prepared, _ = clips
    translate = TOKENIZER.convert_tokens_to_ids("<|translate|>")
    made = Examples(prepared, TOKENIZER, translate_share=0.5, seed=3)
    places = [place for place in range(len(made)) if made.rows["translation"].iat[place]]
    drawn = {
        epoch: [place for place in range(len(made)) if made.label(place, epoch)[2] == translate]
        for epoch in range(40)
    }
    assert all(set(of_epoch) <= set(places) for of_epoch in drawn.values())
    assert sum(map(len, drawn.values())) / (40 * len(places)) == pytest.approx(0.5, abs=0.1)
    assert len({tuple(of_epoch) for of_epoch in drawn.values()}) > 20
    again = Examples(prepared, TOKENIZER, translate_share=0.5, seed=3)
    assert all(again.label(place, 7) == made.label(place, 7) for place in range(len(made)))
    place = drawn[0][0]
    text = bytes(made.label(place, 0)[4:-1]).decode()
    assert text == made.rows["translation"].iat[place]


def test_a_batch_counts_what_it_teaches(clips):
    prepared, _ = clips
    made = Examples(prepared, TOKENIZER, translate_share=0.5)
    batch = Batch(np.array([0, 3, 5]), full=False, epoch=1)
    assert made.targets(batch) == len(made.batch(batch, slack_s=0.1).targets)
    assert UNLEARNT == (1, 2)


@given(largest=st.floats(30, 5000), bound=st.floats(30, 4000))
def test_the_batch_finder_fills_the_memory_and_no_more(largest, bound):
    tried = []

    def fits(batch_s):
        tried.append(batch_s)
        return batch_s <= largest

    filling_s = find_batch_s(fits, bound)
    assert filling_s <= min(largest, bound)
    assert filling_s == bound or (filling_s >= 30 and filling_s >= FILLED * largest * 0.88) or filling_s == 30
    assert max(tried) <= bound
    assert len(tried) <= 12


def test_a_memory_in_which_not_one_window_fits_is_said_in_words():
    with pytest.raises(SpeechError, match=r"not even 30 s.*lora_rank"):
        find_batch_s(lambda _: False, 1000)


def test_a_throw_away_step_leaves_the_weights_and_no_gradient(clips, monkeypatch):
    prepared, _ = clips
    model = small_model()
    learner, before = make_learner(model.model, config()), model.fingerprint()
    made = Examples(prepared, TOKENIZER)
    sampler = make_sampler(made, config())
    assert step_fits(learner, made, sampler, torch.device("cpu"))

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "backward", full)
    assert not step_fits(learner, made, sampler, torch.device("cpu"))
    assert all(weight.grad is None for weight in learner.parameters())
    assert model.fingerprint() == before


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("tiny", 3.75e-5),
        ("base", 2.5e-5),
        ("small", 1.25e-5),
        ("medium", 6.25e-6),
        ("large-v3", 5e-6),
        ("turbo", 5e-6),
    ],
)
def test_published_models_learn_at_a_fortieth_of_their_training_rate(size, expected):
    from dagsverk.speech.model.models import _config

    model = _config(size, TOKENIZER)
    made = resolve(
        FinetuneConfig(model="some"), model, clips_s=29_000, processes=1, cuda=False, largest_batch_s=float
    )
    assert made.learning_rate == expected
    assert made.batch_s == 60 and made.steps == math.ceil(5 * 29_000 / 60)
    open_yet = {name for name, value in made.to_dict().items() if value is None}
    assert open_yet == {"replay_share"}  # it depends on what else the store holds


def test_on_a_gpu_the_largest_batch_that_fits_is_asked_for_within_what_the_corpus_bears(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    asked = []

    def largest(bound):
        asked.append(bound)
        return bound / 2

    from dagsverk.speech.model.models import _config

    made = resolve(
        FinetuneConfig(model="some"),
        _config("small", TOKENIZER),
        clips_s=29_000,
        processes=1,
        cuda=True,
        largest_batch_s=largest,
    )
    assert asked == [29_000 / 200]
    assert (made.batch_s, made.precision, made.spec_augment) == (29_000 / 400, "bf16", True)


def test_what_people_decide_stays():
    decided = FinetuneConfig(
        steps=7,
        learning_rate=1e-4,
        batch_s=9.0,
        precision="fp32",
        full_window_share=0.5,
        spec_augment=True,
        evaluate_every=3,
    )
    made = resolve(
        decided,
        random_model("nano").model.config,
        clips_s=100,
        processes=2,
        cuda=False,
        largest_batch_s=float,
    )
    changed = {name for name, value in made.to_dict().items() if value != decided.to_dict()[name]}
    assert changed == {"processes", "checkpoint_every"}


def test_a_fresh_nano_listens_from_left_to_right():
    fresh = random_model("nano")
    mel = np.random.default_rng(0).normal(0, 0.3, (300, 80)).astype(np.float32)
    decoder = fresh.model.model.decoder
    with torch.no_grad():
        encoded = encode(fresh.model, collate([mel], [-1.0], slack_frames=0))
        attention = decoder.layers[0].encoder_attn
        keys = attention.k_proj(fresh.model.get_encoder().embed_positions.weight[: encoded.shape[1]])
        queries = attention.q_proj(decoder.embed_positions.weight[3:50])
        nearest = (queries @ keys.T).argmax(dim=1).float()
    wanted = torch.arange(47) * nano.POSITIONS_PER_BYTE
    assert (nearest - wanted).abs().max() <= 1
