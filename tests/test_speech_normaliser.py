"""Texts are made alike in what nobody hears, and stay apart in all that can be heard."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.languages import LANGUAGES

SWEDISH = [
    ("Är du på väg till Åmål?", "är du på väg till åmål"),
    ("Åsa köpte blåbär.", "åsa köpte blåbär"),
    ("a\u030ar", "år"),  # the letter and its ring, typed apart
    ("En idé om Linné", "en idé om linné"),
    ("e-post, TV-apparat", "e post tv apparat"),
    ("»Kom hit!» – sade hon", "kom hit sade hon"),
    ("Det kostar 20 kr, eller 5 %.", "det kostar 20 kr eller 5 procent"),
    ("Lars’ bil och rock'n'roll", "lars bil och rocknroll"),
    ("[skratt] Ja, <sil> det (nog) går", "skratt ja det nog går"),  # brackets hold words, too
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
ACCENTS = [  # typed, as it is spelt
    ("E' vero", "È vero"),
    ("perche'", "perché"),
    ("perche’ no", "perché no"),
    ("perche` no", "perché no"),
    ("perche´ no", "perché no"),
    ("CITTA' E' BELLA", "CITTÀ È BELLA"),
    ("piu'.", "più."),
    ("c'e' poco, cos'e'?", "c'è poco, cos'è?"),
    ("l'eta' dell'universita'", "l'età dell'università"),
    ("ne' carne ne' pesce", "né carne né pesce"),
    ("parlo' con papa' lunedi' a Forli'", "parlò con papà lunedì a Forlì"),
    ("ventitre' caffe'", "ventitré caffè"),
    ("E'vero, perche'no", "È vero, perché no"),
    ("disse 'casa' e citta'", "disse casa e città"),
    ("'va bene cosa' e' vero", "va bene cosa è vero"),
    ("'E' vero', disse", "È vero, disse"),
    ("disse 'così' e 'perche''", "disse così e perché"),
    ("la 'ndrangheta e' li' dagli anni '80", "la ndrangheta è lì dagli anni 80"),
    ("perchè, CAFFÉ, É, cosí, piú", "perché, caffè, è, così, più"),  # the other accent
    ("un pò, quì, stà", "un po, qui, sta"),  # accents on words that have none
    ("un po' di", "un po di"),
    ("va' da lui e fa' presto", "va da lui e fa presto"),
    ("di' la verita'", "di la verità"),
    ("il 'si' e il 'no', 'la' e 'le'", "il si e il no, la e le"),
    ("ce l'ha', perche\\' no", "ce l'ha, perché no"),
    ("pie' di pagina, qualita'della vita", "piè di pagina, qualità della vita"),
    ("un'altra, l'acqua, gl'italiani, Ca' Foscari", "un altra, l acqua, gl italiani, Ca Foscari"),
    ("de' Medici, be', a mo' di", "de Medici, be, a mo di"),
]
READ_ALOUD = [
    ("5 %, 5%, 5 procent", "sv", "5 procent 5 procent 5 procent"),
    ("il 5% e il 5 percento", "it", "il 5 per cento e il 5 per cento"),
    ("$5 or €3.50", "en", "5 dollars or 3 50 euros"),
    ("€ 5", "it", "5 euro"),
    ("50€ 50 € €50 50 euro", "it", "50 euro 50 euro 50 euro 50 euro"),
    ("-5 °C, 5–10 °C, sms-5, 7-8", "sv", "minus 5 grader c 5 10 grader c sms 5 7 8"),
    ("5kg, 5 kg, 10km/h", "en", "5 kg 5 kg 10 km h"),
    ("AT&T, Tom & Jerry", "en", "at and t tom and jerry"),
    ("x < y", "sv", "x mindre än y"),
    ("se x < y e y > z", "it", "se x minore di y e y maggiore di z"),
    ("3>2, 2 + 2 = 4", "en", "3 greater than 2 2 plus 2 equals 4"),
    ("<Maria> och [Per]", "sv", "maria och per"),
    ("a -> b <- c => d == e", "en", "a b c d e"),
    ("10 000, 10.000, 10,000, 10000", "sv", "10000 10000 10000 10000"),
    ("08 123 45 67, 14:30", "sv", "08 123 45 67 14 30"),
    ("١٢ और १२", "hi", "12 और 12"),
    ("ёлка", "ru", "елка"),
    ("5 %", "ja", "5"),
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


@pytest.mark.parametrize("typed, spelt", ACCENTS)
def test_italian_accents_typed_as_apostrophes_are_accents_and_truncations_are_not(typed, spelt):
    assert normalise(typed, "it") == normalise(spelt, "it")
    letters = "".join(c if c.isalnum() else " " for c in spelt.lower())
    assert normalise(spelt, "it") == " ".join(letters.split())


@pytest.mark.parametrize("text, language, expected", READ_ALOUD)
def test_symbols_that_are_read_aloud_are_words_and_numbers_are_typed_in_one_way(text, language, expected):
    assert normalise(text, language) == expected


@pytest.mark.parametrize("text, language, expected", OTHERS)
def test_other_scripts_keep_their_marks_and_their_own_words(text, language, expected):
    assert normalise(text, language) == expected


@pytest.mark.parametrize(
    "first, second", [("å", "a"), ("ö", "o"), ("é", "e"), ("è", "e"), ("è", "é"), ("ø", "ö")]
)
def test_letters_that_sound_different_stay_different(first, second):
    assert normalise(first, "sv") != normalise(second, "sv")


@pytest.mark.parametrize("text", ["", " \n", "?!…", "[ ]", "'", "\u0301", "—", "*", "<|sv|>", "<br>"])
def test_nothing_is_left_of_what_is_not_said(text):
    assert normalise(text, "sv") == normalise(text, "it") == ""


@given(TEXTS, LISTED)
def test_normalising_twice_changes_nothing(text, language):
    once = normalise(text, language)
    assert normalise(once, language) == once


PIECES = (
    "x < y > z & AT&T <3 3 > 2 [suo] (nog) <Maria> *ja* a<b 1<2 amp; &amp; &lt;b <b> </b> <b and c> "
    "<|sv|> perche' 'casa' po' e' 5% ≮ [ ] < > ( ) { } \u0338 R&D; x<y>z <y> </y> ＜b＞"
)
SPEECH = st.lists(st.sampled_from(PIECES.split()), max_size=12).map(" ".join)


@given(st.one_of(SPEECH, TEXTS), LISTED)
def test_no_letter_or_digit_that_is_taught_is_lost_before_it_is_scored(text, language):
    """Numbers and symbols may become words, and accents are typed in one way; nothing goes."""
    taught = clean_text(text)
    bare = unicodedata.normalize("NFKD", normalise(taught, language).casefold())
    left = iter(character for character in bare if character.isalnum())
    wanted = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", taught).lower().casefold())
    lost = [c for c in wanted if unicodedata.category(c) in ("Ll", "Nd", "Lo") and not _comes(left, c)]
    assert lost == []


def _comes(letters, wanted):
    alike = {wanted, str(unicodedata.decimal(wanted, wanted)), {"ё": "е", "ı": "i"}.get(wanted, wanted)}
    return any(letter in alike for letter in letters)


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
