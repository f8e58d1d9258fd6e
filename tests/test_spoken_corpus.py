"""The spoken corpus: sentences of our own, said by eSpeak NG in a process of its own."""

from __future__ import annotations

import hashlib
import io
import random
import re
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from dagsverk.speech.corpora import espeak
from dagsverk.speech.corpora.corpus import SPLITS, Clip, RejectedClip
from dagsverk.speech.corpora.grammars import GRAMMARS
from dagsverk.speech.corpora.sentences import Grammar, Phrase, phrases, split_of
from dagsverk.speech.corpora.spoken import DEFAULT_CLIPS, VOICES, SpokenCorpus, utterance
from dagsverk.speech.errors import CorpusError, Killed
from tasks.policies import PASSING

LANGUAGES = sorted(GRAMMARS)
SMALL = {"train_clips": 24, "dev_clips": 6, "test_clips": 8}  # every voice of dev and test
DIGEST = """
import hashlib, sys
from dagsverk.speech.corpora.grammars import GRAMMARS
from dagsverk.speech.corpora.spoken import SpokenCorpus
corpus = SpokenCorpus("sv", train_clips=24, dev_clips=6, test_clips=8)
clips = corpus.listing().clips[::-1]
print({clip.id: hashlib.sha256(audio).hexdigest() for clip, audio in corpus.read(clips)})
"""


@pytest.fixture(scope="module", params=LANGUAGES)
def corpus(request: pytest.FixtureRequest) -> SpokenCorpus:
    pytest.importorskip("espeakng_loader")
    return SpokenCorpus(request.param, **SMALL)


@pytest.fixture(scope="module")
def sounds(corpus: SpokenCorpus) -> dict[str, bytes]:
    """Clip -> WAV file, in the corpus's order."""
    read = {clip.id: audio for clip, audio in corpus.read(corpus.listing().clips)}
    assert not [audio for audio in read.values() if isinstance(audio, RejectedClip)]
    return {clip: audio for clip, audio in read.items() if isinstance(audio, bytes)}


def samples(audio: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(audio)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert 19_000 < file.getframerate() < 26_000
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def test_a_clip_sounds_the_same_in_another_process_and_in_another_order():
    pytest.importorskip("espeakng_loader")
    corpus = SpokenCorpus("sv", **SMALL)
    here = {
        clip.id: hashlib.sha256(audio).hexdigest()
        for clip, audio in corpus.read(corpus.listing().clips)
        if isinstance(audio, bytes)
    }
    root = Path(__file__).parents[1]
    there = subprocess.run(
        [sys.executable, "-c", DIGEST], cwd=root, check=True, capture_output=True, text=True
    )
    assert set(re.findall(r"'([^']+)': '(\w{64})'", there.stdout)) == set(here.items())


def test_every_voice_says_the_same_bytes_whatever_was_said_before():
    pytest.importorskip("espeakng_loader")
    wanted = [
        espeak.Utterance(text="Har du en röd hatt?", voice=f"sv+{voice}")
        for voices in VOICES.values()
        for voice in voices
    ]
    forwards, backwards = list(espeak.speak(wanted)), list(espeak.speak(wanted[::-1]))[::-1]
    changed = [one.voice for one, a, b in zip(wanted, forwards, backwards, strict=True) if a != b]
    assert not changed
    assert all(isinstance(audio, bytes) for audio in forwards)
    assert len(set(forwards)) == len(wanted)  # no voice is another's copy


def test_a_longer_vocal_tract_lowers_and_slows_the_same_samples():
    pytest.importorskip("espeakng_loader")
    usual = espeak.Utterance(text="Har du en röd hatt?", voice="sv+f1")
    short, long = espeak.speak([usual, replace(usual, tract_percent=110)])
    assert isinstance(short, bytes) and isinstance(long, bytes)
    assert np.array_equal(samples(short), samples(long))
    with wave.open(io.BytesIO(short)) as one, wave.open(io.BytesIO(long)) as other:
        assert (one.getframerate(), other.getframerate()) == (22050, 20045)  # 22050 / 1.1


def test_only_training_hears_altered_voices(corpus: SpokenCorpus):
    tracts = {split: [utterance(clip).tract_percent for clip in corpus.clips(split)] for split in SPLITS}
    assert set(tracts["dev"] + tracts["test"]) == {100}
    assert len(set(tracts["train"])) > 5


def test_a_clip_read_alone_sounds_as_it_does_among_others(corpus: SpokenCorpus, sounds: dict[str, bytes]):
    clip = corpus.listing().clips[-1]
    assert list(corpus.read([clip])) == [(clip, sounds[clip.id])]


def test_clips_last_half_a_second_to_ten_and_are_no_silence(sounds: dict[str, bytes]):
    for clip, audio in sounds.items():
        sound = samples(audio) / 32768
        assert 0.5 <= len(sound) / 22050 <= 10, clip
        assert np.sqrt(np.mean(sound**2)) > 0.01, clip  # -40 dBFS
        assert np.mean(np.abs(sound) > 0.999) < 0.01, clip


def test_rows_are_complete_and_in_their_own_language(corpus: SpokenCorpus):
    clips = corpus.listing().clips
    assert [sum(clip.split == split for clip in clips) for split in SPLITS] == list(SMALL.values())
    assert len({clip.id for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.language == corpus.language
        assert clip.text[0].isupper() and clip.text[-1] in ".?"
        assert clip.translation[0].isupper() and clip.translation[-1] in ".?"
        assert "{" not in clip.text + clip.translation
        assert clip.speaker in VOICES[clip.split]
        assert clip.gender == VOICES[clip.split][clip.speaker]
        assert clip.licence and utterance(clip).voice == f"{corpus.language}+{clip.speaker}"


def test_no_voice_is_heard_in_two_splits():
    names = [voice for voices in VOICES.values() for voice in voices]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_half_the_clips_of_every_split_are_spoken_by_women(language: str):
    clips = list(SpokenCorpus(language).clips("train"))
    assert sum(clip.gender == "female" for clip in clips) * 2 == len(clips)
    assert {clip.speaker for clip in clips} == set(VOICES["train"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_said_in_two_splits_and_none_twice(language: str):
    corpus = SpokenCorpus(language)
    texts = {split: [clip.text for clip in corpus.clips(split)] for split in SPLITS}
    assert {split: len(set(sentences)) for split, sentences in texts.items()} == dict(DEFAULT_CLIPS)
    assert len(set().union(*texts.values())) == sum(DEFAULT_CLIPS.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_dev_and_test_is_also_said_in_training(language: str):
    corpus = SpokenCorpus(language)
    words = {
        split: {word for clip in corpus.clips(split) for word in re.findall(r"[\w']+", clip.text.lower())}
        for split in SPLITS
    }
    assert words["train"] >= words["dev"] | words["test"]
    assert words["train"] == GRAMMARS[language].words()
    assert len(words["train"]) > 150


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_grammar_makes_many_thousand_sentences(language: str):
    assert GRAMMARS[language].size() > 15_000


@pytest.mark.parametrize(
    "language, slot, text, english",
    [
        ("sv", "a_thing", "en röd cykel", "a red bicycle"),
        ("sv", "a_thing", "ett rött hus", "a red house"),
        ("sv", "a_thing", "ett blått paraply", "a blue umbrella"),
        ("sv", "a_thing", "en svart hatt", "a black hat"),
        ("sv", "the_thing", "den gula boken", "the yellow book"),
        ("sv", "the_thing", "det vita tältet", "the white tent"),
        ("sv", "mine_is", "mitt hus är brunt", "my house is brown"),
        ("sv", "mine_is", "vår båt är grön", "our boat is green"),
        ("sv", "dish_is", "kaffet är kallt", "the coffee is cold"),
        ("sv", "dish_is", "soppan är kall", "the soup is cold"),
        ("it", "a_thing", "un'auto rossa", "a red car"),
        ("it", "a_thing", "uno zaino bianco", "a white backpack"),
        ("it", "a_thing", "un ombrello blu", "a blue umbrella"),
        ("it", "a_thing", "una borsa verde", "a green bag"),
        ("it", "the_thing", "l'agenda nera", "the black diary"),
        ("it", "the_thing", "lo specchio grigio", "the grey mirror"),
        ("it", "mine_is", "la mia auto è gialla", "my car is yellow"),
        ("it", "mine_is", "il tuo zaino è nero", "your backpack is black"),
        ("it", "dish_is", "l'acqua è calda", "the water is hot"),
        ("it", "dish_is", "lo yogurt è buono", "the yoghurt is good"),
    ],
)
def test_words_agree_with_their_noun(language: str, slot: str, text: str, english: str):
    assert Phrase(text, english) in GRAMMARS[language].slots[slot]


@pytest.mark.parametrize(
    "language, wrong",
    [
        ("sv", r"\b(en \w+tt \w+|ett (röd|grön|blå|gul|vit|brun) |den \w+ \w+et\b|det \w+ \w+en\b)"),
        ("it", r"\b(un' |il [aeiou]|il z|il sp|lo [b-ln-r]\w|la a|una a|un z|un sp|il uova)"),
    ],
)
def test_no_sentence_breaks_a_rule_of_its_articles(language: str, wrong: str):
    chance = random.Random(1)
    sentences = {GRAMMARS[language].sentence(chance).text.lower() for _ in range(5000)}
    assert not [text for text in sentences if re.search(wrong, text)]


def test_a_sentence_is_capitalised_and_its_english_says_the_same():
    grammar = Grammar("sv", phrases("{day} blir det {sky}. = {day} it will {sky}."), {
        "day": phrases("på måndag = on Monday"), "sky": phrases("regn = rain"),
    })  # fmt: skip
    assert grammar.sentence(random.Random(0)) == Phrase("På måndag blir det regn.", "On Monday it will rain.")


def test_a_pattern_whose_english_forgets_a_slot_is_refused():
    with pytest.raises(ValueError, match="same slots"):
        Grammar("sv", phrases("{day} regnar det. = it is raining."), {"day": phrases("i dag = today")})


def test_a_sentence_belongs_to_one_split_for_good():
    # Stated here: if the rule changed, sentences of test would be heard in training by models made before.
    sentences = ["Har du en röd hatt?", "Anna sjunger vid sjön.", "Har du en blå hatt?"]
    assert [split_of(text) for text in sentences] == ["train", "test", "train"]


@pytest.mark.parametrize("language", ["en", "klingon"])
def test_a_language_without_sentences_is_refused_with_those_that_have(language: str):
    with pytest.raises(CorpusError, match="sentences in it, sv"):
        SpokenCorpus(language)


def test_more_clips_than_there_are_sentences_is_refused():
    with pytest.raises(CorpusError, match="wanted 9999 dev clips"):
        list(SpokenCorpus("sv", dev_clips=9999).clips("dev"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_clips_are_the_same_however_many_are_wanted(language: str):
    few, many = (list(SpokenCorpus(language, train_clips=count).clips("train")) for count in (20, 50))
    assert many[:20] == few


def test_the_fingerprint_follows_language_seed_and_numbers(corpus: SpokenCorpus):
    same = SpokenCorpus(corpus.language, **SMALL)
    others = [
        SpokenCorpus(corpus.language, **SMALL, seed=1),
        SpokenCorpus(corpus.language, **SMALL | {"dev_clips": 5}),
    ]
    assert same.listing().fingerprint == corpus.listing().fingerprint
    assert len({other.listing().fingerprint for other in others} | {corpus.listing().fingerprint}) == 3


def test_a_missing_wheel_is_named_with_the_next_move(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # what Python does for an absent package
    with pytest.raises(CorpusError, match="pip install espeakng-loader"):
        SpokenCorpus("sv", **SMALL).listing()


def test_absent_voices_are_an_error_and_no_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    loader = pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(loader, "get_data_path", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match="ended before it had answered"):
        espeak.version()
    with pytest.raises(CorpusError, match="ended before it had answered"):
        list(espeak.speak([espeak.Utterance(text="hej", voice="sv+f1")]))


def test_a_synthesiser_that_is_killed_is_passing_trouble_and_not_said_to_be_badly_installed():
    pytest.importorskip("espeakng_loader")
    answers = espeak.speak([espeak.Utterance(text=f"hej {n}", voice="sv+f1") for n in range(300)])
    next(answers)
    worker = next(p for p in psutil.Process().children() if "dagsverk.speech.corpora.espeak" in p.cmdline())
    worker.kill()
    with pytest.raises(Killed, match="try again"):
        list(answers)
    assert issubclass(Killed, PASSING)


def test_a_voice_that_does_not_exist_costs_its_own_clip_only(corpus: SpokenCorpus, sounds: dict[str, bytes]):
    good = corpus.listing().clips[0]
    bad = replace(good, id="bad", audio="spoken:xx+nobody?rate=170&pitch=50&range=50&tract=100")
    (_, refused), (_, audio) = corpus.read([bad, good])
    assert isinstance(refused, RejectedClip) and refused.reason == "not spoken"
    assert "xx+nobody" in refused.detail
    assert audio == sounds[good.id]


@pytest.mark.parametrize(
    "address", ["clips/1.wav", "spoken:sv+f1", "other:sv+f1?rate=170&pitch=50&range=50&tract=100"]
)
def test_a_clip_of_another_corpus_is_refused(address: str):
    clip = Clip(id="x", audio=address, text="Hej.", language="sv", split="train")
    with pytest.raises(CorpusError, match="no clip of the spoken corpus"):
        utterance(clip)


def test_listing_loads_neither_torch_nor_espeak():
    code = (
        "import sys; from dagsverk.speech.corpora.spoken import SpokenCorpus; "
        "list(SpokenCorpus('sv').clips('dev')); "
        "print({'torch', 'numpy', 'espeakng_loader'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
