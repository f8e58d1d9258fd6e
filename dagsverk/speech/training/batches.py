"""Which clips are trained on together: batches of equal seconds and alike lengths.

All follows from (seed, epoch), the same on every machine: a run that starts again takes the very next batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dagsverk.speech.config import MEL_FRAMES_PER_S
from dagsverk.speech.model.encoder import padded_frames

REPLAY = 1  # beside seed and epoch, what the draw of replayed clips comes from
MIXED = 2  # beside seed, round and set, what the order of mixed-in clips comes from
BUCKET_WIDTH = 1.02  # clips whose lengths differ by less than this factor change places from epoch to epoch


@dataclass(frozen=True)
class Batch:
    """Clips that go through the model together. `full`: as windows of 30 s."""

    clips: NDArray[np.int64]
    full: bool
    epoch: int


@dataclass(frozen=True)
class Position:
    """Where in the endless sequence of groups a run is: `index` groups of `epoch` are done."""

    epoch: int = 0
    index: int = 0


@dataclass(frozen=True)
class Sampler:
    """Batches over clips of the given lengths. Each epoch holds every clip exactly once, replayed ones aside.

    A batch of full windows has few clips, so it makes no step by itself: it joins the group of another one.

    Args:
        frames: of log-mel, of each clip.
        batch_s: seconds of audio, padding included, that a batch may hold; a longer clip is one by itself.
        slack_s: silence after a batch's longest clip.
        full_share: of the clips, drawn anew each epoch, that are given as full windows.
        shortest_first: the first epoch goes from short to long; what it learns first is easier.
        pools: how many of the clips are the run's own, and how many of each set that is mixed in, then of
            each replayed language, follow; empty: all are its own.
        mixed: how many clips of each set that is mixed in an epoch has. They take turns: none comes again
            before all others of its set have come.
        replay_share: of an epoch's clips, those of the replayed languages, drawn anew each epoch, of each
            equally many; fewer, if there are not so many.
    """

    frames: NDArray[np.int64]
    batch_s: float
    slack_s: float
    full_share: float
    seed: int
    shortest_first: bool = False
    pools: tuple[int, ...] = ()
    replay_share: float = 0.0
    mixed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.frames):
            raise ValueError("no clips to make batches of")

    def epoch(self, epoch: int) -> list[list[Batch]]:
        """All batches of an epoch, in groups that are learnt from together, in order."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(self._drawn(epoch))
        full = order[: round(self.full_share * len(order))]
        rest = order[len(full) :]
        bucket = np.floor(np.log(np.maximum(self.frames[rest], 1)) / math.log(BUCKET_WIDTH))
        alike = rest[np.argsort(bucket, kind="stable")]  # by bucket; within it as shuffled
        windows = self._cut(full, full=True, epoch=epoch)
        groups = [[batch] for batch in self._cut(alike, full=False, epoch=epoch) or windows]
        if len(alike):
            for batch, place in zip(windows, itertools.cycle(random.permutation(len(groups)))):
                groups[place].append(batch)
        if self.shortest_first and epoch == 0:
            return sorted(groups, key=lambda group: int(self.frames[group[0].clips].max()))
        return [groups[place] for place in random.permutation(len(groups))]

    def seconds(self) -> float:
        """Of audio in the first epoch; the others have about as many."""
        return float(self.frames[self._drawn(0)].sum()) / MEL_FRAMES_PER_S

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        """The clips of an epoch: all of the run's own, the turn of those mixed in, a draw of the replayed."""
        own, *pools = self.pools or (len(self.frames),)
        drawn, first = [np.arange(own)], own
        for number, (size, count) in enumerate(zip(pools, self.mixed, strict=False)):
            drawn.append(first + self._turn(number, size, count, epoch))
            first += size
        others = pools[len(self.mixed) :]
        wanted = round((own + sum(self.mixed)) * self.replay_share / (1 - self.replay_share))
        random = np.random.default_rng([self.seed, epoch, REPLAY])
        for size, count in zip(others, even_parts(wanted, others), strict=True):
            drawn.append(first + random.permutation(size)[:count])
            first += size
        return np.concatenate(drawn)

    def _turn(self, number: int, size: int, count: int, epoch: int) -> NDArray[np.int64]:
        """An epoch's part of the endless sequence in which each round has every clip of a set once."""
        first, last = epoch * count, (epoch + 1) * count
        rounds = range(first // size, -(-last // size))
        ahead = [np.random.default_rng([self.seed, one, MIXED, number]).permutation(size) for one in rounds]
        begin = first - rounds.start * size
        return np.concatenate(ahead)[begin : begin + count]

    def steps(self, position: Position, groups_per_step: int) -> Iterator[tuple[list[Batch], Position]]:
        """Endlessly from `position` on: the batches of a step, and the position after it.

        A step may reach over the end of an epoch, so all steps have equally many groups.
        """
        epoch, index = position.epoch, position.index
        ahead = self.epoch(epoch)
        while True:
            taken: list[list[Batch]] = []
            while len(taken) < groups_per_step:
                if index == len(ahead):
                    epoch, index = epoch + 1, 0
                    ahead = self.epoch(epoch)
                taken.append(ahead[index])
                index += 1
            alone, joined = [group[0] for group in taken], [group[1:] for group in taken]
            yield [*alone, *itertools.chain(*joined)], Position(epoch, index)

    def padded(self, batch: Batch) -> int:
        """The frames that each clip of the batch is padded to."""
        return self._padded(int(self.frames[batch.clips].max()), full=batch.full)

    def _padded(self, longest: int, *, full: bool) -> int:
        return padded_frames(longest, slack_frames=round(self.slack_s * MEL_FRAMES_PER_S), full=full)

    def _cut(self, clips: NDArray[np.int64], *, full: bool, epoch: int) -> list[Batch]:
        """Consecutive clips, as many to a batch as its seconds allow."""
        limit = self.batch_s * MEL_FRAMES_PER_S
        batches: list[Batch] = []
        first, longest = 0, 0
        for place, clip in enumerate(clips):
            grown = max(longest, int(self.frames[clip]))
            if place > first and (place - first + 1) * self._padded(grown, full=full) > limit:
                batches.append(Batch(clips[first:place], full, epoch))
                first, grown = place, int(self.frames[clip])
            longest = grown
        if first < len(clips):
            batches.append(Batch(clips[first:], full, epoch))
        return batches


def even_parts(wanted: int, sizes: Sequence[int]) -> list[int]:
    """How many to take of each of several heaps: equally many, more of others where one has not so many."""
    parts = [0] * len(sizes)
    for done, place in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        parts[place] = min(sizes[place], (wanted - sum(parts)) // (len(sizes) - done))
    return parts


def frames_ratio(sampler: Sampler, batches: Sequence[Batch]) -> float:
    """Frames that the encoder computes for these batches, per frame that their clips have; 1 is no waste."""
    computed = sum(len(batch.clips) * sampler.padded(batch) for batch in batches)
    return computed / max(1, sum(int(sampler.frames[batch.clips].sum()) for batch in batches))
