"""Times of tokens -> times of words, whichever engine aligned them. Light."""

from __future__ import annotations

import bisect
import itertools
import unicodedata
from collections.abc import Iterator, Sequence

from dagsverk.speech.subtitles.cues import Word

PAUSE_S = 0.1  # shorter ones are within words: the closure of a "t"
INNER_PAUSE_S = 0.25  # nobody is silent so long within a word
NEAR_S = 0.2  # how far from a pause a boundary may be that belongs into it


def words_of(pieces: Sequence[bytes], times_s: Sequence[float], length_s: float) -> tuple[Word, ...]:
    """The words of a text and when they are spoken; punctuation stays with its word.

    A word is what stands between spaces; in scripts that write without, the characters of a token.

    Args:
        pieces: the bytes of each token.
        times_s: when each token begins, and at last when the text ends.
        length_s: of the clip; no word lies outside.
    """
    if not pieces:
        return ()
    ends = list(itertools.accumulate(map(len, pieces)))  # in bytes, of each token
    words: list[Word] = []
    now_s = 0.0
    for first, last, text in _words(b"".join(pieces), ends):
        begins, until = bisect.bisect_right(ends, first), bisect.bisect_left(ends, last)
        start_s = min(max(now_s, times_s[begins]), length_s)
        end_s = min(max(start_s, times_s[until + 1]), length_s)
        words.append(Word(text, start_s, end_s))
        now_s = start_s
    return tuple(words)


def those_of(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words of a text, with the times of those that were aligned: of a longer text, where loops were cut.

    A word that is not among them takes the time at which the one before it ends.
    """
    if "".join(word.text for word in words) == "".join(text.split()):
        return tuple(words)
    kept: list[Word] = []
    place = 0
    for part in text.split():
        at = next((i for i in range(place, len(words)) if words[i].text == part), None)
        if at is None:
            before_s = kept[-1].end_s if kept else words[0].start_s if words else 0.0
            kept.append(Word(part, before_s, before_s))
        else:
            kept.append(words[at])
            place = at + 1
    return tuple(kept)


def shifted(words: Sequence[Word], start_s: float, end_s: float) -> tuple[Word, ...]:
    """Words of a window that begins at `start_s`, in seconds of the recording; none lies outside."""
    moved = (Word(word.text, word.start_s + start_s, word.end_s + start_s) for word in words)
    return bounded(tuple(moved), start_s, end_s)


def bounded(words: Sequence[Word], start_s: float, end_s: float) -> tuple[Word, ...]:
    """The words, none of them outside of [start_s, end_s]."""

    def at(time_s: float) -> float:
        return max(start_s, min(round(time_s, 3), end_s))

    return tuple(Word(word.text, at(word.start_s), at(word.end_s)) for word in words)


def _words(data: bytes, ends: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """[first, last) in bytes of each word, and its text; bytes that are not of UTF-8 are no characters."""
    first, last, text = 0, 0, ""
    for begin, end, character in _characters(data):
        other_token = bisect.bisect_right(ends, begin) != bisect.bisect_right(ends, last - 1)
        if text and (character.isspace() or (other_token and _apart(text[-1], character))):
            yield first, last, text
            text = ""
        if not character.isspace():
            first, last = first if text else begin, end
            text += character
    if text:
        yield first, last, text


def _characters(data: bytes) -> Iterator[tuple[int, int, str]]:
    place = 0
    while place < len(data):
        length = 1 if data[place] < 0x80 else 2 if data[place] < 0xE0 else 3 if data[place] < 0xF0 else 4
        character = data[place : place + length].decode(errors="ignore")
        if len(character) == 1 and len(character.encode()) == length:
            yield place, place + length, character
            place += length
        else:
            place += 1


def _apart(before: str, after: str) -> bool:
    """Whether a word may end between two characters without a space; punctuation stays with its word."""
    opens = unicodedata.category(before) in ("Ps", "Pi")
    closes = unicodedata.category(after) in ("Pe", "Pf", "Po", "Pd")
    return _wide(before) and _wide(after) and not opens and not closes


def _wide(character: str) -> bool:
    """Of Chinese or Japanese; Korean has spaces."""
    return unicodedata.east_asian_width(character) in "WF" and not "가" <= character <= "힣"


def at_pauses(words: Sequence[Word], loud: Sequence[bool], frame_s: float) -> tuple[Word, ...]:
    """Words begin and end where sound does: what attention does not see, and levels do.

    A boundary in a pause, or up to `NEAR_S` beside one, becomes two: the word before ends where the pause
    begins, the one after begins where it ends. Of a word with a pause of `INNER_PAUSE_S` within it, what is
    on its shorter side belongs to the neighbour that it touches.

    Args: loud: of each frame of the clip, whether it is louder than silence and noise.
    """
    pauses = list(_pauses(loud, frame_s))
    if not words or not pauses:
        return tuple(words)
    starts, ends = [word.start_s for word in words], [word.end_s for word in words]
    for place in range(len(words) + 1):
        edge_s = starts[place] if place < len(words) else ends[-1]
        from_s, to_s = min(pauses, key=lambda pause: _distance(edge_s, *pause))
        after_s = ends[place] if place < len(words) else float("inf")
        before_s = starts[place - 1] if place else float("-inf")
        if _distance(edge_s, from_s, to_s) <= NEAR_S and before_s < from_s and to_s < after_s:
            if place < len(words):
                starts[place] = to_s
            if place:
                ends[place - 1] = from_s
    for pause in pauses:
        if pause[1] - pause[0] >= INNER_PAUSE_S:
            _part(starts, ends, *pause)
    return tuple(
        Word(word.text, start_s, max(start_s, end_s))
        for word, start_s, end_s in zip(words, starts, ends, strict=True)
    )


def _part(starts: list[float], ends: list[float], from_s: float, to_s: float) -> None:
    """Move the boundary between two words into a pause that is within one of them."""
    for place in range(len(starts)):
        if not starts[place] < from_s < to_s < ends[place]:
            continue
        first = from_s - starts[place] <= ends[place] - to_s
        if first and place and starts[place] - ends[place - 1] <= NEAR_S:
            starts[place], ends[place - 1] = to_s, max(ends[place - 1], from_s)
        elif not first and place + 1 < len(starts) and starts[place + 1] - ends[place] <= NEAR_S:
            ends[place], starts[place + 1] = from_s, min(starts[place + 1], to_s)
        return


def _pauses(loud: Sequence[bool], frame_s: float) -> Iterator[tuple[float, float]]:
    place = 0
    for is_loud, run in itertools.groupby(loud):
        length = len(list(run))
        at_edge = place == 0 or place + length == len(loud)
        if not is_loud and (length * frame_s >= PAUSE_S or at_edge):
            yield place * frame_s, (place + length) * frame_s
        place += length


def _distance(at_s: float, from_s: float, to_s: float) -> float:
    return max(0.0, from_s - at_s, at_s - to_s)
