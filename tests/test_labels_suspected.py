"""What looks wrong: faults that were put in are found, and how many is said."""

import numpy as np
import pytest
from fitted_models import system_and_rows
from speech_site import MISHEARD, SoundCorpus, spoken_store
from ui_site import own_copy

from dagsverk import label_decisions as decisions
from dagsverk import suspicion
from dagsverk.label_decisions import LabelDecision
from dagsverk.label_report import CUT, suspect_labels
from dagsverk.records import keep_report
from dagsverk.speech.features import shards
from dagsverk.speech.labels import finding, planting
from dagsverk.store import TableRef, open_store
from dagsverk.tabular import label_noise
from dagsverk.tabular.evaluation import in_fixed_order
from dagsverk.tabular.models import class_codes
from dagsverk.tabular.recipes import recipe
from tasks import labels as tasks
from tasks import tabular

WRONG = {f"test-{at}" for at in MISHEARD}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    room = tmp_path_factory.mktemp("suspected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_STORE", str(own_copy(spoken_store(), room)))
        patch.setenv("DAGSVERK_CACHE", str(room / "cache"))
        store = open_store()
        tasks.suspect_texts.fn("sv", tasks.mend_clips.fn("sv", shards.newest(store, "sv")))
        report = finding.keep_sounds(
            store, finding_language(), suspect_labels(store, "swedish"), SoundCorpus(), 80
        )
        keep_report(store, "swedish", "labels", report)
        yield store


def finding_language():
    from speech_site import SWEDISH

    return SWEDISH


def test_the_wrong_texts_are_the_most_suspicious_and_nothing_else_is(spoken):
    report = suspect_labels(spoken, "swedish")
    suspicious = [one for one in report.suspects if one.suspicion >= CUT]
    assert {one.name for one in suspicious} == WRONG
    assert (report.suspicious, report.suspicious_test) == (len(WRONG), len(WRONG))
    assert all(one.split == "test" and one.why for one in suspicious)
    assert report.precision > 0.5
    assert set(report.kinds) == set(planting.KINDS)


def test_each_suspect_has_the_recording_that_was_judged(spoken):
    report = suspect_labels(spoken, "swedish")
    assert all(spoken.get(one.sound)[:4] == b"RIFF" for one in report.suspects)
    changed = SoundCorpus()
    first = report.suspects[0]
    changed.recordings[first.about["audio"]] = changed.recordings["train-0.wav"]
    again = finding.keep_sounds(spoken, finding_language(), report, changed, 80)
    assert "has changed" in again.suspects[0].why_silent
    assert again.suspects[0].sound == ""


def test_a_repeat_finds_what_the_model_made_of_the_set(spoken, monkeypatch):
    before = suspect_labels(spoken, "swedish")
    monkeypatch.setattr("dagsverk.speech.labels.scoring.lead", None)  # would be asked for losses
    tasks.suspect_texts.fn("sv", before.of)
    after = suspect_labels(spoken, "swedish")
    assert [(one.key, one.suspicion, one.sound) for one in after.suspects] == [
        (one.key, one.suspicion, one.sound) for one in before.suspects
    ]


def test_a_mended_text_is_judged_anew_and_decided_about_under_its_old_key(spoken):
    before = suspect_labels(spoken, "swedish")
    first = next(one for one in before.suspects if one.name == "test-9")
    made = LabelDecision(key=first.key, action="mend", value="en låg ton", was=first.source_label)
    decisions.decide(spoken, "speech", "swedish", made)
    tasks.suspect_texts.fn("sv", tasks.mend_clips.fn("sv", before.of))
    after = suspect_labels(spoken, "swedish")
    assert after.of != before.of
    assert "test-9" not in {one.name for one in after.suspects if one.suspicion >= CUT}
    listed = {one.name: one for one in after.suspects}
    if "test-9" in listed:
        assert (listed["test-9"].key, listed["test-9"].source_label) == (first.key, first.source_label)


@pytest.mark.parametrize("kind", planting.KINDS)
def test_a_planted_fault_is_another_text_and_always_the_same_one(kind):
    text, others = "ett två tre fyra fem", ["sex sju åtta nio tio elva", "tolv tretton fjorton femton"]
    made = planting.KINDS[kind](text, others, planting.chance(1, "clip"))
    assert made
    assert made != text
    assert made == planting.KINDS[kind](text, others, planting.chance(1, "clip"))
    assert planting.KINDS[kind]("ord", [], planting.chance(1, "clip")) in (None, "")


def test_suspicion_is_higher_the_less_a_label_fits_and_says_how_many_are_wrong():
    draw = np.random.default_rng(0)
    right, wrong = draw.normal(0, 1, (950, 1)), draw.normal(5, 1, (50, 1))
    planted = draw.normal(5, 1, (400, 1))
    made = suspicion.judge(np.concatenate([right, wrong]), planted, of=list(range(400)))
    assert made.suspicion[950:].min() > made.suspicion[:950].mean()
    precision, low, high = suspicion.precision_at(made.suspicion, 0.3)
    listed = made.suspicion >= 0.3
    assert listed[950:].mean() > 0.8
    assert listed[:950].mean() < 0.01
    assert 0.5 < low < precision < high < 1  # never above what is true here: all of them
    assert suspicion.precision_at(np.zeros(3), 0.3) == (None, None, None)


def test_of_too_few_labels_nothing_is_learned():
    with pytest.raises(ValueError, match="20 labels"):
        suspicion.judge(np.zeros((5, 1)), np.zeros((40, 1)), of=[0] * 40)


def test_changed_outcomes_of_flowers_are_found():
    system, rows = system_and_rows("iris")
    rows = in_fixed_order(rows.assign(origin="historic")).reset_index(drop=True)
    label = system.label.name
    codes = class_codes(system, rows[label].to_numpy(dtype=object))
    chosen, changed = label_noise.flipped(codes, 7)
    rows[label] = np.asarray(system.classes, dtype=object)[changed]
    _, made, seen = label_noise.suspected(system, rows, recipe("lda"))
    first = np.argsort(-made.suspicion)[: len(chosen)]
    assert len(set(first) & set(chosen)) >= 0.7 * len(chosen)
    assert 0 < seen.seen < seen.planted


def test_a_decided_outcome_is_what_a_training_reads_and_its_source_never_overwrites(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    from dagsverk.tabular.labels import row_key
    from dagsverk.tabular.tables import HISTORIC, decided_rows, features_table, labelled_rows

    store, (system, _) = open_store(), system_and_rows("iris")
    rows = tabular.ingest.fn("iris")
    assert isinstance(rows, TableRef)
    assert rows.decisions == ""
    row = labelled_rows(store, system, (HISTORIC,), rows.commit).iloc[0].to_dict()
    label = system.label.name
    made = LabelDecision(
        key=row_key(system, row), action="mend", value=system.classes[2], was=row[label], name=row["row_id"]
    )
    decisions.decide(store, "tabular", "iris", made)
    again = tabular.ingest.fn("iris")  # the source once more
    assert (again.commit, again.decisions != "") == (rows.commit, True)
    decided = decided_rows(store, system, (HISTORIC,), again.commit, again.decisions)
    of = decided.rows.set_index("row_id")[label]
    assert (of[row["row_id"]], decided.mended) == (system.classes[2], 1)
    stored = store.read(features_table(system)).set_index("row_id")[label]
    assert stored[row["row_id"]] == row[label]
    decisions.decide(store, "tabular", "iris", LabelDecision(key=made.key, action="undo", was=""))
    assert tabular.newest_rows.fn("iris").decisions == ""
    before = decided_rows(store, system, (HISTORIC,), again.commit, again.decisions)
    assert before.mended == 1  # what was trained with it can still be made again
