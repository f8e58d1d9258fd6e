"""Who, which file, which language a row means, however it is spelt; and one recording under two names."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_clips import json_lines, lay_out, pack, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.corpus import Tally
from dagsverk.speech.corpora.identity import (
    FileNames,
    Voices,
    clean_name,
    clean_value,
    is_asked_for,
    tidy_path,
)
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.language_names import spoken_language
from dagsverk.speech.languages import LANGUAGES

NFD = "åsa"


def opened(path, language="sv"):
    return open_corpus(CorpusConfig(source=str(path)), language)


def own(tmp_path, rows, files=None, *, packed=False):
    files = files or {row["file"]: wav(0.2, 200 + i) for i, row in enumerate(rows)}
    content = {"metadata.jsonl": json_lines(rows), **files}
    return pack(content, tmp_path / "own.tar.gz") if packed else lay_out(content, tmp_path / "own")


def rows_of(*rows):
    """(speaker, split) or (speaker, split, text) -> rows of recordings of their own."""
    return [
        {"file": f"{i}.wav", "speaker": row[0], "split": row[1], "text": row[2] if row[2:] else f"hej {i}"}
        for i, row in enumerate(rows)
    ]


# ------------------------------------------------------------------ people


@pytest.mark.parametrize(
    "one, other",
    [
        ("åsa", "a\u030asa"),
        ("anna berg", "anna\u00a0berg"),
        ("anna berg", " anna  berg\t"),
        ("bo", "bo\u200b"),
        ("bo", "\u202abo\u202c\ufeff"),
        ("bo", "b\u00ado"),
        ("Bo Ek", "BO EK"),
        ("Bo Ek", "Ｂｏ Ｅｋ"),
        ("O'Neil", "O’Neil"),
        ("Ann-Sofie", "Ann‑Sofie"),
        ("7", "7.0"),
        ("7", 7),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_one_speaker_spelt_two_ways_is_heard_in_one_split(tmp_path, one, other, packed):
    rows = rows_of((one, "train"), ("cia", "train"), ("dag", "dev"), (other, "test"))
    listing = opened(own(tmp_path, rows, packed=packed)).listing()
    assert [(fault.clip, fault.reason) for fault in listing.rejected] == [
        ("0.wav", "speaker in another split")
    ]
    assert len(listing.clips) == 3


@pytest.mark.parametrize(
    "word",
    ["unknown", "Unknown", "UNK", "NA", "n/a", "N.A.", "#N/A", "<NA>", "nan", "-", "--", "none", "null", "?",
     "anonymous", "Okänd", "\u200b", "\u00a0", "-1", "…", "(none)", "unknown speaker"],
)  # fmt: skip
def test_who_is_called_nobody_is_nobody(tmp_path, word):
    rows = rows_of((word, "train"), ("cia", "train"), ("dag", "dev"), (word, "test"))
    listing = opened(own(tmp_path, rows)).listing()
    assert [clip.speaker for clip in listing.clips] == ["", "cia", "dag", ""]
    assert listing.rejected == []


def test_people_who_are_different_stay_so():
    voices = Voices()
    names = ["anna", "anna b", "hanna", "7", "70", "a", "b", "ana", "No", "Nadia", "Nan-Li"]
    assert [voices[name] for name in names] == names


@settings(max_examples=60, deadline=None)
@given(st.text("aå\u030a \u00a0\u200b\u202e\n\t’'Ab", max_size=8))
def test_what_is_clean_stays_so_and_every_spelling_comes_to_the_same(name):
    assert clean_name(clean_name(name)) == clean_name(name)
    assert clean_value(clean_value(name)) == clean_value(name)
    for spelling in (unicodedata.normalize("NFD", name), f" {name}\u200b", name.replace(" ", "\u00a0")):
        assert clean_name(spelling) == clean_name(name)


def test_words_for_nothing_are_nothing_in_every_fact_and_an_id_is_then_the_files(tmp_path):
    rows = [
        {
            **row,
            "gender": "N/A",
            "age": "unknown",
            "accent": "-",
            "licence": "none",
            "id": "NA",
            "translation": "NaN",
        }
        for row in rows_of(("a", "train"), ("b", "dev"), ("c", "test"))
    ]
    for clip in opened(own(tmp_path, rows)).listing().clips:
        assert (clip.gender, clip.age, clip.accent, clip.licence, clip.translation) == ("", "", "", "", "")
        assert clip.id == clip.audio


def test_a_split_is_told_however_it_is_spelt_and_a_word_for_nothing_tells_none(tmp_path):
    stated = ["Train", "TEST ", "validation", "te\u200bst", "NA", "train\u00a0", "unknown", "exam"]
    listing = opened(own(tmp_path, rows_of(*(("", split) for split in stated)))).listing()
    splits = {clip.id: clip.split for clip in listing.clips}
    assert [splits.get(f"{i}.wav", "") for i in range(8)] == [
        "train", "test", "dev", "test", "train", "train", "train", ""
    ]  # fmt: skip
    assert [fault.reason for fault in listing.rejected] == ["unknown split"]


def test_ids_that_differ_in_what_nobody_sees_are_one_and_the_test_keeps_it(tmp_path):
    rows = rows_of(("a", "train"), ("b", "dev"), ("c", "test"), ("d", "train"))
    for row, name in zip(rows, ("sång 1", "x", "sa\u030ang\u00a01", "y"), strict=True):
        row["id"] = name
    listing = opened(own(tmp_path, rows)).listing()
    assert [(fault.clip, fault.reason) for fault in listing.rejected] == [("sång 1", "duplicate id")]
    assert {clip.id: clip.split for clip in listing.clips} == {"x": "dev", "sång 1": "test", "y": "train"}


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "stated, on_disk",
    [
        ("så.wav", "sa\u030a.wav"),
        ("sa\u030a.wav", "så.wav"),
        ("ljud/så.wav", "ljud/sa\u030a.wav"),
        (".\\ljud\\1.wav", "ljud/1.wav"),
        ("./ljud//1.wav", "ljud/1.wav"),
        (" ljud/1.wav\u200b", "ljud/1.wav"),
        ("ljud 1.wav", "ljud\u00a01.wav"),
        ("ljud%201.wav", "ljud 1.wav"),
        ("s%C3%A5.wav", "så.wav"),
        ("A.WAV", "a.wav"),
        ("Ljud/a.wav", "ljud/A.wav"),
        ("a%20b.wav", "a%20b.wav"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_found_however_its_name_is_spelt(tmp_path, stated, on_disk, packed):
    rows = [{"file": stated, "text": "hej", "split": "train"}, *rows_of(("", "dev"), ("", "test"))]
    files = {on_disk: wav(0.3), "0.wav": wav(0.3, 300), "1.wav": wav(0.3, 400)}
    corpus = opened(own(tmp_path, rows, files, packed=packed))
    listing = corpus.listing()
    assert listing.rejected == []
    assert {clip.audio: sound for clip, sound in corpus.read(listing.clips)}[on_disk] == wav(0.3)


def test_of_files_that_are_spelt_alike_the_exact_one_is_meant_or_none():
    names = FileNames(dict.fromkeys(["så.wav", "sa\u030a.wav", "a.wav", "A.WAV", "x/1.wav", "x\\1.wav"]))
    assert names.find("sa\u030a.wav") == ("sa\u030a.wav",)
    assert names.find("så.wav") == ("så.wav",)
    assert set(names.find("s\u200bå.wav")) == {"så.wav", "sa\u030a.wav"}
    assert set(names.find("a.Wav")) == {"a.wav", "A.WAV"}
    assert names.find("x\\1.wav") == ("x\\1.wav",)
    assert names.find("b.wav") == ()
    assert tidy_path("../x") == "../x" and tidy_path("/x") == "/x"


def test_a_row_that_may_mean_two_files_is_rejected(tmp_path):
    rows = [{"file": "a.Wav", "text": "hej"}, *rows_of(("", "train"), ("", "dev"), ("", "test"))]
    files = {name: wav(0.3, 300 + i) for i, name in enumerate(["a.wav", "A.WAV", "0.wav", "1.wav", "2.wav"])}
    (fault,) = opened(own(tmp_path, rows, files)).listing().rejected
    assert fault.reason in ("ambiguous audio", "missing audio")


# ------------------------------------------------------------------ languages


def named(code, *names):
    return [(name, code) for name in names]


@pytest.mark.parametrize(
    "stated, code",
    [
        *((each.code, each.code) for each in LANGUAGES.values()),
        *((each.title, each.code) for each in LANGUAGES.values()),
        *named("sv", "swe", "sv-SE", "sv_SE.UTF-8", "SV", "svenska", "Swedish", "svedese", "sv-x-own"),
        *named("en", "eng", "en_US", "engelska", "inglese"),
        *named("de", "deu", "ger", "Deutsch", "tyska", "de-AT"),
        *named("no", "nob", "nb", "no", "nor", "Bokmål", "norska"),
        *named("nn", "nno", "nn", "nynorsk"),
        *named("zh", "cmn", "zh-TW", "Mandarin", "中文"),
        ("yue", "yue"), ("zh-yue", "yue"), ("fil", "tl"), ("jv", "jw"), ("iw", "he"), ("gre", "el"),
        ("Swedish (Sweden)", "sv"), ("haitian_creole", "ht"), ("arb", "ar"), ("日本語", "ja"),
        ("sc", "sc"), ("srd", "sc"), ("sardo", "sc"), ("se", "se"), ("gsw", "gsw"), ("mul", "mul"),
        *named(None, "xx", "cz", "sv/en", "12", "mis", "Sverige", "svenska och finska", "svenska/finska"),
        *named(None, "svenska-finska", "swedish x", "male speaker"), ("und", ""), ("Swedish language", "sv"),
    ],
)  # fmt: skip
def test_what_a_language_is_called_in_data(stated, code):
    assert spoken_language(stated) == code


@pytest.mark.parametrize(
    "stated, becomes",
    [
        *((word, "clip") for word in ("swe", "Svenska", "", "NA", "unknown", "und")),
        ("eng", "English"), ("nob", "Norwegian"), ("engelska", "English"), ("sc", "Sardinian"),
        ("zz", "rejected"), ("svenska/finska", "rejected"),
    ],
)  # fmt: skip
def test_a_row_is_of_the_language_asked_for_left_out_or_rejected(stated, becomes):
    tally = Tally(rows=1)
    kept = is_asked_for(stated, "sv", tally, "metadata.csv line 2")
    assert kept == (becomes == "clip")
    assert dict(tally.left_out) == (
        {} if becomes in ("clip", "rejected") else {f"other language: {becomes}": 1}
    )
    assert [one.reason for one in tally.rejected] == (["unknown language"] if becomes == "rejected" else [])


def test_where_all_rows_are_in_other_languages_the_error_says_which(tmp_path):
    rows = [
        {**row, "language": "eng" if i else "deu"} for i, row in enumerate(rows_of(*[("a", "train")] * 3))
    ]
    with pytest.raises(CorpusError, match="left out: 1 other language: German, 2 other language: English"):
        opened(own(tmp_path, rows)).listing()


# ------------------------------------------------------------------ one recording under two names

SOME = [wav(0.2, 300 + i) for i in range(8)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("said", ["Hej!", "något annat"])
def test_a_recording_of_the_test_under_another_name_is_not_heard_in_train(tmp_path, packed, said):
    rows = rows_of(
        ("a", "train", said), ("b", "train"), ("c", "dev"), ("d", "test", "hej"), ("e", "dev", "hej")
    )
    sounds = [SOME[0], SOME[1], SOME[2], SOME[0], SOME[3]]
    files = {row["file"]: sound for row, sound in zip(rows, sounds, strict=True)}
    listing = opened(own(tmp_path, rows, files, packed=packed)).listing()
    (fault,) = listing.rejected
    assert (fault.clip, fault.reason) == ("0.wav", "recording in another split")
    assert "in test as 3.wav" in fault.detail


def test_one_file_in_the_rows_of_two_splits_stays_in_the_test(tmp_path):
    rows = rows_of(("a", "train"), ("b", "train"), ("c", "dev"), ("d", "test"))
    rows[3] |= {"file": "0.wav", "id": "again"}
    listing = opened(own(tmp_path, rows)).listing()
    assert [(one.clip, one.reason) for one in listing.rejected] == [("0.wav", "recording in another split")]


def test_the_same_recording_and_words_again_in_one_split_are_left_out_and_counted(tmp_path):
    rows = rows_of(
        ("a", "train", "Hej du."), ("a", "train", "hej du"), ("b", "train"), ("c", "dev"), ("d", "test")
    )
    files = {row["file"]: SOME[max(i, 1)] for i, row in enumerate(rows)}
    listing = opened(own(tmp_path, rows, files)).listing()
    assert (len(listing.clips), listing.rejected) == (4, [])
    assert listing.left_out == {"the same recording and text again": 1}
    assert listing.rows == 5


def test_a_recording_under_several_texts_is_used_and_noted(tmp_path):
    """Which text is right, nobody can tell; a sound that stands under most names stands for none."""
    rows = rows_of(*[("", "train")] * 4, ("", "dev"), ("", "test"))
    corpus = opened(own(tmp_path, rows, {row["file"]: SOME[0] for row in rows}))
    assert (len(corpus.listing().clips), corpus.listing().rejected) == (6, [])
    assert [note for note in corpus.notes if note.startswith("6 clips have their recording")]


def test_one_recording_under_two_texts_is_drawn_into_one_split(tmp_path):
    rows = rows_of(*[("", "train")] * 30)
    files = {row["file"]: wav(0.2, 300 + i // 2) for i, row in enumerate(rows)}
    listing = opened(own(tmp_path, rows, files)).listing()
    assert (len(listing.clips), listing.rejected) == (30, [])
    split_of = {clip.id: clip.split for clip in listing.clips}
    assert all(split_of[f"{i}.wav"] == split_of[f"{i + 1}.wav"] for i in range(0, 30, 2))


def test_files_of_one_size_that_differ_anywhere_are_different(tmp_path):
    rows = rows_of(*[("", "train")] * 3, ("", "dev"), ("", "test"))
    sounds = [bytearray(wav(1.0)) for _ in rows]
    for i, sound in enumerate(sounds):
        sound[5000 + i] ^= 1  # in none of the pieces that are compared first
    files = {row["file"]: bytes(sound) for row, sound in zip(rows, sounds, strict=True)}
    listing = opened(own(tmp_path, rows, files)).listing()
    assert Counter(clip.split for clip in listing.clips) == {"train": 3, "dev": 1, "test": 1}
