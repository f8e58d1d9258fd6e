"""One recording under several names: told by its bytes, so that what is tested is not heard in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dagsverk.speech.corpora.corpus import Clip, Split, Tally
from dagsverk.speech.corpora.overlap import sentence_key
from dagsverk.speech.corpora.parts import HELD_OUT_FIRST

SEVERAL = 3  # texts of one recording: it says none of them, or nobody looked
MANY = 3  # clips with one sound that are more than half of a corpus: it stands for recordings to come
AGAIN = "the same recording and text again"


def part_twins(clips: Sequence[Clip], sounds: Mapping[str, str], tally: Tally) -> list[Clip]:
    """The clips without those whose recording another split has.

    Train gives way to dev, and dev to test. In one split, the same recording with the same words again is
    left out. One recording under several texts (SEVERAL, or MANY clips) is no leak but a fault: noted.

    Args: sounds: file -> what is the same for files of the same bytes; a file that is absent has its own.
    """
    gone: set[str] = set()
    odd = 0
    for group in _groups(clips, sounds):
        if _stands_for_none(group, clips):
            odd += len(group)
            continue
        odd += len(group) if len(_texts(group)) > 1 else 0
        gone |= _part(group, tally)
    if odd and (note := _note(odd)) not in tally.notes:
        tally.notes.append(note)
    return [clip for clip in clips if clip.id not in gone]


def keep_together(drawn: Sequence[Clip], before: Sequence[Clip], sounds: Mapping[str, str]) -> list[Clip]:
    """The clips with twins that were drawn apart in one split: that of them which gives way."""
    stated = {clip.id: clip.split for clip in before}
    moved: dict[str, Split] = {}
    for group in _groups(drawn, sounds):
        if len({stated[clip.id] for clip in group}) == 1 and not _stands_for_none(group, drawn):
            last = max((clip.split for clip in group), key=HELD_OUT_FIRST.index)
            moved |= {clip.id: last for clip in group}
    return [replace(clip, split=moved.get(clip.id, clip.split)) for clip in drawn]


def _groups(clips: Sequence[Clip], sounds: Mapping[str, str]) -> list[list[Clip]]:
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(sounds.get(clip.audio, clip.audio), []).append(clip)
    return [group for group in groups.values() if len(group) > 1]


def _texts(group: Sequence[Clip]) -> set[int]:
    return {sentence_key(clip.text) for clip in group}


def _stands_for_none(group: Sequence[Clip], clips: Sequence[Clip]) -> bool:
    """Whether a sound stands under so many texts or names that it is no recording of any."""
    return len(_texts(group)) >= SEVERAL or (len(group) >= MANY and len(group) * 2 > len(clips))


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
