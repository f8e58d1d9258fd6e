"""Subtitles: whatever words come, they can be read, and none is lost."""

import io
import itertools

import av
import pysubs2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagsverk.speech.subtitles.cues import Rules, Word, cues, hurried, width
from dagsverk.speech.subtitles.formats import WRITERS

RULES = Rules()
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)
_WORDS = "Anna Svensson 1 000 kr Dr. Li och att bort! hemma, Nej. (ja) 東京 です"
WORDS = st.sampled_from(_WORDS.split())


def spoken(text, start_s=0.0, rate=14.0, pauses=()):
    """Words at an even pace of so many characters a second; `pauses`: (word's place, seconds before it)."""
    words, now = [], start_s
    for place, word in enumerate(text.split()):
        now += dict(pauses).get(place, 0.0)
        words.append(Word(word, now, now + len(word) / rate))
        now += (len(word) + 1) / rate
    return words


@st.composite
def streams(draw):
    """Words as models give them: pauses, overlaps, steps backwards, words without a duration."""
    words, now = [], 0.0
    for text in draw(st.lists(st.one_of(WORDS, TEXTS), max_size=40)):
        now += draw(st.floats(-0.5, 3.0))
        words.append(Word(text, now, now + draw(st.floats(-0.2, 9.0))))
    return words


def letters(text):
    return "".join(c for c in text if width(c) and not c.isspace())


@given(streams())
@example([Word("x" * 300, 0.0, 0.0)])
@example([Word(f"ord{i}", float("nan"), float("inf")) for i in range(30)])
def test_whatever_is_spoken_every_cue_can_be_read_and_no_letter_is_lost(words):
    shown = cues(words)
    assert letters("".join(line for cue in shown for line in cue.lines)) == letters(
        "".join(word.text for word in words)
    )
    for cue in shown:
        assert 1 <= len(cue.lines) <= RULES.lines
        assert all(0 < width(line) <= RULES.line_width for line in cue.lines)
        assert RULES.least_s - 1e-6 <= cue.end_s - cue.start_s <= RULES.most_s + 1e-6
    for cue, after in itertools.pairwise(shown):
        assert after.start_s - cue.end_s >= RULES.gap_s - 1e-6


@given(st.lists(WORDS, min_size=1, max_size=60), st.floats(8, 15))
def test_at_the_pace_of_people_no_cue_is_late_and_none_has_to_be_read_in_a_hurry(texts, rate):
    words = spoken(" ".join(texts), rate=rate)
    shown = cues(words)
    starts = {word.start_s for word in words}
    assert all(min(abs(cue.start_s - start) for start in starts) < 0.1 for cue in shown)
    assert hurried(shown) <= len(shown) / 4


@given(st.lists(WORDS, min_size=1, max_size=60))
def test_a_name_or_a_number_that_fits_on_a_line_is_on_one(texts):
    lines = [line for cue in cues(spoken(" ".join(texts))) for line in cue.lines]
    together = {("1", "000"), ("000", "kr"), ("Anna", "Svensson"), ("Dr.", "Li")}
    for line, after in itertools.pairwise(lines):
        ends, begins = line.split()[-1], after.split()[0]
        if (ends, begins) in together:
            run = f"{line} {after}"  # only runs longer than a line may be cut
            assert sum(word[:1].isupper() or word[0].isdigit() or word == "kr" for word in run.split()) > 4


def test_a_cue_ends_where_the_sentence_does():
    text = (
        "Det regnade hela dagen i går. När solen gick ner kom grannen hem, och hunden sprang ut i trädgården."
    )
    assert [" ".join(cue.lines) for cue in cues(spoken(text))] == [
        "Det regnade hela dagen i går.",
        "När solen gick ner kom grannen hem, och hunden sprang ut i trädgården.",
    ]


def test_lines_break_after_the_comma():
    (cue,) = cues(spoken("När solen gick ner kom grannen hem, och hunden sprang ut i trädgården."))
    assert cue.lines == ("När solen gick ner kom grannen hem,", "och hunden sprang ut i trädgården.")


def test_no_cue_reaches_over_a_long_silence():
    shown = cues(spoken("ja kom hit", pauses=[(1, 5.0)]))
    assert [cue.lines for cue in shown] == [("ja",), ("kom hit",)]
    assert shown[0].end_s < 2 and shown[1].start_s > 5


def test_a_short_word_stays_long_enough_to_be_seen():
    (cue,) = cues([Word("Ja!", 3.0, 3.1)])
    assert cue.end_s - cue.start_s == pytest.approx(5 / 6)


def test_japanese_is_written_without_spaces_and_its_signs_count_twice():
    (cue,) = cues(
        [
            Word(part, i / 2, i / 2 + 0.4)
            for i, part in enumerate(("私は", "東京", "に", "住んで", "います。"))
        ]
    )
    assert cue.lines == ("私は東京に住んでいます。",)
    assert width(cue.lines[0]) == 24


@pytest.mark.parametrize("format", ["srt", "vtt"])
@given(streams())
def test_another_program_reads_the_same_cues(format, words):
    shown = cues(words)
    written = WRITERS[format](shown).encode()
    read = []
    if shown:
        with av.open(io.BytesIO(written), format={"srt": "srt", "vtt": "webvtt"}[format]) as file:
            read = [
                (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base))
                for packet in file.demux()
                if packet.pts is not None
            ]
    assert read == [
        (pytest.approx(cue.start_s, abs=1e-3), pytest.approx(cue.end_s - cue.start_s, abs=2e-3))
        for cue in shown
    ]


@pytest.mark.parametrize("format", ["srt", "vtt"])
@given(streams())
def test_an_editor_of_subtitles_reads_the_same_times_and_letters(format, words):
    shown = cues(words)
    read = pysubs2.SSAFile.from_string(WRITERS[format](shown), format)
    assert [(one.start, one.end) for one in read] == [
        (pytest.approx(1000 * cue.start_s, abs=1), pytest.approx(1000 * cue.end_s, abs=1)) for cue in shown
    ]


def test_an_editor_of_subtitles_reads_two_lines_as_two():
    shown = cues(spoken("Anna Svensson bodde en gång i Göteborg, och där bor hon än i dag."))
    for format in ("srt", "vtt"):
        read = pysubs2.SSAFile.from_string(WRITERS[format](shown), format)
        assert [tuple(one.plaintext.split("\n")) for one in read] == [cue.lines for cue in shown]


@pytest.mark.parametrize(
    "format, expected",
    [
        ("srt", "1\n01:00:00,500 --> 01:00:02,000\nå <b> & →\ntvå\n"),
        ("vtt", "WEBVTT\n\n01:00:00.500 --> 01:00:02.000\nå &lt;b&gt; &amp; →\ntvå\n"),
        ("txt", "å <b> & --> två\n"),
        ("tsv", "start\tend\ttext\n3600500\t3602000\tå <b> & --> två\n"),
        ("lrc", "[60:00.50]å <b> & --> två\n[60:02.00]\n"),
    ],
)
def test_each_format_is_written_as_its_players_want_it(format, expected):
    from dagsverk.speech.subtitles.cues import Cue

    assert WRITERS[format]([Cue(3600.5, 3602.0, ("å <b> & -->", "två"))]) == expected
