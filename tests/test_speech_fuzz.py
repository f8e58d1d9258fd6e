"""Damaged and lying recordings become samples or a reason, in bounded memory: a sample of the benchmark."""

import sys

import numpy as np
import pytest

from benchmarks.bench_fuzz_audio import KINDS, MAX_S, OUTCOMES, damaged, recording, try_out
from dagsverk.speech.audio import process, waveform

MOST_BYTES = process.MEMORY_BYTES + (64 << 20)  # 45 MB are taken by Python, numpy and FFmpeg


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_recording_becomes_samples_or_a_reason_in_bounded_memory(kind):
    outcome = try_out(kind, files=8, seed=7)  # anything but an AudioError is raised
    assert outcome.counts.total() == 8
    assert outcome.counts.keys() <= set(OUTCOMES)
    assert outcome.counts["killed"] == 0
    if sys.platform == "linux":
        assert 10_000_000 < outcome.peak_bytes < MOST_BYTES


def test_the_whole_recordings_that_are_damaged_are_heard():
    for kind in KINDS:
        samples = waveform.read_samples(recording(kind, 0), max_s=MAX_S)
        assert len(samples) == pytest.approx(8000, abs=1300), kind
        assert np.abs(samples).max() > 0.2, kind


def test_the_same_seed_makes_the_same_damage():
    kinds = list(KINDS)[:4]
    assert [damaged(kind, 3, 1) for kind in kinds] == [damaged(kind, 3, 1) for kind in kinds]
    assert len({damaged("wav", number) for number in range(20)}) == 20
    assert recording("wav", 0) not in {damaged("wav", number) for number in range(20)}
