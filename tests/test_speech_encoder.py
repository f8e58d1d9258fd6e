import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_models import small_model
from torch import nn

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.model.encoder import collate, encode, padded_frames
from dagsverk.speech.model.models import random_model
from dagsverk.speech.training.learner import make_learner

MODEL = random_model("nano").model


def test_at_full_windows_it_is_the_librarys_own_encoder():
    mels = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(encode(MODEL, mels), MODEL.get_encoder()(mels).last_hidden_state)


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 400))
def test_a_clip_gives_a_state_for_every_two_frames_begun(frames):
    with torch.no_grad():
        assert encode(MODEL, torch.zeros(1, 80, frames)).shape == (1, (frames + 1) // 2, MODEL.config.d_model)


def test_positions_are_those_of_the_beginning_of_the_window():
    mels = torch.randn(1, 80, 200, generator=torch.Generator().manual_seed(0))
    copy = random_model("nano").model
    with torch.no_grad():
        before = encode(copy, mels)
        copy.get_encoder().embed_positions.weight[100:] += 7
        assert torch.equal(encode(copy, mels), before)
        copy.get_encoder().embed_positions.weight[99] += 7
        assert not torch.equal(encode(copy, mels), before)


def test_more_than_the_window_is_refused_in_words():
    with pytest.raises(ValueError, match=r"at most 3000 frames.*got 3002"):
        encode(MODEL, torch.zeros(1, 80, 3002))


@pytest.mark.parametrize(
    "changes", [{"lora_rank": 2}, {"gradient_checkpointing": True}, {"freeze_encoder": True}]
)
def test_it_runs_models_as_they_are_trained(changes):
    learner = make_learner(small_model().model, FinetuneConfig(**changes)).train()
    mels = torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encode(small_model().model, mels)
    assert torch.allclose(encode(learner.model, mels), expected, atol=1e-5)


@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    slack=st.integers(0, 50),
    full=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_batch_holds_every_clip_and_then_its_own_silence(lengths, slack, full):
    mels = [np.full((length, 2), index, dtype=np.float32) for index, length in enumerate(lengths)]
    floors = [-1.0 - index for index in range(len(lengths))]
    batch = collate(mels, floors, slack_frames=slack, full=full)
    size = padded_frames(max(lengths), slack_frames=slack, full=full)
    assert batch.shape == (len(lengths), 2, size)
    assert size == 3000 if full else max(lengths) <= size <= 3000
    assert size % 2 == 0
    assert size >= min(3000, max(lengths) + slack)
    for index, length in enumerate(lengths):
        assert (batch[index, :, :length] == index).all()
        assert (batch[index, :, length:] == floors[index]).all()


def test_wrapped_models_encode_the_same():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = MODEL

        def forward(self, mels):
            return encode(self.model, mels)

    mels = torch.randn(1, 80, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(nn.DataParallel(Wrapped())(mels), encode(MODEL, mels))
