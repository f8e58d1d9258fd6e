"""When words are spoken: tokens and attention -> words with times; what is left out is counted."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.speech.features import log_mel
from dagsverk.speech.model import alignment, decoding
from dagsverk.speech.model.cached_decoder import CachedDecoder
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.models import random_model
from dagsverk.speech.model.tokens import encode_text, previous
from dagsverk.speech.serving.guard import ECHO, LOOP, NOT_SPEECH, doubted, echoed, without_echoes
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.serving.word_times import at_pauses, shifted, those_of, words_of
from dagsverk.speech.subtitles.cues import Word

FRAME_S = 0.02


@pytest.fixture(scope="module")
def model():
    return random_model("nano")


def clip(seconds, seed=0):
    noise = np.random.default_rng(seed).normal(size=round(16_000 * seconds)).astype(np.float32)
    return log_mel.log_mel(0.1 * noise, 80)


def floors(mels):
    return [log_mel.floor(float(mel.max())) for mel in mels]


@pytest.mark.parametrize(
    "pieces, texts",
    [
        ([b" Hello", b",", b" wor", b"ld", b"!"], ["Hello,", "world!"]),
        ([b" don", b"'t", b" \xc2", b"\xab a", b"\xc2\xbb"], ["don't", "«", "a»"]),
        ([b" a", b" ", b"  b"], ["a", "b"]),
        (["你好".encode(), "世界".encode(), "。".encode()], ["你好", "世界。"]),
        (["「".encode(), "はい".encode(), "」".encode()], ["「はい」"]),
        (["안녕".encode(), "하세요".encode()], ["안녕하세요"]),
        ([b" a\xff", b"\xe4\xbd"], ["a"]),  # bytes that are no character
        ([b" ", b"\xff"], []),
    ],
)
def test_punctuation_stays_with_its_word_and_scripts_without_spaces_break_at_tokens(pieces, texts):
    times_s = [float(place) for place in range(len(pieces) + 1)]
    assert [word.text for word in words_of(pieces, times_s, 100.0)] == texts


def test_a_word_begins_with_its_first_token_and_ends_with_its_last():
    words = words_of([b" wor", b"ld", b"!", b" so"], [0.5, 0.7, 0.9, 1.2, 1.5], 10.0)
    assert words == (Word("world!", 0.5, 1.2), Word("so", 1.2, 1.5))


@given(
    text=st.text(max_size=40),
    cuts=st.lists(st.integers(0, 120), max_size=20),
    times=st.lists(st.floats(0, 40), min_size=30, max_size=30),
)
def test_whatever_the_tokens_no_word_ends_before_it_begins_or_lies_outside(text, cuts, times):
    data = text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[first:last] for first, last in itertools.pairwise(edges)]
    words = words_of(pieces, sorted(times)[: len(pieces) + 1], 30.0)
    assert "".join(word.text for word in words) == "".join(text.split())
    edges_s = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert all(0 <= edge <= 30 for edge in edges_s)
    assert all(word.start_s <= word.end_s for word in words)
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)


def test_words_end_where_a_pause_begins_and_begin_where_it_ends():
    loud = [False] * 10 + [True] * 20 + [False] * 20 + [True] * 20 + [False] * 10
    words = [Word("one", 0.0, 0.75), Word("two", 0.75, 1.6)]
    assert [(w.start_s, w.end_s) for w in at_pauses(words, loud, FRAME_S)] == [
        (pytest.approx(0.2), pytest.approx(0.6)), (pytest.approx(1.0), pytest.approx(1.4)),
    ]  # fmt: skip


def test_a_pause_within_a_word_is_between_it_and_the_one_that_it_touches():
    loud = [True] * 40 + [False] * 25 + [True] * 50
    words = [Word("twenty-four", 0.0, 0.4), Word("Carlos", 0.4, 2.3)]
    assert [(w.start_s, w.end_s) for w in at_pauses(words, loud, FRAME_S)] == [
        (0.0, pytest.approx(0.8)), (pytest.approx(1.3), 2.3),
    ]  # fmt: skip


@given(
    edges=st.lists(st.floats(0, 4), min_size=2, max_size=12),
    loud=st.lists(st.booleans(), min_size=1, max_size=200),
)
def test_pauses_never_turn_words_around(edges, loud):
    words = [Word("w", first, last) for first, last in itertools.pairwise(sorted(edges))]
    moved = at_pauses(words, loud, FRAME_S)
    assert all(word.start_s <= word.end_s for word in moved)
    assert all(one.start_s <= other.start_s for one, other in itertools.pairwise(moved))


def test_a_text_without_its_loops_keeps_the_times_of_what_is_left():
    words = [Word(text, float(at), at + 0.5) for at, text in enumerate(["a", *"bbbbb", "c"])]
    assert those_of(words, "a b c") == (words[0], words[1], words[6])
    assert shifted(words[:1], 10.0, 10.2) == (Word("a", 10.0, 10.2),)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_path_is_the_best_of_all_paths(rows, columns, random):
    score = np.array([[random.random() for _ in range(columns)] for _ in range(rows)])
    starts = alignment._starts(score)
    assert starts == sorted(starts) and starts[0] == 0 and len(starts) == rows

    def best(row, column):
        if (row, column) == (0, 0):
            return score[0, 0]
        before = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
        return score[row, column] + max(best(*cell) for cell in before if min(cell) >= 0)

    ends = [*(start + 1 for start in starts[1:]), columns]  # no score is negative: rows share a position
    taken = sum(
        score[row, first:last].sum() for row, (first, last) in enumerate(zip(starts, ends, strict=True))
    )
    assert taken == pytest.approx(best(rows - 1, columns - 1))


def test_watched_heads_attend_as_the_library_s(model):
    states = [torch.randn(40, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    tokens = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    heads = [(0, 1), (1, 3)]
    with torch.inference_mode():
        decoder = CachedDecoder(model.model, states, heads)
        decoder.read(tokens)
        eager = random_model("nano").model
        eager.set_attn_implementation("eager")
        out = eager.model.decoder(
            input_ids=tokens, encoder_hidden_states=torch.stack(states), output_attentions=True
        )
    for own, (layer, head) in zip(decoder.attention, heads, strict=True):
        torch.testing.assert_close(own[:, 0], out.cross_attentions[layer][:, head], atol=1e-5, rtol=1e-4)


def test_a_clip_s_times_depend_on_it_alone_and_never_fall(model):
    mels = [clip(1.0), clip(4.0, 1), clip(2.5, 2)]
    tokens = [encode_text(model.tokenizer, text) for text in ("short", "a much longer text, twice", "")]
    together = alignment.token_times(model, mels, floors(mels), tokens, language="sv")
    assert [len(times) for times in together] == [len(tokens[0]) + 1, len(tokens[1]) + 1, 0]
    for mel, own, times in zip(mels, tokens, together, strict=True):
        assert times == sorted(times) and all(0 <= time <= len(mel) / 100 for time in times)
        assert alignment.token_times(model, [mel], floors([mel]), [own], language="sv") == [times]


def test_a_text_as_long_as_the_decoder_holds_has_times_too(model):
    mel, tokens = clip(3.0), [65] * (448 - 4)
    (times,) = alignment.token_times(model, [mel], floors([mel]), [tokens], language="sv")
    assert len(times) == len(tokens) + 1


def test_heads_that_the_decoder_lacks_are_not_asked():
    model = random_model("nano")
    assert TorchEngine(model).word_times == "later layers"
    model.model.generation_config.alignment_heads = [[9, 0]]
    assert TorchEngine(model).word_times == "later layers"
    model.model.generation_config.alignment_heads = [[1, 0]]
    assert TorchEngine(model).word_times == "alignment heads"


def voice(seconds, seed):
    time_s = np.arange(round(16_000 * seconds)) / 16_000
    rough = np.random.default_rng(seed).normal(size=len(time_s))
    return 0.2 * rough * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s))


def test_a_transcript_s_words_are_its_text_and_lie_in_their_windows(model):
    silence = np.zeros(24_000)
    audio = np.concatenate([silence, voice(2, 0), silence, voice(3, 1), silence]).astype(np.float32)
    told = []
    transcriber = Transcriber(TorchEngine(model), "sv")
    (transcript,) = transcriber.transcribe_for(
        ["transcribe"], audio, words=True, on_segments=lambda _, segments: told.extend(segments)
    )
    assert transcript.word_times == "later layers" and tuple(told) == transcript.segments
    assert transcript.segments
    for segment in transcript.segments:
        assert "".join(word.text for word in segment.words) == "".join(segment.text.split())
        assert all(segment.start_s <= w.start_s <= w.end_s <= segment.end_s for w in segment.words)
    plain = transcriber.transcribe(audio)
    assert plain.word_times is None and all(segment.words == () for segment in plain.segments)
    assert plain.text == transcript.text


def test_a_prompt_is_cut_from_its_beginning_to_half_of_what_the_decoder_holds(model):
    tokens = previous(model.tokenizer, "x" * 500 + "end", 224)
    assert len(tokens) == 224 and bytes(tokens[-3:]) == b"end"
    assert previous(model.tokenizer, "  ", 224) == []
    mel = clip(1.0)
    (with_it,) = decoding.decode(model, [mel], floors([mel]), language="sv", before="x" * 5000)
    assert len(with_it.tokens) <= 448 - 224 - 4


def test_languages_are_shares_of_one(model):
    mels = [clip(1.0), clip(2.0, 1)]
    for shares in TorchEngine(model).languages(mels):
        assert sum(shares.values()) == pytest.approx(1) and {"sv", "it", "yue"} <= shares.keys()


def test_what_is_left_out_is_counted_by_reason():
    def written(text, mean=-0.2, no_speech=0.1):
        return Decoded(text, (), mean, no_speech, True)

    first = [written("fine"), written("thank you", -1.4, 0.9), written("otto " * 30)]
    kept = doubted(first, lambda places, _: [first[place] for place in places])
    assert [one.text for one in kept.decoded] == ["fine", "", "otto"]
    assert kept.left_out == {NOT_SPEECH: 1, LOOP: 1}


@pytest.mark.parametrize(
    "text, prompt, echo",
    [
        ("Dagsverk, Prefect.", "Words: Dagsverk, Prefect", ["dagsverk", "prefect"]),
        ("We use Prefect daily", "Dagsverk, Prefect", []),  # says something of its own
        ("then a b c d and on", "x A, b; C d y", ["a", "b", "c", "d"]),
        ("", "anything", []),
        ("anything", "", []),
        ("...", "...", []),
    ],
)
def test_a_text_may_echo_its_prompt_where_nothing_else_or_a_long_run_of_it_is_written(text, prompt, echo):
    assert echoed(text, prompt) == echo


@pytest.mark.parametrize(
    "without, kept, left_out",
    [
        ("Dags verk", "Dagsverk", {}),  # said, and spelt as the prompt has it
        ("thank you", "thank you", {ECHO: 1}),
        ("", "", {ECHO: 1}),
    ],
)
def test_an_echo_counts_only_if_the_like_of_it_is_written_without_the_prompt(without, kept, left_out):
    def again(places, beams):
        assert (places, beams) == ([1], 1)
        return [Decoded(without, (), -0.2, 0.1, True)]

    first = [Decoded(text, (), -0.2, 0.1, True) for text in ("a house", "Dagsverk")]
    result = without_echoes(doubted(first, again), "Dagsverk", again)
    assert [one.text for one in result.decoded] == ["a house", kept]
    assert result.left_out == left_out


def test_a_recording_s_language_is_one_of_those_that_come_into_question(model):
    transcriber = Transcriber(TorchEngine(model), "sv")
    audio = np.concatenate([np.zeros(16_000), voice(2, 0), np.zeros(16_000)]).astype(np.float32)
    shares = transcriber.languages(audio, ["sv", "it", "rm_as_it"])
    assert sum(shares.values()) == pytest.approx(1) and shares["it"] == shares["rm_as_it"]
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert transcriber.languages(np.zeros(48_000, np.float32), ["sv", "it"]) == {}
