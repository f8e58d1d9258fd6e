"""A store with a Swedish speech model in use, made by the real functions from three sounds; for the pages."""

import atexit
import functools
import io
import json
import shutil
import tempfile
import wave
from collections import Counter
from pathlib import Path

import numpy as np
from speech_models import RATE_HZ, small_model, sounds, taught_model

from dagsverk.records import keep_report, write_json
from dagsverk.speech import runs
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.evaluation import judging, playback
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.languages import language
from dagsverk.speech.registry import registration
from dagsverk.store import open_store

SWEDISH = language("sv")
MARKUP = "<img src=x onerror=\"window.hacked='spoken'\">"
RUN, EARLIER_RUN = "sv-00112233445566aa", "sv-0011223344556600"
STEPS = 200
SPEAKERS = {"train": 6, "dev": 2, "test": 8}
CONFIG = EvaluationConfig(resamples=200, min_group_clips=10, worst=8)
# What the speaker is said to have said, where it is not what the model learnt to say of the sound.
MISHEARD = {
    0: "en hög ton",
    4: "och en som inte stiger",
    5: "det var brus",
    9: "en ton",
    16: "och så en som stiger",
}


class SoundCorpus:
    """Each speaker makes each of three sounds three times, a little differently; one clip of each split is
    silent."""

    name = "three sounds"
    sequential = False

    def __init__(self):
        self.cut = {"test": (72, 300)}
        self.recordings = {}
        self.clips = []
        for split, count in SPEAKERS.items():
            for number in range(count):
                self._speaker(split, number)

    def _speaker(self, split, number):
        generator = np.random.default_rng([len(split), number])
        for i in range(9):
            sound = sounds()[i % 3]
            heard = 0.9 * sound.audio + generator.normal(0, 0.002, len(sound.audio))
            silent = number == 0 and i == 8
            at = 9 * number + i
            clip = Clip(
                id=f"{split}-{at}",
                audio=f"{split}-{at}.wav",
                text=MISHEARD.get(at, sound.text) if split == "test" else sound.text,
                language="sv",
                split=split,
                speaker=f"{split}-{number}",
                gender=("female", "male")[number % 2],
                accent=MARKUP if split == "test" and number == 7 else "",
                licence="CC0-1.0",
            )
            self.clips.append(clip)
            self.recordings[clip.audio] = wav(np.zeros(RATE_HZ) if silent else heard)

    def listing(self):
        gone = RejectedClip(
            clip="gone", reason="missing audio", detail="it is named in the table and is not there"
        )
        return Listing(clips=self.clips, rejected=[gone], fingerprint="three-sounds")

    def read(self, clips):
        for clip in clips:
            yield clip, self.recordings[clip.audio]


def wav(audio):
    """A 16 kHz mono WAV file."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
    return target.getvalue()


@functools.cache
def spoken_store():
    """The folder of a store whose Swedish champion knows three sounds by heart."""
    folder = Path(tempfile.mkdtemp(prefix="dagsverk-speech-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fill(folder / "store", folder / "cache")
    return folder / "store"


def fill(folder, cache):
    """Prepare, judge and register, as the flows do; only the learning itself is not repeated."""
    store, corpus = open_store(str(folder)), SoundCorpus()
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(shard_clips=200), "three sounds")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    manifest = preparation.complete(store, set_id)
    keep_report(store, SWEDISH.name, "preparation", preparation_facts(manifest))
    for run, start in ((EARLIER_RUN, 3.4), (RUN, 3.0)):
        keep_run(store, run, curve(start))
    clips = open_prepared(store, set_id, ["test"], cache)
    ref, found = runs.CheckpointRef(RUN, STEPS), curve(3.0)
    verdict = judging.judge(
        store, SWEDISH, ref, taught_model(), small_model(), clips, CONFIG, curve=found, cache=cache
    )
    facts = registration.register(
        store, SWEDISH, ref, verdict, taught_model(), manifest=manifest, config=FinetuneConfig()
    )
    keep_report(store, SWEDISH.name, "evaluation", facts)
    report = registration.results.report(store, SWEDISH, verdict["candidate"])
    playback.keep_audio(store, SWEDISH, report, corpus)


def preparation_facts(manifest):
    splits = {
        name: {"clips": split["clips"], "audio_s": split["seconds"], "speakers": split["speakers"]}
        for name, split in manifest.splits.items()
    }
    aside = Counter({reason: rejections.clips for reason, rejections in manifest.rejected.items()})
    return {
        "set": manifest.id,
        "corpus": manifest.corpus,
        "new": True,
        "clips": sum(split["clips"] for split in splits.values()),
        "audio_s": manifest.seconds,
        "speakers": sum(split["speakers"] for split in splits.values()),
        "splits": splits,
        "set_aside": dict(aside),
        "cut": {split: list(counts) for split, counts in manifest.cut.items()},
        "notes": [],
        "heard_test_speakers": 0,
        "bytes": sum(shard.bytes for shard in manifest.shards),
    }


def keep_run(store, run, points):
    """A run's settings and curve, where training keeps them."""
    where = runs.run_folder(run)
    config = FinetuneConfig(steps=STEPS, learning_rate=3e-3).to_dict()
    write_json(store, f"{where}/config.json", config)
    write_json(store, f"{where}/curve.json", points)


def curve(start):
    """Losses that fall, and error rates on dev that follow."""
    points = []
    for step in range(10, STEPS + 1, 10):
        loss = start * 0.5 ** (step / 40) + 0.05
        points.append({"step": step, "loss": loss, "learning_rate": 3e-3, "clips_per_s": 80.0})
        if step % 40 == 0:
            wer = min(1.0, 0.06 + loss / 2)
            points.append({"step": step, "dev_loss": 1.1 * loss, "dev_wer": wer, "dev_cer": wer / 2})
    return points


def add_point(folder, loss):
    """One more step of the newest run, as a trainer at work would write it."""
    store = open_store(str(folder))
    points = runs.curve(store, RUN)
    points.append({"step": points[-1]["step"] + 10, "loss": loss, "learning_rate": 1e-3})
    store.put(f"{runs.run_folder(RUN)}/curve.json", json.dumps(points).encode(), overwrite=True)
