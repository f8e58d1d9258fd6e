"""Decoding: what a model hears, batch by batch."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from speech_models import Sound, small_model, sounds, taught_model, tone
from transformers import GenerationConfig

from dagsverk.speech.features import log_mel
from dagsverk.speech.model import precision
from dagsverk.speech.model.beam_search import Path, Rules, follow, search
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.encoder import collate, encode
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.model.tokens import end_id, prompt

TEXTS = [sound.text for sound in sounds()]


def hypotheses_of(model: SpeechModel, clips: Sequence[Sound], **options: object) -> list[Decoded]:
    mels, floors = [clip.mel for clip in clips], [clip.floor for clip in clips]
    return decode(model, mels, floors, language="sv", **options)


@pytest.fixture
def babbler() -> Iterator[SpeechModel]:
    """An untaught model: it never ends by itself, and likes special tokens as much as others.

    What it hears weighs much in what it says, so clips differ.
    """
    model = small_model(seed=3)
    with torch.no_grad():
        for layer in model.model.model.decoder.layers:
            layer.encoder_attn.v_proj.weight *= 20
            layer.encoder_attn.out_proj.weight *= 20
    yield model


@pytest.fixture(scope="module")
def many() -> list[Sound]:
    """Tones of 0.3 to 6 s, no two alike."""
    lengths_s = np.random.default_rng(1).permutation(np.linspace(0.3, 6, 12))
    return [
        Sound("", tone(150 + 60 * place, length_s, slope_hz_per_s=40 * place))
        for place, length_s in enumerate(lengths_s)
    ]


def library_tokens(model: SpeechModel, clips: Sequence[Sound], **options: object) -> list[list[int]]:
    """What the library's `generate` says of full windows, without prompt, end and padding."""
    windows = collate([clip.mel for clip in clips], [clip.floor for clip in clips], slack_frames=0, full=True)
    with torch.inference_mode():
        rows = model.model.generate(windows, language="sv", task="transcribe", **options)
    end, start = end_id(model.tokenizer), prompt(model.tokenizer, "sv")
    texts = []
    for row in rows.tolist():
        text = row[len(start) :] if row[: len(start)] == start else row
        texts.append(text[: text.index(end)] if end in text else text)
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("full_windows", [False, True])
def test_clips_are_heard_in_the_order_given(full_windows):
    clips = [sounds()[place] for place in (2, 0, 1, 0)]
    decoded = hypotheses_of(taught_model(), clips, full_windows=full_windows)
    assert [one.text for one in decoded] == [clip.text for clip in clips]


def test_full_windows_say_token_for_token_what_the_library_says():
    clips = sounds()
    ours = [list(one.tokens) for one in hypotheses_of(taught_model(), clips, full_windows=True)]
    assert ours == library_tokens(taught_model(), clips)


def test_a_babbling_model_says_the_library_s_tokens_to_the_end(babbler, many):
    vocabulary = babbler.model.config.vocab_size
    forbidden = list(range(256, vocabulary))  # the library would say timestamps
    babbler.model.generation_config.suppress_tokens = [i for i in forbidden if i != end_id(babbler.tokenizer)]
    theirs = library_tokens(babbler, many[:3], max_new_tokens=60)
    ours = hypotheses_of(babbler, many[:3], full_windows=True, max_tokens=[60] * 3)
    assert [list(one.tokens) for one in ours] == theirs
    assert max(len(tokens) for tokens in theirs) == 60


@pytest.mark.slow
def test_what_is_said_of_a_clip_does_not_depend_on_its_batch(babbler, many):
    together = hypotheses_of(babbler, many)
    alone = [hypotheses_of(babbler, [clip])[0] for clip in many]
    small_batches = hypotheses_of(babbler, many[::-1], batch_s=8)[::-1]
    assert len({one.tokens[:20] for one in together}) > len(many) / 2  # the audio has its say
    for other in (alone, small_batches):
        assert [one.tokens for one in other] == [one.tokens for one in together]
        assert [one.mean_log_probability for one in other] == pytest.approx(
            [one.mean_log_probability for one in together], abs=1e-4
        )
        assert [one.no_speech_probability for one in other] == pytest.approx(
            [one.no_speech_probability for one in together], rel=1e-3
        )


def test_clips_that_end_early_leave_the_others_unchanged(babbler, many):
    limits = [3 + 7 * place for place in range(len(many))]
    whole = hypotheses_of(babbler, many, max_tokens=[100] * len(many))
    cut = hypotheses_of(babbler, many, max_tokens=limits)
    assert [one.tokens for one in cut] == [
        one.tokens[:limit] for one, limit in zip(whole, limits, strict=True)
    ]
    assert len({one.tokens[-5:] for one in whole}) > len(many) / 2


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 4])
def test_the_same_clips_give_the_same_result_again(babbler, many, beams):
    assert hypotheses_of(babbler, many, beams=beams) == hypotheses_of(babbler, many, beams=beams)


def test_greedy_is_a_search_with_one_beam(babbler, many):
    """Whose clips end at different places, some of them by themselves."""
    limits = [5 + 6 * place for place in range(len(many))]
    rule = torch.full((babbler.model.config.vocab_size,), -torch.inf)
    rule[:256] = 0
    with torch.inference_mode():
        states = [encode(babbler.model, collate([one.mel], [one.floor], slack_frames=9))[0] for one in many]
        start = torch.tensor([prompt(babbler.tokenizer, "sv")] * len(many))

        def paths(end: int, *beams: int) -> list[Path]:
            decoder = CachedDecoder(babbler.model, states)
            logits = decoder.logits(decoder.read(start)[:, -1])
            return (search if beams else follow)(decoder, logits, Rules(end, rule, rule), limits, *beams)

        endless = paths(end_id(babbler.tokenizer))
        often = collections.Counter(token for one in endless for token in one.tokens[3:]).most_common(3)
        for token, _ in often:  # what it says often ends a text from now on
            greedy, beam = paths(token), paths(token, 1)
            assert [(one.tokens, one.ended) for one in greedy] == [(one.tokens, one.ended) for one in beam]
            likelihoods = [[one.mean_log_probability for one in each] for each in (greedy, beam)]
            assert likelihoods[0] == pytest.approx(likelihoods[1])
            assert any(one.ended for one in greedy)
    assert [len(one.tokens) for one in endless] == limits
    assert not any(one.ended for one in endless)


@pytest.mark.parametrize("beams", [1, 3])
def test_broken_weights_give_no_text_and_no_end(many, beams):
    model = small_model()
    with torch.no_grad():
        model.model.model.decoder.layer_norm.bias.fill_(torch.nan)
    for one in hypotheses_of(model, many[:3], beams=beams):
        assert (one.text, one.tokens, one.finished, one.mean_log_probability) == ("", (), False, 0.0)


def test_more_tokens_than_the_decoder_has_positions_are_refused():
    model = small_model()
    with torch.inference_mode():
        decoder = CachedDecoder(model.model, [torch.zeros(10, 48)])
        decoder.read(torch.zeros((1, 448), dtype=torch.long))
        with pytest.raises(ValueError, match="the decoder holds 448 tokens, asked for 449"):
            decoder.read(torch.zeros((1, 1), dtype=torch.long))


def test_beams_find_a_text_at_least_as_likely_as_greedy(babbler, many):
    limits = [12] * len(many)
    greedy = hypotheses_of(babbler, many, max_tokens=limits)
    beams = hypotheses_of(babbler, many, max_tokens=limits, beams=4)
    gains = [b.mean_log_probability - g.mean_log_probability for b, g in zip(beams, greedy, strict=True)]
    assert min(gains) > -1e-5
    assert max(gains) > 1e-3  # and it is not the same search


def test_beams_hear_what_was_taught():
    assert [one.text for one in hypotheses_of(taught_model(), sounds(), beams=5)] == TEXTS


def test_beams_end_at_the_limit_too(babbler, many):
    assert all(
        len(one.tokens) <= 5 for one in hypotheses_of(babbler, many, max_tokens=[5] * len(many), beams=3)
    )


def test_no_special_token_is_ever_said(babbler, many):
    for one in hypotheses_of(babbler, many):
        assert one.tokens
        assert max(one.tokens) < 256  # bytes come first in its vocabulary


def test_tokens_that_the_model_s_config_forbids_are_not_said():
    model = small_model()
    model.model.load_state_dict(taught_model().model.state_dict())
    model.model.generation_config = GenerationConfig(
        **{**model.model.generation_config.to_dict(), "suppress_tokens": [ord("o")]}
    )
    assert all("o" not in one.text for one in hypotheses_of(model, sounds()))
    model.model.generation_config.suppress_tokens = None
    model.model.generation_config.begin_suppress_tokens = [ord("b")]
    texts = [one.text for one in hypotheses_of(model, sounds())]
    assert texts[:2] == TEXTS[:2]
    assert not texts[2].startswith("b")


@pytest.mark.parametrize(
    "duration_s, tokens",
    [
        (0.5, 50),  # the least that any clip is given
        (3.0, 150),  # 50 per second
        (20.0, 444),  # 448, less the prompt
    ],
)
def test_a_clip_is_stopped_when_it_says_more_than_anyone_can(babbler, duration_s, tokens):
    (one,) = hypotheses_of(babbler, [Sound("", tone(300, duration_s))])
    assert len(one.tokens) == tokens
    assert not one.finished


def test_certainty_is_the_mean_log_probability_of_the_tokens_and_the_end():
    model, clip = taught_model(), sounds()[1]
    (one,) = hypotheses_of(model, [clip], full_windows=True)
    start = prompt(model.tokenizer, "sv")
    row = [*start, *one.tokens, end_id(model.tokenizer)]
    window = collate([clip.mel], [clip.floor], slack_frames=0, full=True)
    with torch.inference_mode():
        logits = model.model(input_features=window, decoder_input_ids=torch.tensor([row])).logits[0]
    allowed = [*range(256), end_id(model.tokenizer)]
    scores = [
        float(logits[place, allowed].log_softmax(-1)[allowed.index(row[place + 1])])
        for place in range(len(start) - 1, len(row) - 1)
    ]
    assert one.mean_log_probability == pytest.approx(np.mean(scores), abs=1e-4)
    nothing = model.tokenizer.convert_tokens_to_ids("<|nospeech|>")
    assert one.no_speech_probability == pytest.approx(float(logits[0].softmax(-1)[nothing]), rel=1e-3)
    assert one.finished


def test_the_model_is_left_as_it_was(many):
    model = small_model()
    model.model.train()
    model.model.model.encoder.eval()
    state = torch.random.get_rng_state()
    before = model.fingerprint()
    hypotheses_of(model, many[:2], max_tokens=[3, 3])
    assert model.model.training
    assert not model.model.model.encoder.training
    assert model.fingerprint() == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.model.parameters())


def test_clips_are_read_once_each_and_when_due_if_their_lengths_are_known(many):
    read: list[int] = []

    class Lazy(Sequence[np.ndarray]):
        def __len__(self) -> int:
            return len(many)

        def __getitem__(self, place: int) -> np.ndarray:  # type: ignore[override]
            read.append(place)
            return many[place].mel

    frames = [len(clip.mel) for clip in many]
    floors = [clip.floor for clip in many]
    decoded = decode(taught_model(), Lazy(), floors, language="sv", frames=frames)
    assert [one.text for one in decoded] == [one.text for one in hypotheses_of(taught_model(), many)]
    assert sorted(read) == list(range(len(many)))
    assert [frames[place] for place in read] == sorted(frames, reverse=True)


def test_a_model_in_half_precision_hears_the_same():
    model = small_model()
    model.model.load_state_dict(taught_model().model.state_dict())
    model.model.to(torch.bfloat16)
    for beams in (1, 3):
        assert [one.text for one in hypotheses_of(model, sounds(), beams=beams)] == TEXTS


@pytest.mark.parametrize(
    "width, has_tiles, expected",
    [(384, True, "bf16"), (384, False, "fp32"), (48, True, "fp32")],
    ids=["published", "an older processor", "nano"],
)
def test_published_sizes_are_decoded_in_bf16_on_processors_made_for_it(
    monkeypatch, width, has_tiles, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_tiles}, raising=False)
    precision._processor_multiplies_bf16.cache_clear()
    model = small_model()
    model.model.load_state_dict(taught_model().model.state_dict())
    model.model.config.d_model = width  # as wide as it says, for this question
    assert precision.precision(model.model) == expected
    with precision.evaluating(model.model) as network:
        assert network.dtype == (torch.bfloat16 if expected == "bf16" else torch.float32)
        assert network is model.model or expected == "bf16"
    with precision.as_kept():
        assert precision.precision(model.model) == "fp32"
    assert [one.text for one in hypotheses_of(model, sounds())] == TEXTS
    assert model.model.dtype == torch.float32
    precision._processor_multiplies_bf16.cache_clear()


def test_adapters_are_heard_without_being_merged():
    model = small_model()
    model.model.load_state_dict(taught_model().model.state_dict())
    adapted = get_peft_model(model.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    model.model = adapted.base_model.model
    assert [one.text for one in hypotheses_of(model, sounds())] == TEXTS  # adapters begin as zero
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.add_(1.0)
    changed = [one.text for one in hypotheses_of(model, sounds())]
    assert changed != TEXTS
    model.model = adapted.merge_and_unload()
    assert [one.text for one in hypotheses_of(model, sounds())] == changed


def test_no_clips_give_no_texts():
    assert hypotheses_of(taught_model(), []) == []


@pytest.mark.parametrize(
    "mel",
    [np.zeros((0, 80)), np.zeros((3001, 80)), np.zeros((100, 128)), np.zeros(100)],
    ids=["empty", "longer than 30 s", "of 128 bins", "not a spectrum"],
)
def test_a_spectrum_that_is_none_is_refused_by_its_place(mel):
    good = sounds()[0]
    with pytest.raises(ValueError, match="clip 1: want a log-mel"):
        decode(taught_model(), [good.mel, mel], [good.floor, 0.0], language="sv")


def test_no_beams_are_refused():
    with pytest.raises(ValueError, match="beams must be 1 or more"):
        hypotheses_of(taught_model(), sounds(), beams=0)


def test_thirty_seconds_have_no_room_for_slack():
    audio = tone(300, 30.0)
    assert len(log_mel.log_mel(audio)) == 3000
    assert len(hypotheses_of(taught_model(), [Sound("", audio)])) == 1
