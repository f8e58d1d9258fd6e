"""A step as a GPU is given it: few bytes, nothing waited for, no mask, and logits never all at once."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from training_runs import make_set

from dagsverk.speech.config import NANO, FinetuneConfig
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.model.encoder import collate, encode
from dagsverk.speech.model.models import random_model
from dagsverk.speech.model.tokens import build_byte_tokenizer, end_id, labels
from dagsverk.speech.training import learner as learning
from dagsverk.speech.training.augmentation import mask_spectra
from dagsverk.speech.training.batches import Batch
from dagsverk.speech.training.examples import Example, Examples, to_tensors
from dagsverk.speech.training.learner import make_learner, make_optimiser, read, take_step, trained
from dagsverk.store import open_store

TOKENIZER = build_byte_tokenizer()
CPU = torch.device("cpu")


def example(device: str = "cpu") -> Example:
    made = to_tensors(labels(TOKENIZER, "sv", "transcribe", ["hej", "hallå där"]), end_id(TOKENIZER))
    mels = torch.randn(2, 80, 60, generator=torch.Generator().manual_seed(0))
    return Example(*(tensor.to(device) for tensor in (mels, *made)))


def config(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"steps": 10, "learning_rate": 1e-3, "batch_s": 4.0, **changes})


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("step")
    store = open_store(str(folder / "store"))
    return Examples(open_prepared(store, make_set(store), ("train",), folder), TOKENIZER)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_a_batch_travels_in_8_bits_and_becomes_the_very_spectra_that_are_made_of_floats(
    examples, full, masked
):
    def chance():
        return torch.Generator().manual_seed(3) if masked else None

    batch = Batch(np.array([0, 3, 5, 7]), full, 0)
    stored = examples.batch(batch, slack_s=0.1, mask=chance())
    clips, rows = examples.clips, [int(row) for row in examples.rows.index[batch.clips]]
    mels = collate(
        [clips.mel(row) for row in rows], [clips.floor(row) for row in rows], slack_frames=10, full=full
    )
    if masked:
        mels = mask_spectra(mels, torch.from_numpy(examples.frames[batch.clips]), chance())
    assert torch.equal(stored.to(CPU).mels, mels)
    assert stored.levels.dtype == torch.uint8
    assert 4 * stored.levels.numel() == mels.numel() * mels.element_size()


def test_of_what_a_step_computes_nothing_is_waited_for():
    learner = make_learner(random_model(NANO).model, config()).train()
    learner.to("meta")  # where there are no values that could be waited for
    learner(example("meta")).backward()
    torch.nn.utils.clip_grad_norm_(trained(learner).values(), 1.0)
    with pytest.raises(RuntimeError, match=r"Tensor\.item\(\) cannot be called on meta"):  # so this is why
        learner.model.model.decoder(
            input_ids=example("meta").tokens,
            encoder_hidden_states=torch.zeros(2, 30, 64, device="meta"),
            use_cache=False,
        )


def test_the_decoder_reads_as_the_librarys_own_forward_does():
    model, given = random_model(NANO).model, example()
    with torch.no_grad():
        encoded = encode(model, given.mels)
        wanted = model.model.decoder(input_ids=given.tokens, encoder_hidden_states=encoded).last_hidden_state
        assert torch.allclose(read(model.model.decoder, given.tokens, encoded), wanted, atol=1e-6)


def test_attention_is_given_no_mask_so_that_its_fastest_kernels_can_be_taken():
    seen = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is functional.scaled_dot_product_attention:
                seen.append((kwargs["attn_mask"], kwargs["is_causal"], args[0].dtype))
            return function(*args, **(kwargs or {}))

    model = random_model(NANO).model
    with Watching(), torch.autocast("cpu", torch.bfloat16):
        make_learner(model, config()).train()(example())
    heard = [(None, False, torch.bfloat16)] * model.config.encoder_layers
    read_back = [(None, True, torch.bfloat16), (None, False, torch.bfloat16)] * model.config.decoder_layers
    assert seen == heard + read_back


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_made_part_by_part_give_the_loss_and_gradients_of_all_at_once(monkeypatch, smoothing):
    results = []
    for at_once in (1000, 3):
        monkeypatch.setattr(learning, "LOGITS_AT_ONCE", at_once)
        learner = make_learner(random_model(NANO).model, config(label_smoothing=smoothing)).train()
        loss = learner(example())
        loss.backward()
        results.append((loss.item(), {name: weight.grad for name, weight in trained(learner).items()}))
    (whole, gradients), (parts, others) = results
    assert parts == pytest.approx(whole, rel=1e-6)
    assert all(torch.allclose(gradients[name], others[name], atol=1e-5) for name in gradients)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_whose_figures_are_no_numbers_changes_neither_weights_nor_the_optimisers_memory(bad):
    learner = make_learner(random_model(NANO).model, config())
    weights = trained(learner)
    optimiser = make_optimiser(weights, config())

    def step(figure):
        learner(example()).backward()
        return take_step(optimiser, torch.tensor([1.0, figure]), 1e-2)

    def everything():
        memory = [value for weight in weights.values() for value in optimiser.state[weight].values()]
        return [tensor.detach().clone() for tensor in (*weights.values(), *memory)]

    assert step(2.0) == [1.0, 2.0]
    before = everything()
    assert step(bad)[0] == 1.0
    assert all(torch.equal(one, other) for one, other in zip(before, everything(), strict=True))
    assert all(weight.grad is None for weight in weights.values())
    step(2.0)
    assert not all(torch.equal(one, other) for one, other in zip(before, everything(), strict=True))


def test_with_the_check_a_step_is_the_very_same_as_without():
    results = []
    for checked in (True, False):
        learner = make_learner(random_model(NANO).model, config())
        optimiser = make_optimiser(trained(learner), config())
        for _ in range(3):
            loss = learner(example())
            loss.backward()
            if checked:
                take_step(optimiser, loss.detach().reshape(1), 1e-2)
            else:
                for group in optimiser.param_groups:
                    group["lr"] = 1e-2
                optimiser.step()
                optimiser.zero_grad()
        results.append(trained(learner))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
