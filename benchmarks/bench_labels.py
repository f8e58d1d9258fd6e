"""Faults put in on purpose: how many are seen, by kind and share; and what mending them gives.

    python benchmarks/bench_labels.py tables            # Titanic, Iris and two systems of table_systems
    python benchmarks/bench_labels.py mended-tables     # fitted on faulty, mended and true outcomes
    python benchmarks/bench_labels.py speech --out O    # human prompts, Whisper base tuned on faulty texts
    python benchmarks/bench_labels.py mended --out O    # the same, tuned again on the mended set

Speech wants `DAGSVERK_TEST_WHISPER`, `DAGSVERK_TEST_PROMPTS` (or --weights, --prompts): see `bench_real.py`.
Faults are put in before anything is trained, in train, dev and test: what is found is compared with them.
Texts that were wrong before count as right here, so precision is a lower bound.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Result = dict[str, Any]
TABLES = (
    ("titanic", "xgboost"),
    ("titanic", "lda"),
    ("iris", "lda"),
    ("wine", "logistic"),
    ("digits", "lda"),
)
SHARES = (0.02, 0.05, 0.1)
FOREIGN = {"it": "fr", "en": "es", "fr": "it", "es": "fr", "ru": "en"}


def table(name: str, model_class: str, share: float, seed: int) -> Result:
    """One system, a share of whose outcomes is changed."""
    from dagsverk.label_report import CUT
    from dagsverk.suspicion import precision_at
    from dagsverk.tabular.evaluation import in_fixed_order
    from dagsverk.tabular.features import validate
    from dagsverk.tabular.label_noise import flipped, suspected
    from dagsverk.tabular.models import class_codes
    from dagsverk.tabular.recipes import recipe
    from dagsverk.tabular.sources import read_source

    system = _system(name)
    rows = validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows
    rows = in_fixed_order(rows.assign(origin="historic")).reset_index(drop=True)
    label = system.label.name
    codes = class_codes(system, rows[label].to_numpy(dtype=object))
    chosen, changed = flipped(codes, 1000 + seed, share)
    rows[label] = np.asarray(system.classes, dtype=object)[changed]
    began = time.perf_counter()
    probabilities, made, planted = suspected(system, rows, recipe(model_class))
    seconds = time.perf_counter() - began
    wrong = np.zeros(len(rows), bool)
    wrong[chosen] = True
    listed = made.suspicion >= CUT
    own = probabilities[np.arange(len(rows)), changed]
    usual = np.array([probabilities[changed == k, k].mean() for k in range(len(system.classes))])
    above = np.where(probabilities >= usual, probabilities, -1.0)
    joint = (above.max(axis=1) > 0) & (above.argmax(axis=1) != changed)
    return {
        "name": name,
        "model_class": model_class,
        "share": share,
        "rows": len(rows),
        "listed": int(listed.sum()),
        "precision": _ratio(wrong & listed, listed),
        "recall": _ratio(wrong & listed, wrong),
        "stated": precision_at(made.suspicion, CUT)[0],
        "stated_recall": planted.seen / planted.planted,
        "first": float(wrong[np.argsort(-made.suspicion)[: len(chosen)]].mean()),
        "by_confidence_alone": float(wrong[np.argsort(own)[: len(chosen)]].mean()),
        "confident_learning": [int(joint.sum()), _ratio(wrong & joint, joint), _ratio(wrong & joint, wrong)],
        "seconds": round(seconds, 1),
    }


def _system(name: str) -> Any:
    from dagsverk.tabular import system

    if name in system.systems():
        return system.load_system(name)
    sys.path.insert(0, str(Path(__file__).parent))
    return importlib.import_module(f"table_systems.{name}").SYSTEM


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part.sum() / whole.sum()) if whole.sum() else None


def tables(seeds: int) -> None:
    """All systems, shares and seeds; means over the seeds."""
    for name, model_class in TABLES:
        for share in SHARES:
            made = [table(name, model_class, share, seed) for seed in range(seeds)]
            mean = {
                key: np.mean([one[key] for one in made if one[key] is not None] or [np.nan])
                for key in (
                    "listed",
                    "precision",
                    "recall",
                    "stated",
                    "first",
                    "by_confidence_alone",
                    "seconds",
                )
            }
            joint = np.nanmean(
                [[x if x is not None else np.nan for x in one["confident_learning"]] for one in made], 0
            )
            print(
                f"{name} {model_class} {share:.0%}: listed {mean['listed']:.0f}, "
                f"precision {mean['precision']:.2f} (stated {mean['stated']:.2f}), "
                f"recall {mean['recall']:.2f}; "
                f"of the first as many as planted {mean['first']:.2f}, by confidence alone "
                f"{mean['by_confidence_alone']:.2f}; confident learning's rule lists {joint[0]:.0f}, "
                f"precision {joint[1]:.2f}, recall {joint[2]:.2f}; {mean['seconds']:.1f} s",
                flush=True,
            )


def mended_table(name: str, model_class: str, share: float, seed: int) -> list[float]:
    """Log-loss on true outcomes of other rows: fitted on faulty ones, on those of which the listed faults got
    their outcome back, and on true ones; and how many were given back, of how many."""
    from sklearn.model_selection import train_test_split

    from dagsverk.label_report import CUT
    from dagsverk.tabular.evaluation import in_fixed_order
    from dagsverk.tabular.features import model_inputs, validate
    from dagsverk.tabular.label_noise import flipped, suspected
    from dagsverk.tabular.metrics import log_loss
    from dagsverk.tabular.models import class_codes, fit
    from dagsverk.tabular.recipes import recipe
    from dagsverk.tabular.sources import read_source

    system = _system(name)
    rows = validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows
    rows = in_fixed_order(rows.assign(origin="historic")).reset_index(drop=True)
    label, names = system.label.name, np.asarray(system.classes, dtype=object)
    true = class_codes(system, rows[label].to_numpy(dtype=object))
    train, test = train_test_split(np.arange(len(rows)), test_size=0.3, random_state=seed, stratify=true)
    own = rows.iloc[np.sort(train)].reset_index(drop=True)
    codes = true[np.sort(train)]
    chosen, changed = flipped(codes, 2000 + seed, share)
    _, made, _ = suspected(system, own.assign(**{label: names[changed]}), recipe(model_class))
    back = (made.suspicion >= CUT) & (changed != codes)
    results = []
    for taught in (changed, np.where(back, codes, changed), codes):
        model = fit(system, recipe(model_class), model_inputs(system, own), names[taught], tune=False)
        probabilities = model.predict_proba(model_inputs(system, rows.iloc[test]))
        results.append(log_loss(probabilities, true[test]))
    return [*results, float(back.sum()), float(len(chosen))]


def mended_tables(seeds: int) -> None:
    """Means over the seeds, and the gain of mending with twice its standard error."""
    for name, model_class in (("iris", "lda"), ("wine", "logistic"), ("titanic", "xgboost")):
        made = np.array([mended_table(name, model_class, 0.1, seed) for seed in range(seeds)])
        gain = made[:, 0] - made[:, 1]
        error = 2 * gain.std(ddof=1) / np.sqrt(seeds)
        faulty, mended_loss, true, back, of = made.mean(axis=0)
        print(
            f"{name} {model_class}, 10 %: log-loss {faulty:.3f} on faulty outcomes, {mended_loss:.3f} with "
            f"{back:.1f} of {of:.0f} mended, {true:.3f} on true ones; gain {gain.mean():+.3f} ± {error:.3f}",
            flush=True,
        )


def speech(arguments: argparse.Namespace, language: str, share: float) -> Result:
    """Faulty prompts, a model tuned on them, and what it suspects."""
    from real_runs import ARMS, load_tuned

    from dagsverk.cache import cache_folder
    from dagsverk.label_report import CUT
    from dagsverk.speech.config import PrepareConfig
    from dagsverk.speech.features import preparation
    from dagsverk.speech.labels.scoring import score
    from dagsverk.speech.languages import language as language_of
    from dagsverk.store import open_store
    from dagsverk.suspicion import precision_at

    store, corpus = open_store(str(arguments.out / "store")), _faulty(arguments, language, share)
    config = PrepareConfig(tokenizer=str(arguments.weights))
    set_id = preparation.plan(store, corpus, language, config, "prompts with faults")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    tuned = _tuned(arguments, store, set_id, language)
    model = load_tuned(store, ARMS["tuned"], tuned.ref)
    made = score(store, language_of(language), model, set_id, cache_folder(), lambda *_: None)
    rows = made.rows.assign(kind=[corpus.planted.get(name, "") for name in made.rows["id"]])
    wrong, listed, train = rows["kind"] != "", rows["suspicion"] >= CUT, rows["split"] == "train"
    hours = float(rows["duration_s"].sum()) / 3600
    rows.to_parquet(arguments.out / f"{language}-{share}.parquet")
    return {
        "language": language,
        "share": share,
        "set": set_id,
        "run": tuned.ref.run,
        "step": tuned.ref.step,
        "clips": len(rows),
        "planted": int(wrong.sum()),
        "listed": int(listed.sum()),
        "precision": _ratio(wrong & listed, listed),
        "stated": precision_at(rows["suspicion"].to_numpy(), CUT)[0],
        "recall": _ratio(wrong & listed, wrong),
        "recall_in_train": _ratio(wrong & listed & train, wrong & train),
        "recall_held_out": _ratio(wrong & listed & ~train, wrong & ~train),
        "recall_by_kind": {
            kind: f"{int((listed & own).sum())} of {int(own.sum())}"
            for kind in sorted(set(rows["kind"]) - {""})
            for own in [rows["kind"] == kind]
        },
        "first": float(wrong[rows["suspicion"].sort_values(ascending=False).index[: wrong.sum()]].mean()),
        "seconds_per_hour": round(made.seconds / hours),
        "others": rows[listed & ~wrong]
        .sort_values("suspicion", ascending=False)[["text", "hypothesis", "suspicion"]]
        .head(30)
        .to_dict("records"),
    }


def mended(arguments: argparse.Namespace, language: str, share: float) -> Result:
    """Tuned on the faulty set, on the set of which every listed clip was dropped, and on one whose listed
    faults got their text back: as a person would do who listens to what is listed, and to nothing else.

    All are scored on the test clips with their true texts.
    """
    from real_runs import ARMS, load_tuned, paired, score

    from dagsverk.cache import cache_folder
    from dagsverk.label_report import CUT
    from dagsverk.speech.features.prepared import open_prepared
    from dagsverk.speech.features.shards import manifest
    from dagsverk.speech.labels import mending
    from dagsverk.store import open_store

    about = json.loads((arguments.out / f"speech-{language}-{share}.json").read_text())
    store, name = open_store(str(arguments.out / "store")), {"it": "italian", "en": "english"}[language]
    corpus = _faulty(arguments, language, share)
    corpus.listing()
    rows = pd.read_parquet(arguments.out / f"{language}-{share}.parquet")
    listed = rows[(rows["suspicion"] >= CUT) & (rows["split"] != "test")]
    keys = {
        clip: key
        for shard in manifest(store, about["set"]).shards
        for clip, key, _ in mending.keys_of(store, shard, cache_folder())
    }
    results: Result = {}
    scored: dict[str, pd.DataFrame] = {}
    test = open_prepared(store, about["set"], ("test",), cache_folder())
    true = [
        corpus.truth.get(clip, text) for clip, text in zip(test.rows["id"], test.rows["text"], strict=True)
    ]
    kept = [i for i, clip in enumerate(test.rows["id"]) if corpus.planted.get(clip) != "truncated audio"]
    test.rows["text"] = true
    test = test.only(kept)
    for arm in ("noisy", "mended", "dropped"):
        _decide(store, name, corpus, {clip: keys[clip] for clip in listed["id"]}, arm)
        of = mending.mend(store, about["set"])
        tuned = _tuned(arguments, store, of.id, language)
        one = score(load_tuned(store, ARMS["tuned"], tuned.ref), test, full=False)
        scored[arm] = one.rows
        results[arm] = {
            "set": of.id,
            "by_hand": of.by_hand.words if of.by_hand else "",
            "wer": one.scores.wer.value,
        }
        print(arm, results[arm], flush=True)
    for arm in ("mended", "dropped"):
        gap = paired([scored[arm]], [scored["noisy"]])
        results[arm]["against_noisy"] = [gap.wer.value, gap.wer.low, gap.wer.high]
    return {"language": language, "share": share, "test_clips": len(test), **results}


def _faulty(arguments: argparse.Namespace, language: str, share: float) -> Any:
    """The language's prompts, a share of them made wrong."""
    from label_noise import Noisy, texts_of
    from real_runs import Prompts

    from dagsverk.speech.corpora.folder import FolderCorpus
    from dagsverk.speech.corpora.places import LocalPlace

    prompts = Prompts(FolderCorpus(LocalPlace(arguments.prompts / language), language), 0)
    return Noisy(prompts, share, texts_of(arguments.prompts / FOREIGN[language]))


def _tuned(arguments: argparse.Namespace, store: Any, set_id: str, language: str) -> Any:
    """Whisper tuned on a set."""
    from real_runs import ARMS, configured, tune

    arm, changes = ARMS["tuned"], {"evaluate_every": 60, "checkpoint_every": 60, "keep_checkpoints": 2}
    config = configured(
        arm, str(arguments.weights), steps=arguments.steps, seed=0, precision="bf16", **changes
    )
    return tune(store, set_id, language, arm, config, arguments.out)


def _decide(store: Any, name: str, corpus: Any, listed: dict[str, str], arm: str) -> None:
    """Decide on listed clips (id -> key) as an arm does, and on nothing else."""
    from dagsverk import label_decisions
    from dagsverk.label_decisions import LabelDecision

    for decision in label_decisions.state(store, "speech", name).decisions:
        undone = LabelDecision(key=decision.key, action="undo", was="")
        label_decisions.decide(store, "speech", name, undone)
    for clip, key in listed.items() if arm != "noisy" else ():
        truth = corpus.truth.get(clip, "")
        cut = corpus.planted.get(clip) == "truncated audio"
        if arm == "mended" and truth and not cut:
            made = LabelDecision(key=key, action="mend", value=truth, was="")
        elif arm == "dropped" or cut:
            made = LabelDecision(key=key, action="drop", was="")
        else:
            continue  # a person hears that it is right
        label_decisions.decide(store, "speech", name, made)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("tables", "mended-tables", "speech", "mended"))
    parser.add_argument("--out", type=Path, default=Path("labels-bench"))
    parser.add_argument("--weights", type=Path, default=Path(os.environ.get("DAGSVERK_TEST_WHISPER", ".")))
    parser.add_argument("--prompts", type=Path, default=Path(os.environ.get("DAGSVERK_TEST_PROMPTS", ".")))
    parser.add_argument("--languages", nargs="+", default=["it", "en"])
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args(words)
    if arguments.part == "tables":
        tables(arguments.seeds)
        return
    if arguments.part == "mended-tables":
        mended_tables(max(2, arguments.seeds))
        return
    sys.path.insert(0, str(Path(__file__).parent))
    arguments.out.mkdir(parents=True, exist_ok=True)
    run = {"speech": speech, "mended": mended}[arguments.part]
    for language in arguments.languages:
        for share in arguments.shares:
            made = run(arguments, language, share)
            file = arguments.out / f"{arguments.part}-{language}-{share}.json"
            file.write_text(json.dumps(made, indent=1, ensure_ascii=False))
            print(
                json.dumps({k: v for k, v in made.items() if k != "others"}, ensure_ascii=False), flush=True
            )


if __name__ == "__main__":
    main()
