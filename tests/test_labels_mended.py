"""A set mended by hand: made of the prepared one without its recordings, named with its parent, undone."""

from dataclasses import replace

import pytest
from speech_site import SoundCorpus

from dagsverk import label_decisions as decisions
from dagsverk.label_decisions import LabelDecision
from dagsverk.speech.augmented import AugmentConfig
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.features import plans, preparation, shards
from dagsverk.speech.features.prepared import open_prepared
from dagsverk.speech.labels import mending
from dagsverk.store import open_store


class Corpus(SoundCorpus):
    """The three sounds; `reads` counts what was read of it."""

    def __init__(self, fingerprint="three-sounds"):
        super().__init__()
        self.reads, self.fingerprint = 0, fingerprint

    def listing(self):
        return replace(super().listing(), fingerprint=self.fingerprint)

    def read(self, clips):
        for clip, content in super().read(clips):
            self.reads += 1
            yield clip, content


def prepare(store, corpus, **settings):
    config = PrepareConfig(shard_clips=20, **settings)
    set_id = preparation.plan(store, corpus, "sv", config, "three sounds")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return set_id


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    return store, prepare(store, Corpus())


def keys(store, set_id):
    about = shards.manifest(store, set_id)
    return {
        clip: key
        for shard in about.shards
        for clip, key, _ in mending.keys_of(store, shard, mending.cache_folder())
    }


def decide(store, set_id, clip, action, value="", key=None):
    own = key or keys(store, set_id)[clip]
    made = LabelDecision(key=own, action=action, value=value, was="", name=clip)
    return decisions.decide(store, "speech", "swedish", made)


def texts(store, set_id):
    rows = open_prepared(store, set_id, ("train", "dev", "test"), mending.cache_folder()).rows
    return dict(zip(rows["id"], rows["text"], strict=True))


def test_the_mended_set_differs_where_somebody_decided_and_nowhere_else(place):
    store, parent = place
    decide(store, parent, "train-3", "mend", "  en annan   text ")
    decide(store, parent, "train-4", "drop")
    decide(store, parent, "train-5", "keep")
    made = mending.mend(store, parent)
    before, after = texts(store, parent), texts(store, made.id)
    assert after == {**{k: v for k, v in before.items() if k != "train-4"}, "train-3": "en annan text"}
    assert shards.newest(store, "sv") == made.id != parent
    assert made.by_hand.parent == parent
    assert (made.by_hand.mended, made.by_hand.dropped) == ({"train": 1}, {"train": 1})
    assert made.rejected["dropped by hand"].clips == 1
    assert made.splits["train"].clips == shards.manifest(store, parent).splits["train"].clips - 1
    assert {clip for clip, _, _ in plans.texts(store, made.id)} == {
        clip for clip, _, _ in plans.texts(store, parent) if clip != "train-4"
    }
    old = {shard.path for shard in shards.manifest(store, parent).shards}
    assert len(old & {shard.path for shard in made.shards}) == len(old) - 1  # the others are the parent's


def test_spectra_are_copied_bit_by_bit(place):
    store, parent = place
    decide(store, parent, "train-3", "mend", "en annan text")
    made = mending.mend(store, parent)
    one, other = (open_prepared(store, s, ("train",), mending.cache_folder()) for s in (parent, made.id))
    assert all((one.quantised(i)[0] == other.quantised(i)[0]).all() for i in range(len(one)))


def test_the_same_decisions_find_the_same_set_and_undone_ones_the_parent(place):
    store, parent = place
    decide(store, parent, "train-3", "mend", "en annan text")
    made = mending.mend(store, parent)
    assert mending.mend(store, made.id) == made
    preparation.point(store, shards.manifest(store, parent))  # as a preparation of the same corpus does
    assert mending.mend(store, parent).id == made.id == shards.newest(store, "sv")
    decide(store, parent, "train-3", "undo")
    assert mending.mend(store, made.id).id == parent == shards.newest(store, "sv")


def test_decisions_about_test_are_told_loudly(place):
    store, parent = place
    decide(store, parent, "test-3", "mend", "en annan text")
    made = mending.mend(store, parent)
    assert made.by_hand.of_test == 1
    assert "not to be compared" in made.notes[-1]


def test_a_decision_does_not_apply_to_another_recording_at_the_same_place(place):
    store, parent = place
    decide(store, parent, "train-3", "drop")
    other = Corpus(fingerprint="other")
    other.recordings["train-3.wav"] = other.recordings["train-5.wav"]
    again = prepare(store, other)
    made = mending.mend(store, again)
    assert made.by_hand is None or "train-3" in texts(store, made.id)
    assert mending.mend(store, parent).by_hand.dropped == {"train": 1}


@pytest.mark.parametrize("value", ["a" * 1900, "<br>", "[ ]"], ids=["long", "markup", "nothing"])
def test_a_text_that_no_preparation_would_take_is_not_applied_and_counted(place, value):
    store, parent = place
    decide(store, parent, "train-3", "mend", value)
    decide(store, parent, "train-4", "drop")
    made = mending.mend(store, parent)
    written = texts(store, made.id)["train-3"]
    if made.by_hand.not_applied:
        assert written == texts(store, parent)["train-3"]
        assert sum(made.by_hand.not_applied.values()) == 1
    else:
        assert written


def test_a_split_is_never_emptied(place):
    store, parent = place
    for clip in [name for name in texts(store, parent) if name.startswith("dev-")]:
        decide(store, parent, clip, "drop")
    with pytest.raises(CorpusError, match="no clip is left for dev"):
        mending.mend(store, parent)
    assert shards.newest(store, "sv") == parent


def test_a_mending_that_was_cut_off_is_finished_by_a_repeat(place, monkeypatch):
    store, parent = place
    decide(store, parent, "train-3", "mend", "en annan text")
    whole, put_file = [], type(store).put_file

    def cut_off(self, path, source):
        if whole:
            raise KeyboardInterrupt
        whole.append(path)
        return put_file(self, path, source)

    monkeypatch.setattr(type(store), "put_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        mending.mend(store, parent)
    assert shards.newest(store, "sv") == parent
    monkeypatch.setattr(type(store), "put_file", put_file)
    assert texts(store, mending.mend(store, parent).id)["train-3"] == "en annan text"


def test_changed_copies_follow_their_clip(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    parent = prepare(store, Corpus(), augment=AugmentConfig(gain_db=6.0))
    decide(store, parent, "train-3", "mend", "en annan text")
    decide(store, parent, "train-4", "drop")
    made = mending.mend(store, parent)
    rows = open_prepared(store, made.id, ("train",), mending.cache_folder(), copies=True).rows
    of = {
        name: text for name, text in zip(rows["id"], rows["text"], strict=True) if name.startswith("train-3#")
    }
    assert set(of.values()) == {"en annan text"}
    assert "train-4" not in {name.partition("#")[0] for name in rows["id"]}
