"""What is done against forgetting: clips of other languages in a run's batches."""

import itertools
import logging
import math
import random
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_process import Trainer
from training_runs import Killed, KilledAfter, make_model, make_set, tiny_config

from dagsverk.records import read, read_json
from dagsverk.speech import runs
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, ModelError, SpeechError
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.features.shards import folder
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import load_model, save_model_folder
from dagsverk.speech.model.tokens import prompt
from dagsverk.speech.runs import CheckpointRef, Finish, ValidationPoint, curve, run_config, run_folder
from dagsverk.speech.training import checkpoints, loop, own_english, replay
from dagsverk.speech.training.averaging import choose_share
from dagsverk.speech.training.batches import Sampler, even_parts
from dagsverk.speech.training.checkpoints import newest
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.fit import base_model, fit, load_checkpoint
from dagsverk.store import open_store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remedies")
    patch = pytest.MonkeyPatch()
    patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
    make_model(folder / "model")
    yield folder
    patch.undo()


def new_store(place, name):
    """A store with Swedish, and English and French to replay."""
    store = open_store(str(place / name))
    return store, make_set(store), [make_set(store, code=code) for code in ("en", "fr")]


def replaying(place, **changes):
    return tiny_config(str(place / "model"), replay_share=0.4, **changes)


def end_of(place, store, run):
    state, files = newest(store, run, place / "cache")
    return (
        state.step,
        state.trail,
        [files[name].read_bytes() for name in (checkpoints.MODEL, checkpoints.OPTIMISER)],
    )


def run_of(store):
    (run,) = {path.split("/")[3] for path in store.list("speech/swedish/runs")}
    return run


def test_a_replaying_run_lost_at_any_step_ends_with_the_same_bytes(place):
    store, set_id, _ = new_store(place, "whole")
    whole = end_of(place, store, fit(store, set_id, "sv", replaying(place)).run)
    torn, _, _ = new_store(place, "torn")
    for step in (1, 5, 8, 11):
        with pytest.raises(Killed):
            fit(torn, set_id, "sv", replaying(place), KilledAfter(step))
    assert end_of(place, torn, fit(torn, set_id, "sv", replaying(place)).run) == whole
    assert whole[0] == 12


def test_a_process_that_replays_and_is_killed_goes_on_as_if_nothing_had_been(place):
    config = replaying(place, steps=16, evaluate_every=16, checkpoint_every=2)
    store, set_id, _ = new_store(place, "alone")
    ref = fit(store, set_id, "sv", config)
    killed, _, _ = new_store(place, "killed")
    at = random.randrange(3, 15)
    trainer = Trainer(killed.url, set_id, config)
    assert trainer.wait_for("step", at)[-1] == ("step", at)
    trainer.process.kill()
    assert trainer.end() == -signal.SIGKILL
    assert Trainer(killed.url, set_id, config).wait_for("never")[-1] == ("done", ref.step), at
    assert end_of(place, killed, ref.run) == end_of(place, store, ref.run), at


def test_a_run_is_named_by_what_it_replays(place):
    store, set_id, (english, french) = new_store(place, "names")
    short = {"steps": 1, "evaluate_every": 1}
    plain = fit(store, set_id, "sv", tiny_config(str(place / "model"), **short))
    none = fit(store, set_id, "sv", tiny_config(str(place / "model"), **short, replay_share=0.0))
    both = fit(store, set_id, "sv", replaying(place, **short))
    named = fit(store, set_id, "sv", replaying(place, **short, replay_sets=(french, english)))
    one = fit(store, set_id, "sv", replaying(place, **short, replay_sets=(english,)))
    assert plain == none  # an untaught model has nothing to forget
    assert both == named  # the order in which they are named changes nothing
    assert len({plain.run, both.run, one.run}) == 3
    assert run_config(store, both.run).replayed == {english: 16, french: 16}
    assert run_config(store, plain.run).replayed == {}
    assert run_config(store, both.run).clips == 16


def test_a_run_goes_on_with_the_sets_it_began_with_though_newer_ones_came(place):
    store, set_id, sets = new_store(place, "newer")
    with pytest.raises(Killed):
        fit(store, set_id, "sv", replaying(place), KilledAfter(4))
    run = run_of(store)
    make_set(store, code="en", shard_clips=7)
    make_set(store, code="de")
    ref = fit(store, set_id, "sv", replaying(place))
    assert (ref.run, run_of(store)) == (run, run)
    assert run_config(store, run).finetune.replay_sets == tuple(sorted(sets))


def test_sets_that_are_gone_at_a_resume_are_named_and_a_finished_run_is_found_without_them(place):
    store, set_id, (english, _) = new_store(place, "gone")
    with pytest.raises(Killed):
        fit(store, set_id, "sv", replaying(place), KilledAfter(4))
    done = fit(store, set_id, "sv", replaying(place, steps=1, evaluate_every=1))
    store.remove(folder(english))
    with pytest.raises(SpeechError, match=f"replays clips of {english}, and .* has no such set"):
        fit(store, set_id, "sv", replaying(place))
    assert fit(store, set_id, "sv", replaying(place, steps=1, evaluate_every=1)) == done


def test_what_cannot_be_replayed_is_refused_by_name(place):
    store, set_id, (english, _) = new_store(place, "refused")
    borrowed, wide = make_set(store, code="rm_as_it"), make_set(store, code="de", n_mels=128)
    for sets, words in (
        ((set_id,), "Swedish is written under the same token as Swedish"),
        ((english, borrowed), r"Rm \(as Italian\) is none of the languages"),
        ((wide,), "has 128 mel bins, .* hears 80"),
    ):
        with pytest.raises(ModelError, match=f"{sets[-1]} cannot be replayed: .*{words}"):
            fit(store, set_id, "sv", replaying(place, replay_sets=sets))
    with pytest.raises(SpeechError, match=r"replays clips of en-0123456789abcdef, and .* no such set"):
        fit(store, set_id, "sv", replaying(place, replay_sets=("en-0123456789abcdef",)))
    alone = open_store(str(place / "alone in the store"))
    with pytest.raises(SpeechError, match=r"replay_share is 0.4, and .* no clips of another language"):
        fit(alone, make_set(alone), "sv", replaying(place))


@pytest.mark.parametrize(
    "settings",
    [
        {"replay_share": 1.0},
        {"replay_share": -0.1},
        {"replay_share": float("nan")},
        {"replay_share": 0.0, "replay_sets": ("en-0123456789abcdef",)},
        {"replay_sets": ("en-0123456789abcdef", "en-0123456789abcdef")},
        {"replay_sets": (" ",)},
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings):
    with pytest.raises(ValueError, match="replay_s"):
        FinetuneConfig(**settings)


def test_what_a_published_model_replays_unasked_is_every_other_language_of_people(place, caplog, monkeypatch):
    store, set_id, sets = new_store(place, "unasked")
    make_set(store, code="rm_as_sv")
    make_set(store, code="de", n_mels=128)
    monkeypatch.setattr(replay, "is_small", lambda _: False)  # as a published model is not
    model = load_model(str(place / "model"))
    given = tiny_config(str(place / "model"))
    with caplog.at_level(logging.INFO):
        filled = replay.fill_in(store, given, set_id, language("sv"), model, "f" * 64)
    assert (filled.replay_share, filled.replay_sets) == (replay.REPLAY_SHARE, tuple(sorted(sets)))
    assert "has 128 mel bins" in caplog.text
    monkeypatch.setattr(replay, "SPOKEN", "counting")  # the source of these sets: voices of machines
    another = replay.fill_in(store, given, set_id, language("sv"), model, "e" * 64)
    assert (another.replay_share, another.replay_sets) == (0.0, ())
    again = replay.fill_in(store, given, set_id, language("sv"), model, "f" * 64)
    assert again == filled  # decided once


def test_replayed_clips_come_under_their_own_language_and_from_their_own_set(place):
    store, set_id, sets = new_store(place, "labels")
    model = load_model(str(place / "model"))
    config = replaying(place, replay_sets=tuple(sets))
    own = Examples(open_prepared(store, set_id, ("train",), place / "cache"), model.tokenizer)
    mixture = replay.Mixture(own, replay.open_replayed(store, config, language("sv"), model))
    assert (len(mixture), mixture.pools) == (48, (16, 16, 16))
    for first, code in ((0, "sv"), (16, "en"), (32, "fr")):
        start = prompt(model.tokenizer, code)
        assert all(mixture.label(place, 0)[: len(start)] == start for place in range(first, first + 16))
    ids = mixture.rows["id"].tolist()
    assert ids[15:18] == [own.rows["id"].iat[15], f"{sets[0]}/{own.rows['id'].iat[0]}", f"{sets[0]}/train-1"]
    assert len(set(ids)) == 48
    for clip in (0, 15):  # the same sound, in another set
        (levels, peak), (theirs, their_peak) = own.quantised(clip), mixture.quantised(32 + clip)
        assert np.array_equal(levels, theirs)
        assert peak == their_peak


def test_each_epoch_has_all_own_clips_and_the_share_of_others_drawn_anew():
    frames = np.random.default_rng(0).integers(50, 900, 100 + 40 + 90)
    sampler = Sampler(frames, 30.0, 0.1, 0.01, seed=3, pools=(100, 40, 90), replay_share=0.2)
    drawn = []
    for epoch in range(3):
        clips = np.concatenate([batch.clips for batch in itertools.chain(*sampler.epoch(epoch))])
        assert len(clips) == len(set(clips)) == 125
        assert sorted(clips)[:100] == list(range(100))
        assert sum((clips >= 100) & (clips < 140)) == 12
        drawn.append(tuple(sorted(clips)[100:]))
    assert len(set(drawn)) == 3
    assert sampler.epoch(1)[0][0].clips.tolist() == sampler.epoch(1)[0][0].clips.tolist()


def test_without_replay_the_batches_are_what_they_were():
    frames = np.random.default_rng(0).integers(50, 900, 60)
    order = np.random.default_rng([7, 2]).permutation(len(frames))
    sampler = Sampler(frames, 1e9, 0.1, 0.5, seed=7)
    windows = [batch for group in sampler.epoch(2) for batch in group if batch.full]
    assert np.concatenate([batch.clips for batch in windows]).tolist() == order[:30].tolist()


@pytest.mark.parametrize(
    ("wanted", "sizes", "parts"),
    [
        (10, (100, 100), [5, 5]),
        (11, (100, 100), [5, 6]),
        (10, (3, 100), [3, 7]),
        (10, (100, 3, 2), [5, 3, 2]),
        (10, (3, 2), [3, 2]),  # there are not so many
        (0, (3, 2), [0, 0]),
    ],
)
def test_languages_are_replayed_evenly_as_far_as_they_reach(wanted, sizes, parts):
    assert even_parts(wanted, sizes) == parts


def test_of_a_large_set_only_so_many_shards_are_fetched_and_so_many_clips_drawn(place, monkeypatch):
    store, _, sets = new_store(place, "large")
    monkeypatch.setattr(replay, "MOST_CLIPS", 12)
    model = load_model(str(place / "model"))
    config = replaying(place, replay_sets=tuple(sets))
    pools = [len(one) for one in replay.open_replayed(store, config, language("sv"), model)]
    assert pools == [6, 6]
    few = open_prepared(store, sets[0], ("train",), place / "cache", most_clips=6)
    assert len(few) in (6, 10)  # of two shards, of 10 and 6 clips


def test_two_processes_replay_the_same_clips_as_one(place):
    config = replaying(place, steps=3, evaluate_every=3, accumulate=2)
    store, set_id, _ = new_store(place, "one process")
    one = newest(store, fit(store, set_id, "sv", config).run, place / "cache")[0]
    shared, _, _ = new_store(place, "two processes")
    ref = fit(shared, set_id, "sv", replaying(place, steps=3, evaluate_every=3, processes=2))
    two = newest(shared, ref.run, place / "cache")[0]
    assert (one.step, one.trail, one.position) == (two.step, two.trail, two.position)
    assert CheckpointRef(ref.run, 3) == ref


def averaging(place, **changes):
    return tiny_config(str(place / "model"), average_with_base=True, **changes)


@pytest.mark.parametrize(
    ("rates", "share"),
    [
        ({0.5: 0.3, 0.75: 0.2, 1.0: 0.2}, 0.75),
        ({0.5: 0.2, 0.75: 0.4, 1.0: 0.2}, 0.5),
        ({0.5: 0.3, 0.75: 0.21, 1.0: 0.2}, 1.0),
        ({0.5: math.nan, 0.75: math.nan, 1.0: math.nan}, 1.0),  # dev has nothing to score
    ],
)
def test_the_least_share_that_dev_does_not_call_worse_is_taken(rates, share):
    assert choose_share(rates) == share


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_the_model_of_a_finished_run_is_the_mean_of_checkpoint_and_base(place, monkeypatch, lora_rank):
    store, set_id, _ = new_store(place, f"averaged-{lora_rank}")
    config = averaging(place, lora_rank=lora_rank, learning_rate=0.01)
    monkeypatch.setattr(loop, "choose_share", min)
    ref = fit(store, set_id, "sv", config)
    cache = place / "cache"
    mean = load_checkpoint(store, ref, cache).model.state_dict()
    monkeypatch.setattr(runs, "tuned_share", lambda *_: 1.0)
    tuned = load_checkpoint(store, ref, cache).model.state_dict()
    base = base_model(store, ref.run).model.state_dict()
    moved = [name for name in base if not torch.equal(tuned[name], base[name])]
    assert moved
    for name in base:
        assert torch.allclose(mean[name], (base[name] + tuned[name]) / 2, atol=1e-6), name


def test_dev_alone_chooses_the_share_and_a_killed_run_chooses_the_same(place):
    store, set_id, _ = new_store(place, "chosen")
    ref = fit(store, set_id, "sv", averaging(place))
    finish = read(store, f"{run_folder(ref.run)}/finished.json", Finish)
    rates = dict(finish.averaged)
    assert set(rates) == {0.5, 0.75, 1.0}
    best = next(p for p in curve(store, ref.run) if p.step == ref.step and isinstance(p, ValidationPoint))
    assert rates[1.0] == best.dev_wer
    assert finish.tuned_share == choose_share(rates)
    torn, _, _ = new_store(place, "chosen late")
    with pytest.raises(Killed):
        fit(torn, set_id, "sv", averaging(place), KilledAfter(12))
    assert fit(torn, set_id, "sv", averaging(place)) == ref
    again = read(torn, f"{run_folder(ref.run)}/finished.json", Finish)
    assert again == finish
    weights = [load_checkpoint(one, ref, place / "cache").fingerprint() for one in (store, torn)]
    assert weights[0] == weights[1]


def test_averaging_is_part_of_a_runs_name_and_moves_no_step(place):
    store, set_id, _ = new_store(place, "no step")
    short = {"steps": 2, "evaluate_every": 2}
    plain = fit(store, set_id, "sv", tiny_config(str(place / "model"), **short))
    mean = fit(store, set_id, "sv", averaging(place, **short))
    assert plain.run != mean.run
    assert end_of(place, store, plain.run) == end_of(place, store, mean.run)
    assert runs.tuned_share(store, plain) == 1.0
    assert runs.tuned_share(store, CheckpointRef(mean.run, 1)) == 1.0  # no best one


def test_a_finish_of_an_older_version_is_read(place):
    store, _, _ = new_store(place, "older")
    store.put("speech/swedish/runs/sv-0123456789abcdef/finished.json", b'{"step": 5, "steps": 9}')
    assert runs.tuned_share(store, CheckpointRef("sv-0123456789abcdef", 5)) == 1.0


@pytest.fixture(scope="module")
def translator(place):
    """A folder with a model that was taught to write "count 3" of what it hears."""
    store, set_id, _ = new_store(place, "translator")
    config = tiny_config(str(place / "model"), steps=160, evaluate_every=160, translate_share=1.0)
    model = load_checkpoint(store, fit(store, set_id, "sv", config), place / "cache")
    save_model_folder(model, place / "translator", language="sv")
    return str(place / "translator")


def keeping_english(translator, **changes):
    return tiny_config(translator, translate_share=0.0, own_english_share=0.3, **changes)


def test_the_base_goes_on_teaching_its_own_english_and_a_killed_run_the_same(place, translator):
    config = keeping_english(translator, replay_share=0.3)
    store, set_id, _ = new_store(place, "own english")
    ref = fit(store, set_id, "sv", config)
    texts = read_json(store, f"{run_folder(ref.run)}/english.json")["texts"]
    assert texts
    assert all(text.startswith("count") for text in texts.values())
    torn, _, _ = new_store(place, "own english, torn")
    for step in (1, 7):
        with pytest.raises(Killed):
            fit(torn, set_id, "sv", config, KilledAfter(step))
    assert end_of(place, torn, fit(torn, set_id, "sv", config).run) == end_of(place, store, ref.run)


def test_so_many_clips_teach_english_as_were_asked_for(place, translator):
    store, set_id, _ = new_store(place, "shares of english")
    clips = open_prepared(store, set_id, ("train",), place / "cache")
    model = load_model(translator)
    for share in (0.1, 0.4):
        config = replace(keeping_english(translator), own_english_share=share)
        taught, often = own_english.taught(store, f"sv-{int(share * 10):016d}", clips, model, config)
        usable = int((taught.rows["translation"] != "").sum())
        assert 0 < usable <= math.ceil(len(clips) * 2 * share)
        assert often == pytest.approx(min(0.5, share * len(clips) / usable))
        assert set(taught.rows["text"]) == set(clips.rows["text"])
        assert (
            clips.rows["translation"].str.startswith("count").sum() == 8
        )  # the corpus's own are as they were


def test_who_is_told_to_stop_while_english_is_written_stops_and_keeps_nothing_half(place, translator):
    store, set_id, _ = new_store(place, "stopped english")
    clips = open_prepared(store, set_id, ("train",), place / "cache")

    def stop():
        raise Interrupted("told to stop")

    run = "sv-0123456789abcdef"
    with pytest.raises(Interrupted):
        own_english.taught(store, run, clips, load_model(translator), keeping_english(translator), stop)
    assert store.list(run_folder(run)) == []


def test_own_english_is_refused_where_there_is_none(place, translator):
    for settings in ({"model": "nano"}, {"model": translator, "translate_share": 0.5}):
        with pytest.raises(ValueError, match="own_english_share teaches the English that a published model"):
            FinetuneConfig(own_english_share=0.2, **settings)
    store, _, (english, _) = new_store(place, "no english")
    with pytest.raises(SpeechError, match=f"own_english_share is 0.3, and {english} is in English already"):
        fit(store, english, "en", keeping_english(translator))
    clips = open_prepared(store, english, ("train",), place / "cache")
    shallow = load_model(translator)
    shallow.model.config.decoder_layers = 4  # as turbo's are fewer than its encoder's
    with pytest.raises(ModelError, match="not taught to translate"):
        own_english.taught(store, "en-0123456789abcdef", clips, shallow, keeping_english(translator))
