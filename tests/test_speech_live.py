"""Words of a voice that goes on: settled ones never change, none is said twice, none is lost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.speech.serving.live import MOST_S, Live
from dagsverk.speech.subtitles.cues import Word

RATE_HZ = 16_000
WORDS = ["ja", "nej", "Hej,", "hej", "tack.", "–", "och", "så"]


class Ideal:
    """Hears a word of which there is something to hear. Samples say when they are."""

    def __init__(self, words, noise=()):
        self.words, self.noise, self.longest_s = words, list(noise), 0.0

    def __call__(self, audio):
        self.longest_s = max(self.longest_s, len(audio) / RATE_HZ)
        first = round(float(audio[0]) * RATE_HZ) / RATE_HZ
        last = first + len(audio) / RATE_HZ
        audible = [Word(w.text, max(w.start_s, first), min(w.end_s, last)) for w in self.words]
        inside = [w for w in audible if w.end_s - w.start_s > 0.05]
        heard = [Word(w.text, w.start_s - first, w.end_s - first) for w in inside]
        for place, text in enumerate(self.noise.pop() if self.noise else ()):  # what is new is misheard
            if heard and heard[-1 - place % len(heard)].end_s > len(audio) / RATE_HZ - 1:
                old = heard[-1 - place % len(heard)]
                heard[-1 - place % len(heard)] = Word(text, old.start_s, old.end_s)
        return heard


def voice(seconds):
    """Samples that say when they are."""
    return (np.arange(round(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)


def spoken(texts, gaps):
    at, words = 0.0, []
    for number, (text, gap) in enumerate(zip(texts, gaps, strict=True)):
        at += gap
        words.append(Word(text, at, at + 0.2 + 0.6 * (number % 4)))
        at = words[-1].end_s
    return words, at


def told(live, audio, sizes):
    """All that is settled, as it came; checks at every step that nothing settled changes."""
    came, at, number = [], 0, 0
    while at < len(audio):
        size = sizes[number % len(sizes)]
        heard = live.add(audio[at : at + size])
        came += heard.settled
        assert tuple(came) == live.settled
        assert live.held_s <= MOST_S
        at, number = at + size, number + 1
    came += live.finish().settled
    assert tuple(came) == live.settled
    assert live.unsettled == ()
    return came


SIZES = st.lists(st.integers(1_000, 90_000), min_size=1, max_size=4)


@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.floats(0, 1.5)), max_size=60),
    st.lists(st.lists(st.sampled_from(WORDS), max_size=3), max_size=30),
    SIZES,
)
@settings(max_examples=60, deadline=None)
def test_what_is_heard_right_once_it_is_over_is_settled_once_and_in_order(pairs, noise, sizes):
    words, end = spoken([p[0] for p in pairs], [p[1] for p in pairs])
    ideal = Ideal(words)
    assert [w.text for w in told(Live(ideal), voice(end + 1), sizes)] == [w.text for w in words]
    assert ideal.longest_s <= MOST_S
    misheard = told(Live(Ideal(words, noise)), voice(end + 1), sizes)
    assert all(a.end_s <= b.start_s for a, b in pairwise(misheard))


TIMES = st.floats(allow_nan=True, allow_infinity=True, width=32)
ANSWERS = st.lists(st.lists(st.builds(Word, st.sampled_from([*WORDS, "", " "]), TIMES, TIMES), max_size=12))


@given(ANSWERS, SIZES, st.floats(1, 70))
@settings(max_examples=60, deadline=None)
def test_whatever_a_model_answers_nothing_settled_changes_and_the_audio_is_bounded(answers, sizes, seconds):
    left = list(answers)
    came = told(Live(lambda _: left.pop() if left else []), voice(seconds), sizes)
    assert all(0 <= w.start_s <= w.end_s <= seconds + 1e-3 and w.text for w in came)
    assert all(a.end_s <= b.start_s for a, b in pairwise(came))


def answering(*answers):
    """A model that hears these texts, one after the other, then the last for ever; words of half a second."""
    left = list(answers)

    def listen(audio):
        texts = (left.pop(0) if len(left) > 1 else left[0]).split()
        return [Word(text, i / 2, i / 2 + 0.4) for i, text in enumerate(texts)]

    return listen


def test_words_settle_when_two_answers_agree_and_not_before():
    live = Live(answering("det", "det var", "det är en", "det är en gång"))
    seen = [live.add(voice(1)) for _ in range(4)]
    assert [[w.text for w in heard.settled] for heard in seen] == [[], ["det"], [], ["är", "en"]]
    assert [[w.text for w in heard.unsettled] for heard in seen] == [["det"], ["var"], ["är", "en"], ["gång"]]
    assert [w.text for w in live.finish().settled] == ["gång"]


def test_a_settled_word_that_is_heard_otherwise_later_stays_and_its_successors_follow():
    live = Live(answering("hej du", "hej du", "nej du där", "nej du där"))
    for _ in range(4):
        live.add(voice(1))
    assert [w.text for w in live.settled] == ["hej", "du", "där"]


def test_what_is_repeated_in_truth_is_kept():
    live = Live(answering("ja ja", "ja ja ja", "ja ja ja ja", "ja ja ja ja"))
    for _ in range(4):
        live.add(voice(1))
    assert [w.text for w in live.settled] == ["ja"] * 4


def test_a_model_that_fails_loses_no_word():
    calls = []

    def listen(audio):
        calls.append(len(audio))
        if len(calls) == 2:
            raise OSError("the model is away")
        return [Word("hej", 0.1, 0.4)]

    live = Live(listen)
    live.add(voice(1))
    with pytest.raises(OSError, match="away"):
        live.add(voice(1))
    live.add(voice(1))
    assert calls == [16_000, 32_000, 48_000]
    assert [w.text for w in live.settled] == ["hej"]


@pytest.mark.parametrize("block", [np.zeros(4), np.zeros((2, 2), np.float32), np.array([np.nan], np.float32)])
def test_what_is_no_audio_is_refused(block):
    with pytest.raises(ValueError, match="want "):
        Live(answering("hej")).add(block)


def test_after_the_end_nothing_is_taken_and_nothing_is_said_again():
    live = Live(answering("hej"))
    live.add(voice(1))
    assert [w.text for w in live.finish().settled] == ["hej"]
    assert live.finish().settled == ()
    with pytest.raises(RuntimeError, match="ended"):
        live.add(voice(1))
