"""Texts are made alike in what nobody hears, and stay apart in all that can be heard."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.languages import LANGUAGES

SWEDISH = [
    ("Är du på väg till Åmål?", "är du på väg till åmål"),
    ("Åsa köpte blåbär.", "åsa köpte blåbär"),
    ("a\u030ar", "år"),  # the letter and its ring, typed apart
    ("En idé om Linné", "en idé om linné"),
    ("e-post, TV-apparat", "e post tv apparat"),
    ("»Kom hit!» – sade hon", "kom hit sade hon"),
    ("Det kostar 20 kr, eller 5 %.", "det kostar 20 kr eller 5"),
    ("Lars’ bil och rock'n'roll", "lars bil och rocknroll"),
    ("[skratt] Ja, <sil> det (nog) går", "ja det nog går"),
    ("klockan  14.30\n", "klockan 14 30"),
    ("dag\u00adstidning\ufeff", "dagstidning"),  # a soft hyphen and a byte order mark
    ("GROSS ẞ, ß", "gross ß ß"),
]
ITALIAN = [
    ("L'acqua è fredda.", "l acqua è fredda"),
    ("L’acqua", "l acqua"),  # however the apostrophe is typed
    ("L´acqua", "l acqua"),
    ("L ' acqua", "l acqua"),
    ("un'ora", "un ora"),
    ("l'inizio dell'anno", "l inizio dell anno"),
    ("C'è un po' di tempo", "c è un po di tempo"),
    ("Perché no? Così, più in là!", "perché no così più in là"),
    ("perche\u0301", "perché"),
    ("È l'italo-svedese…", "è l italo svedese"),
]
OTHERS = [
    ("क्या हिन्दी?", "hi", "क्या हिन्दी"),  # vowels are marks there
    ("கிளி", "ta", "கிளி"),
    ("П’ять", "uk", "пять"),
    ("I'm", "en", "im"),
    ("IĞDIR, İstanbul", "tr", "ığdır istanbul"),
    ("私は、学生。", "ja", "私 は 学 生"),
    ("ที่นี่", "th", "ที่ นี่"),  # a letter with its marks is one
    ("l’eau, aujourd’hui", "fr", "l eau aujourd hui"),
    ("ﬁ ½ Ⅳ ＡＢＣ", "en", "fi 1 2 iv abc"),
]
LISTED = st.sampled_from(sorted(LANGUAGES))
TEXTS = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("'’´`-.,?![]<>() åäöéèÅÄÖİIß\u0301\u030a\u0327ͅ\u200b\u00ad½ﬁ"),
    ),
    max_size=30,
)


@pytest.mark.parametrize("text, expected", SWEDISH)
def test_swedish_texts_keep_their_letters_and_lose_what_nobody_hears(text, expected):
    assert normalise(text, "sv") == expected


@pytest.mark.parametrize("text, expected", ITALIAN)
def test_an_italian_apostrophe_ends_a_word_however_it_is_typed(text, expected):
    assert normalise(text, "it") == expected


@pytest.mark.parametrize("text, language, expected", OTHERS)
def test_other_scripts_keep_their_marks_and_their_own_words(text, language, expected):
    assert normalise(text, language) == expected


@pytest.mark.parametrize(
    "first, second", [("å", "a"), ("ö", "o"), ("é", "e"), ("è", "e"), ("è", "é"), ("ø", "ö")]
)
def test_letters_that_sound_different_stay_different(first, second):
    assert normalise(first, "sv") != normalise(second, "sv")


@pytest.mark.parametrize("text", ["", " \n", "?!…", "[musik]", "'", "\u0301", "—", "%"])
def test_nothing_is_left_of_what_is_not_said(text):
    assert normalise(text, "sv") == normalise(text, "it") == ""


@given(TEXTS, LISTED)
def test_normalising_twice_changes_nothing(text, language):
    once = normalise(text, language)
    assert normalise(once, language) == once


@given(TEXTS, LISTED)
def test_a_normalised_text_is_words_with_one_space_between_them(text, language):
    normalised = normalise(text, language)
    assert normalised == " ".join(normalised.split())
    assert normalised == unicodedata.normalize("NFC", normalised)
    assert normalised == normalised.lower()
    assert all(unicodedata.category(c)[0] in "LNM" or c == " " for c in normalised)
    assert all(unicodedata.category(word[0])[0] != "M" for word in normalised.split())


@given(TEXTS, LISTED)
def test_the_form_in_which_letters_are_typed_does_not_matter(text, language):
    apart = unicodedata.normalize("NFD", text)
    assert normalise(apart, language) == normalise(unicodedata.normalize("NFC", apart), language)
