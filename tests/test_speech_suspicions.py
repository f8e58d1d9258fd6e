"""Texts that cannot be what is said are counted and shown, and their clips are used all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_corpus import SoundCorpus

from dagsverk.speech import steps
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.features import preparation, shards, suspicions
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.features.suspicions import KINDS, OFTEN, TOO_FAST, TOO_SLOW
from dagsverk.speech.languages import LANGUAGES
from dagsverk.store import open_store

DIRECTION, MISSING, QUESTION, LOST, ENCODING, LEFT, FILE, LABEL, *OTHERS = KINDS
EMOJI, HOLDER, DIGITS, SCRIPT, TWO, ACCENT = OTHERS
ODD = [  # kind, language, texts
    (DIRECTION, "it", ["(ridendo) ciao", "il [suo] nome", "*laughs* no", "ciao <risata>", "ciao {ride}"]),
    (DIRECTION, "ja", ["（笑）はい"]),
    (MISSING, "sv", ["hej <unk> du", "<noise> hej", "hej <UNK>", "<spoken_noise> ja"]),
    (QUESTION, "it", ["citt?", "perch? no", "La conferenza ? piena.", "?tre meno", "pu? essere", "per¿ no"]),
    (QUESTION, "fr", ["d?j?", "D'o? est venu le caf??"]),
    (LOST, "it", ["citt\ufffd", "perch\u2426", "citt\u25a1", "perch\x82 no", "perch\x1a"]),
    (ENCODING, "it", ["perchÃ© no", "lâ€™acqua", "cittÃ\xa0 bella", "citt√† bella"]),
    (ENCODING, "ru", ["РџСЂРёРІРµС‚ РјРёСЂ"]),
    (LEFT, "it", [r"perche\' no", r"citt\u00e0", "citt%C3%A0", r"ciao\nciao"]),
    (QUESTION, "it", ["non pu? essere", "di pi?", "PERCH?"]),
    (LEFT, "sv", ["hej </ du", "Tom &amp Jerry", "hej <y> du"]),
    (FILE, "sv", ["se https://example.org", "clip_001.wav", "00:00:01,500 --> 00:00:02", "mejla a@b.se"]),
    (LABEL, "sv", ["A: hej", "Speaker 1: hej", ">> hej"]),
    (EMOJI, "sv", ["hej 😀", "♪ tralala"]),
    (HOLDER, "sv", ["TODO", "unknown", "N/A", "Lorem ipsum dolor", "____", "XXX", "aaaaaaa"]),
    (DIGITS, "sv", ["12345", "14:30", "20 %"]),
    (SCRIPT, "sv", ["привет мир", "你好"]),
    (SCRIPT, "ru", ["one second of silence"]),
    (SCRIPT, "ja", ["hello there"]),
    (TWO, "ru", ["первoe слово"]),  # with a Latin o and e
    (TWO, "en", ["pаypal is here"]),
    (ACCENT, "it", ["E' in uso", "perche` no"]),
]  # fmt: skip
PLAIN = [
    ("it", "Perché no? Così, più in là: l’acqua c'è, un po' di 'pane' e va' via."),
    ("it", "Come va? Bene. E tu?"),
    ("sv", "Har du en svart hatt?"),
    ("sv", "– Var är du? frågade hon."),
    ("en", "Is that enough? Which church?"),
    ("de", "Kommst du auch noch?"),
    ("it", "come va? bene, e tu?"),
    ("sv", "Hon sa: »Är du på väg till Åmål?« – 3 av 4 ja; AT&T, x < y."),
    ("en", "What? No! It's 5 o'clock, isn't it… rock'n'roll, naïve café"),
    ("es", "¿Qué hora es? ¡Son las dos!"),
    ("fr", "Où est-ce ? Déjà à l’œuvre, ça va."),
    ("de", "Die „Straße“ – groß, Ärger; 20 % mehr."),
    ("ru", "Что? Нет! Это IP-телефон, ёлка — «мир»."),
    ("ja", "私はＮＨＫの学生です。カタカナも。"),
    ("ko", "안녕하세요? 저는 학생입니다."),
    ("zh", "你好吗？我很好。"),
    ("hi", "क्या हाल है? मैं ठीक हूँ।"),
    ("sr", "Добар дан, како сте?"),
    ("sr", "Dobar dan, kako ste?"),
    ("ar", "كيف حالك؟ بخير."),
    ("vi", "Tôi được biết là bạn ở Việt Nam."),
]


@pytest.mark.parametrize("kind, code, text", [(kind, code, t) for kind, code, texts in ODD for t in texts])
def test_a_text_that_cannot_be_what_is_said_is_noticed(kind, code, text):
    cleaned = clean_text(text, keep_marks=True) or text
    assert kind in suspicions.find(cleaned, len(cleaned) / 15 + 1, code)


@pytest.mark.parametrize("code, text", PLAIN)
def test_a_text_as_people_write_it_is_not_suspicious(code, text):
    assert clean_text(text) == text
    letters = {"ja": 6, "ko": 6, "zh": 4}.get(code, 14)
    assert suspicions.find(text, len(text) / letters, code) == ()


@pytest.mark.parametrize(
    "text, duration_s, kinds",
    [
        ("en hög ton", 1.0, ()),
        ("ja", 3.5, ()),  # a word and pauses
        ("ett två tre " * 10, 2.0, (TOO_FAST,)),
        ("1234567890 " * 2, 1.5, (DIGITS, TOO_FAST)),  # a digit is a word
        ("ja", 12.0, (TOO_SLOW,)),
        ("你好" * 20, 2.0, (SCRIPT, TOO_FAST)),
    ],
)
def test_nobody_speaks_so_fast_or_so_slowly(text, duration_s, kinds):
    assert suspicions.find(text.strip(), duration_s, "sv") == kinds


@given(st.text(), st.floats(0.1, 30.0), st.sampled_from(sorted(LANGUAGES)))
def test_any_text_in_any_language_can_be_looked_at(text, duration_s, code):
    assert len(set(suspicions.find(text, duration_s, code))) <= len(KINDS) + 2


class OddCorpus(SoundCorpus):
    """Its first test clip has a direction, every train clip one and the same sentence."""

    def listing(self):
        listing = super().listing()
        test = next(clip for clip in listing.clips if clip.split == "test")
        texts = {test.id: "(skrattar) <unk> en hög ton"}
        texts |= {clip.id: "en mycket lång mening" for clip in listing.clips if clip.split == "train"}
        clips = [replace(clip, text=texts.get(clip.id, clip.text)) for clip in listing.clips]
        return replace(listing, clips=clips)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """(store, manifest, corpus) of an odd corpus, prepared."""
    store, corpus = open_store(str(tmp_path_factory.mktemp("odd"))), OddCorpus(voices=7)
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(), "odd")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    return store, preparation.complete(store, set_id), corpus


def test_a_set_counts_its_suspicious_texts_and_those_of_test_with_examples(odd):
    _, manifest, _ = odd
    assert list(manifest.suspicious) == [OFTEN, DIRECTION, MISSING]
    often, direction = manifest.suspicious[OFTEN], manifest.suspicious[DIRECTION]
    assert (often.clips, often.test_clips, len(often.examples)) == (21, 0, 1)
    assert "(21 times)" in often.examples[0].detail
    assert (direction.clips, direction.test_clips) == (1, 1)
    assert direction.examples == direction.test_examples
    assert "(skrattar)" in direction.examples[0].detail


def test_suspicious_clips_are_used_and_marks_are_not_taught(odd, tmp_path):
    store, manifest, corpus = odd
    assert manifest.splits["test"].clips == 21
    assert sum(totals.clips for totals in manifest.splits.values()) == len(corpus.listing().clips)
    taught = preparation.plans.texts(store, manifest.id)
    assert any("<unk>" in text for _, _, text in taught)  # as planned: who counts sees the mark
    rows = open_prepared(store, manifest.id, ["test"], tmp_path).rows
    assert "(skrattar) en hög ton" in set(rows["text"])


def test_the_step_says_what_is_suspicious(odd):
    _, manifest, _ = odd
    words = steps.suspicious_words(steps.prepared(manifest, new=True))
    assert words == (
        "suspicious texts, used all the same: 21 with one sentence many times, "
        "1 with a direction in brackets, 1 with a mark where a word is missing"
    )


def test_a_set_of_a_version_that_did_not_look_says_so(odd):
    _, manifest, _ = odd
    before = replace(manifest, suspicious=None)
    assert steps.suspicious_words(steps.prepared(before, new=True)) == ""
    record = preparation._record(odd[0], manifest.id, 0)
    assert suspicions.together([record, replace(record, suspicious=None)], list) is None
    assert isinstance(shards.manifest(odd[0], manifest.id).suspicious[OFTEN], shards.Suspicion)
