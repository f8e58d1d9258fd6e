"""A store with a Swedish speech model in use, made by the real functions from three sounds; for the pages."""

import atexit
import functools
import io
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
from speech_models import RATE_HZ, small_model, sounds, taught_model

from dagsverk.records import plain, write, write_json
from dagsverk.speech import results, runs, steps
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.evaluation import assessment, playback
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
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
            recording = 0.9 * sound.audio + generator.normal(0, 0.002, len(sound.audio))
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
            self.recordings[clip.audio] = wav(np.zeros(RATE_HZ) if silent else recording)

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
    """Prepare, score and register, as the flows do; only the learning itself is not repeated."""
    store, corpus = open_store(str(folder)), SoundCorpus()
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(shard_clips=200), "three sounds")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    manifest = preparation.complete(store, set_id)
    steps.keep(store, SWEDISH, steps.prepared(manifest, new=True))
    for run, start in ((EARLIER_RUN, 3.4), (RUN, 3.0)):
        keep_run(store, run, set_id, curve(start))
    ref = runs.CheckpointRef(RUN, STEPS)
    steps.keep(store, SWEDISH, steps.finetuned(store, ref, new=True))
    candidate = assessment.Candidate(
        ref=ref, model=taught_model(), base=small_model(), curve=runs.curve(store, RUN)
    )
    clips = open_prepared(store, set_id, ["test"], cache)
    verdict = assessment.assess(store, candidate, clips, CONFIG, cache)
    step = registration.register(
        store, SWEDISH, verdict, taught_model(), manifest=manifest, config=FinetuneConfig()
    )
    steps.keep(store, SWEDISH, step)
    playback.keep_audio(store, SWEDISH, results.report(store, SWEDISH, verdict.candidate), corpus)


def tune(store, published):
    """Have the champion once more, now as trained from a published model; in use. `published`: its folder."""
    save_model_folder(small_model(), published, language="sv")
    champion = store.champion(SWEDISH.model_name)
    with tempfile.TemporaryDirectory() as folder:
        files = store.download(champion, Path(folder) / "model")
        info = {**champion.info, "base_model": str(published)}
        tuned = store.save_model(SWEDISH.model_name, files, metrics=champion.metrics, info=info)
    store.promote(SWEDISH.model_name, tuned.version, reason="tuned", expected=champion.version)


def keep_run(store, run, set_id, points):
    """A run's settings and curve, where training keeps them."""
    made = runs.RunConfig(
        run=run,
        language="sv",
        set_id=set_id,
        fingerprint=small_model().fingerprint(),
        finetune=FinetuneConfig(steps=STEPS, learning_rate=3e-3),
        groups_per_step=1,
        threads=1,
        clips=54,
        dev_clips=18,
        set_aside={},
        version="0.1.0",
    )
    write(store, f"{runs.run_folder(run)}/config.json", made)
    keep_curve(store, run, points)


def keep_curve(store, run, points):
    write_json(store, f"{runs.run_folder(run)}/curve.json", [plain(point) for point in points])


def curve(start):
    """Losses that fall, and error rates on dev that follow."""
    points = []
    for step in range(10, STEPS + 1, 10):
        loss = start * 0.5 ** (step / 40) + 0.05
        points.append(runs.TrainingPoint(step=step, loss=loss, learning_rate=3e-3, clips_per_s=80.0))
        if step % 40 == 0:
            wer = min(1.0, 0.06 + loss / 2)
            points.append(runs.ValidationPoint(step=step, dev_loss=1.1 * loss, dev_wer=wer, dev_cer=wer / 2))
    return points


def add_point(folder, loss):
    """One more step of the newest run, as a trainer at work would write it."""
    store = open_store(str(folder))
    points = runs.curve(store, RUN)
    following = runs.TrainingPoint(step=points[-1].step + 10, loss=loss, learning_rate=1e-3, clips_per_s=80.0)
    keep_curve(store, RUN, [*points, following])
