"""Texts that are the same but for spelling, numbers or a word: told in any alphabet, and never called new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tone_corpus import ToneCorpus, clips

from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.near_texts import Near
from dagsverk.speech.features import preparation, read_before, shards
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.store import Store, open_store

NEARLY = [
    ("The conference is now locked.", "the conference is now UNLOCKED"),  # another word
    ("Please enter your password followed by #.", "Please enter your new password, followed by #"),
    ("premere 2 per immettere un numero diverso", "premere 1 per immettere un numero"),  # and a number
    ("Nacque il 3 maggio 1994 a Roma", "Nacque il 21 maggio 1887 a Roma"),  # several numbers
    ("numero no valido", "Número no válido"),  # accents
    ("Aurevoir", "Au revoir."),  # a space
    ("d'un appelant inconnu", "d’un appellant inconnu"),  # a doubled letter
    ("звездочка, пожалуйста", "Звёздочка пожалуйста"),
    ("今日は天気がとてもいいですね", "今日は天気がすこしいいですね"[:6] + "とても" + "良いですね"),
    ("كتابٌ جديدٌ على الطاولةِ", "كتاب جديد على الطاولة"),  # vowel points
]
OTHERS = [
    ("cartella 5", "cartella 6"),  # of two words, another number is another text
    ("casa", "cosa"),
    ("uno", "una"),
    ("il gatto mangia il pesce", "il cane beve il latte"),
    ("uno due tre quattro cinque", "zero uno due tre quattro"),  # one in front, one less behind
    ("Marque 7 para borrar el mensaje.", "Marque 4 para el mensaje previo."),
    ("one two", "two one"),
    ("好的", "不好"),
    ("", "..."),
]


@pytest.mark.parametrize(("one", "other"), NEARLY)
def test_texts_that_differ_in_spelling_numbers_or_a_word_are_nearly_the_same(one: str, other: str) -> None:
    assert Near([one]).of([other]) == Near([other]).of([one]) == [0]
    assert Near(["something else altogether is said here", one, other]).before() == [None, None, 1]


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_other_texts_are_not(one: str, other: str) -> None:
    assert Near([one]).of([other]) == Near([other]).of([one]) == [None]
    assert Near([one, other]).before() == [None, None]


def test_nothing_and_what_is_no_word_is_near_to_nothing() -> None:
    assert Near([]).of(["a b c d e"]) == [None] and Near([]).before() == []
    assert Near(["", "…", "\u0301"]).of(["", "…", "\u0301", "\ud800"]) == [None] * 4
    assert Near(["a"]).of([]) == []


def test_the_words_left_out_are_told_wherever_they_stand() -> None:
    words = [f"word{number}" for number in range(300)]
    texts = [" ".join([*words[:place], *words[place + 1 :]]) for place in range(300)]
    assert Near([" ".join(words)]).of(texts) == [0] * 300


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


SAYS = {
    "train-0": "The conference is now locked.",
    "train-1": "The conference is now muted.",
    "train-2": "Good-bye!",
    "dev-0": "the conference is now locked",
    "dev-1": "Please wait for the next operator",
    "test-0": "The conference is now unlocked.",
    "test-1": "Please wait for the first operator",
}


def test_a_nearly_read_sentence_of_the_test_is_no_new_one(store: Store, tmp_path: Path) -> None:
    corpus = ToneCorpus(rows=[replace(one, text=SAYS.get(one.id, one.id)) for one in clips()])
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(shard_clips=3), "tones")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    made = preparation.complete(store, set_id)
    assert made.near_texts is not None and made.near_texts.in_train == ("test-0",)
    assert {kind: one.clips for kind, one in made.near_texts.kinds.items()} == {
        "of test, nearly one of train": 1,
        "of test, nearly one of dev": 2,
        "of train, nearly another of it": 1,
    }
    assert made.shared_sentences == {"dev": (1, 2), "test": (0, 2)}
    rows = open_prepared(store, made.id, ("dev", "test"), tmp_path / "cache").rows
    assert dict(zip(rows["id"], rows["in_train"], strict=True)) == {
        "dev-0": True, "dev-1": False, "test-0": True, "test-1": False,
    }  # fmt: skip


def test_clips_that_are_not_used_are_near_to_nothing() -> None:
    texts = [("a", "train", SAYS["train-0"]), ("b", "test", SAYS["test-0"])]
    assert read_before.look(texts).in_train == ("b",)
    assert read_before.look(texts, {"a"}) == shards.NearTexts(clips=1, in_train=(), kinds={})
