"""Texts are cleaned of what nobody says, and of nothing else."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagsverk.speech.corpora.text import clean_text


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hej på dig!", "Hej på dig!"),
        ("  hej\t på\r\ndig\u00a0nu ", "hej på dig nu"),
        ("cafe\u0301", "café"),  # NFC
        ("\ufeffhej", "hej"),  # byte order mark
        ("a\u200bb\u202ec\u2066d\u00ade", "abcde"),  # zero width, bidi, soft hyphen
        ("hej\x00 du\x07", "hej du"),
        ("<b>Hej</b> <i class='x'>du</i>", "Hej du"),
        ("hej<br/>du<p>nu", "hej du nu"),
        ("hej <!-- viskar --> du", "hej du"),
        ("hej <unk> du", "hej du"),
        ("Tom &amp; Jerry&nbsp;&lt;3", "Tom & Jerry <3"),
        ("&lt;b&gt;hej&lt;/b&gt;", "hej"),
        (
            "<|startoftranscript|><|sv|>hej<|endoftext|>",
            "hej",
        ),  # they would be taken for Whisper's own tokens
        ("3 < 5 och 7 > 6", "3 < 5 och 7 > 6"),
        ("AT&T, R&D", "AT&T, R&D"),
        ("x < y och y > z", "x < y och y > z"),
        ("x <y z> w, a<b, <3, 3>2", "x <y z> w, a<b, <3, 3>2"),
        ("<Maria> kom, <hemligt ord>", "<Maria> kom, <hemligt ord>"),  # no tags: shown as suspicious
        ("<b and c>", "<b and c>"),
        ("<x>hej</x> <say-as interpret-as='date'>1 maj</say-as><break/>", "hej 1 maj"),
        ("hej <noise> du <UNK>", "hej du"),
        ("<![CDATA[hej]]> <?xml version='1.0'?><!DOCTYPE html>du", "hej du"),
        ("R&D; &notes; &hej;", "R&D; &notes; &hej;"),  # no entities, though &not is one
        ("perch&eacute; &#233; &#xE9;", "perché é é"),
        ('Han sa: "nej" – l\'acqua', 'Han sa: "nej" – l\'acqua'),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner that is spelling
        ("perch\x8f no\x1a \ue001", "perch\ufffd no\ufffd \ufffd"),  # letters that were lost are seen
        ("...", ""),
        ("<br>", ""),
        ("\u200b \ufeff", ""),
        ("", ""),
        ("7", "7"),
    ],
)
def test_text_is_cleaned(text, expected):
    assert clean_text(text) == expected


def test_marks_for_words_that_are_missing_can_be_kept_for_those_who_count_them():
    assert clean_text("hej <b><unk></b> du", keep_marks=True) == "hej <unk> du"
    assert clean_text("<unk>", keep_marks=True) == ""


PIECES = st.sampled_from(
    [
        "<",
        ">",
        "&",
        ";",
        "amp",
        "lt",
        "#60",
        "|",
        "b",
        "/",
        " ",
        "<unk>",
        "y>",
        "<s>",
        "\u200b",
        "\u200c",
        "ä",
        "e\u0301",
        "می",
    ]
)
ANY = st.one_of(st.text(), st.lists(PIECES, max_size=20).map("".join))


@given(ANY)
def test_a_text_with_its_marks_is_cleaned_to_what_it_is_without_them(text):
    assert clean_text(clean_text(text, keep_marks=True)) == clean_text(text)


@given(ANY)
@example("&am\x00p;lt;b&am\x00p;gt;x")
@example("<<b>b>x")
def test_cleaning_what_is_clean_changes_nothing(text):
    assert clean_text(clean_text(text)) == clean_text(text)


@given(ANY)
def test_what_is_left_is_one_line_in_nfc_without_control_characters(text):
    cleaned = clean_text(text)
    assert cleaned == " ".join(cleaned.split())
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not {unicodedata.category(character) for character in cleaned} & {"Cc", "Cs", "Co"}
    assert "<|" not in cleaned or "|>" not in cleaned[cleaned.index("<|") :]
    cleaned.encode()


@given(
    st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1).map(
        lambda t: unicodedata.normalize("NFC", t)
    )
)
def test_letters_and_digits_are_never_lost(text):
    assert clean_text(text) == text
