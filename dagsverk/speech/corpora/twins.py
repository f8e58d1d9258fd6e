"""One recording under several names: told by its bytes, so that what is tested is not heard in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagsverk.speech.corpora.corpus import Clip, Split, Tally
from dagsverk.speech.corpora.overlap import sentence_key

HELD_OUT_FIRST: tuple[Split, ...] = ("test", "dev", "train")  # which split keeps what stands in several
SEVERAL = 3  # texts of one recording: it says none of them, or nobody looked
MANY = 3  # clips with one sound that are more than half of a corpus: it stands for recordings to come
AGAIN = "the same recording and text again"


def part_twins(clips: Sequence[Clip], sounds: Mapping[str, str], tally: Tally) -> list[Clip]:
    """The clips without those whose recording another split has.

    Train gives way to dev, and dev to test. In one split, the same recording with the same words again is
    left out. One recording under several texts (SEVERAL, or MANY clips) is no leak but a fault: noted.

    Args: sounds: file -> what is the same for files of the same bytes; a file that is absent has its own.
    """
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(sounds.get(clip.audio, clip.audio), []).append(clip)
    gone: set[str] = set()
    odd = 0
    for group in groups.values():
        if len(group) == 1:
            continue
        texts = {sentence_key(clip.text) for clip in group}
        if len(texts) >= SEVERAL or (len(group) >= MANY and len(group) * 2 > len(clips)):
            odd += len(group)
            continue
        odd += len(group) if len(texts) > 1 else 0
        gone |= _part(group, tally)
    if odd and (note := _note(odd)) not in tally.notes:
        tally.notes.append(note)
    return [clip for clip in clips if clip.id not in gone]


def _part(group: Sequence[Clip], tally: Tally) -> set[str]:
    """The ids of those that give way."""
    gone: set[str] = set()
    keeper = min(group, key=lambda clip: HELD_OUT_FIRST.index(clip.split))
    texts: set[int] = set()
    for clip in group:
        words = sentence_key(clip.text)
        if clip.split != keeper.split:
            detail = f"in {clip.split}, and byte for byte in {keeper.split} as {keeper.id}"
            tally.reject(clip.id, "recording in another split", detail)
        elif words in texts:
            tally.left_out[AGAIN] += 1
        else:
            texts.add(words)
            continue
        gone.add(clip.id)
    return gone


def _note(odd: int) -> str:
    return (
        f"{odd:,} clips have their recording, byte for byte, in common with others that are said to say "
        "something else, or with most of the corpus: see that each names its own file"
    )
