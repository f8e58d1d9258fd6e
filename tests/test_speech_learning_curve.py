"""A language's learning curve: nested parts, trainings that are found, speakers against minutes."""

import itertools
from dataclasses import replace

import pytest
from training_runs import make_model, make_set, tiny_config

from dagsverk.records import keep_report
from dagsverk.speech import results, runs
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.languages import language
from dagsverk.speech.learning_curve import STEP, Part, SpeechCurveConfig, SpeechPoint
from dagsverk.speech.learning_curve_words import curve_words
from dagsverk.speech.mixtures import MixtureConfig
from dagsverk.speech.training import learning_curve_points
from dagsverk.speech.training.learning_curve_points import conclude, finetune_of, measure, plan
from dagsverk.speech.training.subset import part_of
from dagsverk.store import open_store
from dagsverk.suggesting import speech as suggesting

SWEDISH = language("sv")
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A store with a set of sixteen clips of two voices, and a small model."""
    room = tmp_path_factory.mktemp("curve")
    store = open_store(str(room / "store"))
    return store, make_set(store), make_model(room / "model"), room


def train_of(site):
    store, set_id, _, room = site
    return open_prepared(store, set_id, ("train",), room / "cache")


def part(site, share, by="clips", seed=0):
    settings = FinetuneConfig(train_share=share, train_by=by, seed=seed)
    return part_of(train_of(site), settings).rows


def test_a_smaller_part_lies_in_every_larger_one_of_its_seed(site):
    parts = [set(part(site, share)["id"]) for share in SHARES]
    assert all(less < more for less, more in itertools.pairwise(parts))
    assert part(site, 0.25, seed=1)["id"].tolist() != part(site, 0.25)["id"].tolist()


def test_by_clips_all_speakers_stay_and_by_speakers_those_that_stay_have_all_their_clips(site):
    whole = train_of(site).rows
    by_clips, by_speakers = part(site, 0.5), part(site, 0.5, "speakers")
    assert set(by_clips["speaker"]) == set(whole["speaker"])
    (one,) = set(by_speakers["speaker"])
    assert by_speakers["id"].tolist() == whole.loc[whole["speaker"] == one, "id"].tolist()
    for rows in (by_clips, by_speakers):
        assert rows["duration_s"].sum() == pytest.approx(whole["duration_s"].sum() / 2, rel=0.2)


def test_a_part_that_is_nobody_is_refused(site):
    with pytest.raises(SpeechError, match="by speakers is none; take a larger share"):
        part(site, 0.01, "speakers")


def test_a_run_on_all_clips_keeps_the_name_that_it_had_before_there_were_parts():
    config = FinetuneConfig(seed=3)
    name = runs.run_id("model", "set", config, SWEDISH)
    assert name == runs.run_id("model", "set", replace(config, train_by="speakers"), SWEDISH)
    assert name != runs.run_id("model", "set", replace(config, train_share=0.5), SWEDISH)


def test_points_are_trained_once_take_the_steps_of_the_whole_and_leave_no_checkpoint(site, monkeypatch):
    store, set_id, model, room = site
    config = SpeechCurveConfig(
        finetune=tiny_config(model, steps=4, evaluate_every=2),
        shares=(0.25, 0.5, 1.0),
        seeds=1,
        ways=("clips",),
    )
    made = plan(store, set_id, config)
    before = None
    points = []
    for one in (*made.whole, *made.parts):
        points.append(measure(store, SWEDISH, set_id, config, one, room / "cache", before))
        before = before or points[0]
    assert [point.steps for point in points] == [4, 4, 4]
    assert [point.clips for point in points] == [16, len(part(site, 0.25)), len(part(site, 0.5))]
    monkeypatch.setattr(learning_curve_points, "_scored", None)
    again = [measure(store, SWEDISH, set_id, config, p.part, room / "cache", before) for p in points]
    assert again == points, "found, not made again"
    for point in points:
        kept = store.list(f"{runs.run_folder(point.run)}/checkpoints")
        assert bool(kept) == (point.part.share == 1)
    assert [run.run for run in results.runs(store, SWEDISH)] == [points[0].run], "parts are no runs of a day"
    report = conclude(store, made, config, points)
    assert (report.clips, report.steps, report.seeds) == (16, 4, 1)
    assert any("chance" in note for note in report.notes)


def test_epochs_can_be_held_equal_instead_of_steps():
    whole = point(1.0, "clips", 0, [1])
    config = SpeechCurveConfig(held="epochs")
    asked = finetune_of(config, Part(share=0.25, way="clips", seed=1), whole)
    assert (asked.steps, asked.train_share, asked.seed) == (25, 0.25, 1)


def test_few_named_speakers_are_said_to_tell_nothing_of_speakers(site):
    store, set_id, _, _ = site
    made = plan(store, set_id, SpeechCurveConfig())
    assert {one.way for one in made.parts} == {"clips"}
    assert "train has 2 named speakers" in made.notes[0]
    with pytest.raises(SpeechError, match="ask for ways: clips"):
        plan(store, set_id, SpeechCurveConfig(ways=("speakers",)))


def point(share, way, seed, errors):
    """A point as if trained: 40 test clips of 10 voices, ten words each."""
    each = [errors[i % len(errors)] for i in range(40)]
    return SpeechPoint(
        part=Part(share=share, way=way, seed=seed), run=f"sv-{seed}", step=10, steps=100,
        clips=int(160 * share),
        audio_s=1600 * share, speakers=max(1, int(16 * share)) if way == "speakers" else 16, dev_wer=None,
        test_clips=tuple(f"c{i}" for i in range(40)), test_speakers=tuple(f"v{i % 10}" for i in range(40)),
        words=(10,) * 40, errors=tuple(each), seconds=1.0,
    )  # fmt: skip


def test_speakers_are_told_from_minutes_and_each_becomes_a_suggestion(site, monkeypatch):
    store, set_id, _, _ = site
    wers = {"clips": {1 / 8: 5, 1 / 4: 4, 1 / 2: 3}, "speakers": {1 / 8: 8, 1 / 4: 6, 1 / 2: 4}}
    points = [point(1.0, "clips", seed, [2, 3]) for seed in (0, 1)]
    for way, rates in wers.items():
        points += [
            point(share, way, seed, [base, base + seed % 2])
            for share, base in rates.items()
            for seed in (0, 1)
        ]
    made, config = plan(store, set_id, SpeechCurveConfig()), SpeechCurveConfig()
    monkeypatch.setattr(runs, "run_config", lambda *_: type("Made", (), {"finetune": FinetuneConfig()}))
    report = conclude(store, made, config, points)
    assert set(report.fits) == {"clips", "speakers"}
    quarter = next(one for one in report.against if one.share == 0.25)
    assert (quarter.wer_few, quarter.wer_many) == (pytest.approx(0.625), pytest.approx(0.425))
    assert quarter.gain.low > 0
    assert "more speakers help" in curve_words(report)
    keep_report(store, "swedish", STEP, report)
    listed = list(suggesting.more_recordings(store, SWEDISH))
    assert [one.about for one in listed] == ["data", "data"]
    assert all(one.gain is not None and one.gain.share for one in listed)
    assert "new speakers" in " ".join(one.action for one in listed)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"ways": ()}, "ways must be"),
        ({"ways": ("clips", "clips")}, "each once"),
        ({"seeds": 0}, "seeds must be"),
        ({"held": "hours"}, "held must be"),
        ({"finetune": FinetuneConfig(train_share=0.5)}, "leave it 1"),
        ({"finetune": FinetuneConfig(mixture=(MixtureConfig(set="sv-0"),))}, "other sets"),
    ],
)
def test_nonsense_is_refused_when_it_is_asked_for(settings, words):
    with pytest.raises(ValueError, match=words):
        SpeechCurveConfig(**settings)


@pytest.mark.parametrize("settings", [{"train_share": 0}, {"train_share": 1.5}, {"train_by": "luck"}])
def test_a_part_that_is_none_is_refused(settings):
    with pytest.raises(ValueError, match="train_share must be in"):
        FinetuneConfig(**settings)
