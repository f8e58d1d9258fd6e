"""The data's side, on Whisper's own weights and human voices: what changed copies do to scores.

Run from the root, with a transformers folder of Whisper's weights and prompts, as `bench_real.py` takes them:

    export DAGSVERK_TEST_WHISPER=$PWD/whisper-base DAGSVERK_TEST_PROMPTS=$PWD/prompts  (--weights, --prompts)
    python benchmarks/bench_data.py augment --out O     # copies: the test clean and degraded
    python benchmarks/bench_data.py curve --out O       # an eighth to all of the clips, --seeds of each
    python benchmarks/bench_data.py students --out O    # a quarter has texts, a model writes the others

Each result is a line of O/WHAT.jsonl; a killed run goes on from its newest checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import real_runs as runs
import torch

from dagsverk.speech.audio import distortions, sandbox
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.corpora.folder import FolderCorpus
from dagsverk.speech.corpora.places import LocalPlace
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, total
from dagsverk.speech.features import log_mel, preparation
from dagsverk.speech.features.prepared import PreparedClips
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.learning_curve import SpeechCurveConfig
from dagsverk.speech.learning_curve_words import curve_sentences
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.training import learning_curve_points
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig
from dagsverk.speech.transcription.pseudo_labels import judge
from dagsverk.speech.transcription.results import KeptSegment
from dagsverk.store import Store, open_store

LABELLED_PERCENT = 25  # of train's clips, where a model writes the texts of the others

COPIES: dict[str, AugmentConfig | None] = {
    "plain": None,
    "speed": AugmentConfig(copies=2, speeds=(0.9, 1.1)),
    "noise and room": AugmentConfig(copies=2, noise_share=0.7, room_share=0.5, snr_db=(3, 20)),
    "all": AugmentConfig(
        copies=2, speeds=(0.9, 1.1), noise_share=0.5, room_share=0.4, telephone_share=0.3, snr_db=(3, 20)
    ),
}


def _noisy(audio: Audio, chance: np.random.Generator) -> Audio:
    noise = distortions.coloured_noise(len(audio), 1.0, chance)
    return distortions.with_noise(audio, noise, 5.0)


DEGRADED: Mapping[str, Callable[[Audio, np.random.Generator], Audio]] = {
    "clean": lambda audio, _: audio,
    "telephone": lambda audio, _: distortions.over_telephone(audio),
    "pink noise 5 dB": _noisy,
    # rooms that no training is given: its rooms have the numbers 0 to 31
    "room": lambda audio, chance: distortions.in_room(
        audio, distortions.made_room(1000 + int(chance.integers(50)))
    ),
}


def prompts(arguments: argparse.Namespace) -> runs.Prompts:
    folder = LocalPlace(arguments.prompts / arguments.language)
    return runs.Prompts(FolderCorpus(folder, arguments.language), arguments.split_seed)


@dataclass(frozen=True)
class Retold:
    """Prompts whose train clips have the texts that are given, and none others."""

    prompts: runs.Prompts
    texts: Mapping[str, str]
    about: str
    name: str = "prompts, retold"
    sequential: bool = False

    def listing(self) -> Listing:
        whole = self.prompts.listing()
        clips = [
            replace(clip, text=self.texts.get(clip.id, clip.text))
            for clip in whole.clips
            if clip.split != "train" or clip.id in self.texts
        ]
        left_out = {**whole.left_out, "given no text": len(whole.clips) - len(clips)}
        fingerprint = f"{whole.fingerprint}-{self.about}"
        return replace(whole, clips=clips, left_out=left_out, fingerprint=fingerprint)

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        return self.prompts.read(clips)


def prepared(
    store: Store,
    arguments: argparse.Namespace,
    augment: AugmentConfig | None = None,
    corpus: runs.Prompts | Retold | None = None,
) -> tuple[str, float]:
    """A set, and the processor seconds that it took."""
    corpus, began = corpus or prompts(arguments), time.process_time()
    config = PrepareConfig(tokenizer=str(arguments.weights), augment=augment)
    set_id = preparation.plan(store, corpus, arguments.language, config, "prompts")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return set_id, time.process_time() - began


def degraded_test(arguments: argparse.Namespace, clips: PreparedClips) -> dict[str, list[log_mel.Mel]]:
    """The spectra of the same clips, as they come and degraded."""
    corpus, made = prompts(arguments), {name: {} for name in DEGRADED}
    wanted = {clip.id: clip for clip in corpus.listing().clips if clip.id in set(clips.rows["id"])}
    for clip, content in corpus.read(list(wanted.values())):
        audio = sandbox.CLIPS.read_samples(content, max_s=30.0)
        for name, change in DEGRADED.items():
            chance = np.random.default_rng(list(f"{name} {clip.id}".encode()))
            made[name][clip.id] = log_mel.log_mel(change(audio, chance))
    return {name: [mels[clip] for clip in clips.rows["id"]] for name, mels in made.items()}


def heard(model: SpeechModel, mels: Sequence[log_mel.Mel], language: str) -> list[Decoded]:
    return decode(
        model,
        mels,
        [log_mel.floor(float(mel.max())) for mel in mels],
        language=language,
        full_windows=model.full_windows,
        batch_s=240.0,
    )


def scored(model: SpeechModel, clips: PreparedClips, mels: list[log_mel.Mel]) -> runs.pd.DataFrame:
    decoded = heard(model, mels, clips.language)
    table = clips.rows[["text", "speaker", "duration_s"]].assign(
        clip_id=clips.rows["id"],
        hypothesis=[one.text for one in decoded],
        finished=[one.finished for one in decoded],
    )
    return runs.scored_rows(table, clips.language)


def augment(arguments: argparse.Namespace) -> None:
    store = open_store(str(arguments.out / "store"))
    plain, _ = prepared(store, arguments, None)
    clips = runs.clips_of(store, plain)
    mels = degraded_test(arguments, clips)
    for name in arguments.arms or COPIES:
        set_id, cpu_s = prepared(store, arguments, COPIES[name])
        made = tuned(store, arguments, set_id, arguments.seed)
        model = load(store, made.ref)
        tables = {test: scored(model, clips, of_test) for test, of_test in mels.items()}
        for test, rows in tables.items():
            rows.to_parquet(arguments.out / f"{name}-{test}-{arguments.seed}.parquet")
        for test, rows in tables.items():
            about = runs.describe(rows, runs.RESAMPLES).scores.normalised.wer
            kept = arguments.out / f"plain-{test}-{arguments.seed}.parquet"
            against = runs.paired([rows], [runs.pd.read_parquet(kept)]) if kept.exists() else None
            result = {
                "arm": name,
                "seed": arguments.seed,
                "steps": arguments.steps,
                "test": test,
                "clips": len(rows),
                "wer": about.value,
                "low": about.low,
                "high": about.high,
                "against_plain": None if against is None else asdict(against),
                "preparation_cpu_s": cpu_s,
                "step_cpu_s": made.step_cpu_s,
            }
            keep(arguments, result)
        runs.forget(store, made.ref)


def keep(arguments: argparse.Namespace, result: Mapping[str, Any]) -> None:
    print(json.dumps(result), flush=True)
    with (arguments.out / f"{arguments.what}.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")


def curve(arguments: argparse.Namespace) -> None:
    """The product's learning curve, without Prefect: with as many steps of each part, and as many epochs."""
    store, of = open_store(str(arguments.out / "store")), language_of(arguments.language)
    set_id, _ = prepared(store, arguments)
    finetune = FinetuneConfig(
        model=str(arguments.weights),
        steps=arguments.steps,
        precision=arguments.precision,
        replay_share=0.0,
        dev_clips=64,
    )
    for held in ("steps", "epochs"):
        config = SpeechCurveConfig(finetune=finetune, seeds=arguments.seeds, held=held, ways=("clips",))
        plan = learning_curve_points.plan(store, set_id, config)
        cache = Path(os.environ["DAGSVERK_CACHE"])
        points: list[Any] = []
        for part in (*plan.whole, *plan.parts):
            before = points[0] if part.share < 1 else None
            made = learning_curve_points.measure(store, of, set_id, config, part, cache, before)
            points.append(made)
            rate = sum(made.errors) / sum(made.words)
            keep(
                arguments, {**asdict(part), "held": held, "steps": made.steps, "wer": rate, "s": made.seconds}
            )
        report = learning_curve_points.conclude(store, plan, config, points)
        print(held, *curve_sentences(report), sep="\n", flush=True)


def students(arguments: argparse.Namespace) -> None:
    """A teacher, tuned on a quarter of the clips, writes the texts of the others: how wrong those that are
    kept are, and what learning from them gives."""
    store = open_store(str(arguments.out / "store"))
    whole, _ = prepared(store, arguments)
    train = runs.clips_of(store, whole, "train")
    true = dict(zip(train.rows["id"], train.rows["text"], strict=True))
    order = np.random.default_rng(arguments.split_seed).permutation(sorted(true))
    own = {name: true[name] for name in order[: len(order) * LABELLED_PERCENT // 100]}
    teacher = tuned(
        store, arguments, prepared(store, arguments, corpus=retold(arguments, own, "own"))[0], 0
    ).ref
    written, good = listened(
        load(store, teacher), train, set(true) - set(own), load_model(str(arguments.weights))
    )
    keep(arguments, {"teacher": wrong(true, written, train.language), "kept": len(good), "of": len(written)})
    keep(arguments, {"kept": wrong(true, {name: written[name] for name in good}, train.language)})
    arms = {
        "own alone": own,
        "all that the teacher wrote": {**own, **written},
        "what is kept of it": {**own, **{name: written[name] for name in good}},
        "true texts": true,
    }
    test, tables = runs.clips_of(store, whole), {}
    for arm, texts in arms.items():
        set_id, _ = prepared(store, arguments, corpus=retold(arguments, texts, arm))
        refs = [tuned(store, arguments, set_id, seed).ref for seed in range(arguments.seeds)]
        mels = [test.mel(i) for i in range(len(test))]
        tables[arm] = [scored(load(store, ref), test, mels) for ref in refs]
        rates = [runs.describe(rows, runs.RESAMPLES).scores.normalised.wer.value for rows in tables[arm]]
        against = asdict(runs.paired(tables[arm], tables["own alone"]).wer) if arm != "own alone" else None
        keep(arguments, {"arm": arm, "clips": len(texts), "wer": rates, "against_own": against})


def retold(arguments: argparse.Namespace, texts: Mapping[str, str], about: str) -> Retold:
    return Retold(prompts(arguments), texts, about)


def tuned(store: Store, arguments: argparse.Namespace, set_id: str, seed: int) -> runs.Tuned:
    config = runs.configured(
        runs.Arm(), str(arguments.weights), steps=arguments.steps, seed=seed, precision=arguments.precision
    )
    return runs.tune(store, set_id, arguments.language, runs.Arm(), config, arguments.out)


def load(store: Store, ref: CheckpointRef) -> SpeechModel:
    model = runs.load_tuned(store, runs.Arm(), ref)
    if torch.cuda.is_available():
        torch.nn.Module.to(model.model, "cuda")
    return model


def listened(
    teacher: SpeechModel, train: PreparedClips, wanted: set[str], second: SpeechModel
) -> tuple[dict[str, str], list[str]]:
    """What the teacher writes of clips, and those whose text the product's filter keeps."""
    places = [i for i, name in enumerate(train.rows["id"]) if name in wanted]
    clips, language = train.only(places), train.language
    mels = [clips.mel(i) for i in range(len(clips))]
    made, others = (heard(model, mels, language) for model in (teacher, second))
    names, lengths = list(clips.rows["id"]), list(clips.rows["duration_s"])
    config, good = PseudoLabelConfig(), []
    for name, length_s, one, other in zip(names, lengths, made, others, strict=True):
        segment = KeptSegment(
            start_s=0.0,
            end_s=length_s,
            text=one.text,
            mean_log_probability=one.mean_log_probability,
            no_speech_probability=one.no_speech_probability,
        )
        if not judge(segment, other.text, language, config)[0]:
            good.append(name)
    return dict(zip(names, [one.text for one in made], strict=True)), good


def wrong(true: Mapping[str, str], written: Mapping[str, str], language: str) -> float:
    """WER of what was written."""
    counts = count_errors([true[name] for name in written], list(written.values()), language, (NORMALISED,))
    return total(counts, NORMALISED).wer


WHATS = {"augment": augment, "curve": curve, "students": students}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=tuple(WHATS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=os.environ.get("DAGSVERK_TEST_WHISPER"))
    parser.add_argument("--prompts", type=Path, default=os.environ.get("DAGSVERK_TEST_PROMPTS"))
    parser.add_argument("--language", default="it")
    parser.add_argument("--arms", nargs="*")
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0, help="of augment")
    parser.add_argument("--seeds", type=int, default=3, help="of curve and students")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSVERK_CACHE", str(arguments.out / "cache"))
    WHATS[arguments.what](arguments)


if __name__ == "__main__":
    main()
