"""Two models on the same clips: what is asked, kept, compared and said."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from odd_program import running
from speech_site import SoundCorpus, spoken_store, tune

from dagsverk.speech import exports
from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.compared import concluding, material, results, work
from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.compared.paired import paired
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.errors import ModelError, SpeechError
from dagsverk.speech.evaluation.description import score_clips
from dagsverk.speech.exports import Export, Exported, export_key
from dagsverk.speech.languages import language
from dagsverk.store import NotFound, open_store

SWEDISH = language("sv")
CONFIG = CompareConfig(clips="corpus", resamples=200, min_group_clips=5, examples=4)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def corpus(room):
    """A folder with clips of voices that no training heard, one of which is no sound."""
    folder = room / "clips"
    folder.mkdir()
    own = SoundCorpus()
    clips = [clip for clip in own.clips if clip.split == "test"][:40]
    lines = []
    for clip in clips:
        (folder / clip.audio).write_bytes(own.recordings[clip.audio])
        lines.append(json.dumps({"file": clip.audio, "text": clip.text, "speaker": clip.speaker}))
    (folder / "broken.wav").write_text("no sound")
    lines.append(json.dumps({"file": "broken.wav", "text": "inget", "speaker": "test-0"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return CorpusConfig(source=str(folder))


@pytest.fixture(scope="module")
def right(corpus):
    """What is said in each recording, by the bytes that a program is sent."""
    own = SoundCorpus()
    return {
        encode_wav(read_samples(own.recordings[clip.audio])): clip.text
        for clip in own.clips
        if clip.split == "test"
    }


@pytest.fixture
def store(tmp_path, monkeypatch):
    shutil.copytree(spoken_store(), tmp_path / "store")
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


def compare(store, first, second, corpus, config=CONFIG):
    plan = material.choose(store, SWEDISH, (first, second), corpus, config)
    written = [
        work.write_down(store, SWEDISH, plan, one, corpus, measure_memory=False) for one in (first, second)
    ]
    return concluding.conclude(store, SWEDISH, plan, written, (first, second), corpus, config), written


def program_at(server, model="good", **more):
    return Contender(kind="program", address=server.address, model=model, **more)


def test_a_program_that_is_right_is_called_better_and_what_it_cost_is_stated(store, corpus, right):
    with running(right) as server:
        asked = program_at(server, at_once=3, price_per_audio_minute=0.006)
        report, written = compare(store, asked, Contender(price_per_machine_hour=2.0), corpus)
        assert server.most_at_once <= 3
        assert set(server.asked.values()) == {1}
    assert report.outcome == -1
    assert report.verdict.startswith(f"{report.first.name} is better than whisper_swedish 1")
    assert report.first.wer.value == 0 < report.second.wer.value
    assert report.set_aside == {"the recording: not audio": 1, "the recording: silence": 1}
    assert report.first.cost.price_per_audio_hour == pytest.approx(0.36)
    assert report.second.cost.price_per_audio_hour > 0
    assert report.examples and all(store.get(one.sound).startswith(b"RIFF") for one in report.examples)
    assert results.reports(store, SWEDISH) == [report]
    again, written = compare(store, asked, Contender(), corpus)  # the program is gone, and not missed
    assert [one.new for one in written] == [0, 0]
    assert again.wer == report.wer


def test_the_other_way_round_the_signs_are_turned(store, corpus, right):
    with running(right) as server:
        one, _ = compare(store, program_at(server), Contender(), corpus)
        other, _ = compare(store, Contender(), program_at(server), corpus)
    assert other.wer.value == pytest.approx(-one.wer.value)
    assert (other.only_first, other.only_second) == (one.only_second, one.only_first)
    assert other.outcome == 1


def test_a_clip_that_one_refuses_is_counted_for_neither_and_not_asked_again(store, corpus, right):
    with running(right) as server:
        report, _ = compare(store, program_at(server, "refuses-one"), Contender(), corpus)
        asked = sum(server.asked.values())
        compare(store, program_at(server, "refuses-one"), Contender(), corpus)
        assert sum(server.asked.values()) == asked
    refused = report.set_aside["refuses-one at " + server.address.split("/")[2] + ": refused, HTTP 400"]
    assert refused == sum(report.first.refused.values()) > 5
    assert "brus" not in {one.text for one in report.examples}
    assert any("refused" in note and "looks better than it is" in note for note in report.notes)


def test_a_program_that_writes_nothing_at_all_is_suspected_and_not_only_called_worse(store, corpus, right):
    with running(right) as server:
        report, _ = compare(store, program_at(server, "empty"), Contender(), corpus)
    assert report.outcome >= 0
    assert any("set up rightly?" in note for note in report.notes)


def test_what_a_program_refused_before_it_was_set_up_is_asked_for_again(store, corpus, right):
    with running(right) as server:
        with pytest.raises(ModelError, match="no answer for 5 clips in a row"):
            compare(store, program_at(server, "set-up-later"), Contender(), corpus)
        report, _ = compare(store, program_at(server, "set-up-later"), Contender(), corpus)
    assert report.first.refused == {}
    assert not any("refused" in reason for reason in report.set_aside)


def test_refusals_count_from_the_first_clip_on_once_a_program_has_answered(store, corpus, right):
    with running(right) as server:
        report, written = compare(store, program_at(server, "refuses-the-first-two"), Contender(), corpus)
        asked = sum(server.asked.values())
        again, _ = compare(store, program_at(server, "refuses-the-first-two"), Contender(), corpus)
        assert sum(server.asked.values()) == asked == written[0].new
    assert report.first.refused == again.first.refused == {"refused, HTTP 422": 2}
    assert report.set_aside == again.set_aside


def test_what_is_not_there_ends_a_comparison_before_the_other_one_has_worked(store, corpus, monkeypatch):
    def chosen(second):
        return material.choose(store, SWEDISH, (Contender(), second), corpus, CONFIG)

    monkeypatch.setattr("dagsverk.speech.compared.contenders.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"-e '\.\[faster-whisper\]'"):
        chosen(Contender(kind="published", model="small", runs_on="faster-whisper"))
    with pytest.raises(NotFound, match="no export in int8; make it"):
        chosen(Contender(form="int8"))
    model = store.champion("whisper_swedish")
    forms = (Exported(form="int8", refused="11 of 40 texts part"),)
    of = {"model": model.name, "version": model.version, "key": export_key(model)}
    exports.keep(store, SWEDISH, model, Export(**of, forms=forms, checked_on="", code=""))
    with pytest.raises(NotFound, match=r"was not kept, .*: 11 of 40 texts part; take its weights"):
        chosen(Contender(form="int8"))


def test_a_work_that_is_cut_off_asks_for_nothing_twice(store, corpus, right):
    with running(right) as server:
        with pytest.raises(ModelError, match="401"):
            compare(store, program_at(server, "breaks"), Contender(), corpus)
        kept = store.list(f"{results.folder(SWEDISH)}/answers")
        assert len(kept) == 4
        paid = {wav for wav, count in server.asked.items() if count}
        with pytest.raises(ModelError):
            compare(store, program_at(server, "breaks"), Contender(), corpus)
        assert sorted(server.asked[wav] for wav in paid) == [1, 1, 1, 1, 2]


def test_a_version_and_the_model_before_its_training(store, corpus, tmp_path):
    tune(store, tmp_path / "published")
    report, _ = compare(store, Contender(), Contender(kind="before"), corpus)
    assert report.first.name == "whisper_swedish 2"
    assert report.second.name == "published, before training"
    assert report.outcome == -1
    assert any("not known here" in note for note in report.notes)


def test_what_began_from_nothing_is_told_to_name_another_before_any_clip_is_heard(store, corpus):
    pair = Contender(), Contender(kind="before")
    with pytest.raises(ModelError, match="name another second one") as refused:
        material.choose(store, SWEDISH, pair, corpus, CONFIG)
    named = re.search(r"second=(\{.*\})", str(refused.value))
    assert Contender(**json.loads(named[1])).kind == "published"


def test_the_same_model_twice_shows_no_difference(store, corpus):
    report, _ = compare(store, Contender(), Contender(kind="version", version=1), corpus)
    assert report.outcome == 0
    assert report.verdict.startswith("Both get the same words wrong")


def test_clips_that_a_contender_has_learnt_are_left_out(store):
    taught, others = (
        [clip for clip in SoundCorpus().clips if clip.split == split] for split in ("train", "test")
    )
    pair = Contender(), Contender()
    fair, left_out, notes, _ = material._fair(store, SWEDISH, pair, [*taught[:9], *others[:9]])
    assert [clip.id for clip in fair] == [clip.id for clip in others[:9]]
    assert (left_out, notes) == ({material.LEARNT: 9}, [])


def test_where_nothing_fair_is_left_it_is_refused(store, corpus, monkeypatch):
    monkeypatch.setattr(material, "_of_corpus", lambda *_: (_taught(), "all clips of taught", {}, []))
    with pytest.raises(SpeechError, match="no fair comparison can be made on all clips of taught"):
        material.choose(store, SWEDISH, (Contender(), Contender()), corpus, CONFIG)


def _taught():
    return [clip for clip in SoundCorpus().clips if clip.split == "train"]


def clip_rows(texts, heard, speakers=None):
    table = pd.DataFrame({"clip_id": [str(i) for i in range(len(texts))], "text": texts, "hypothesis": heard})
    table = table.assign(speaker=speakers or "", audio="", gender="", age="", accent="", finished=True)
    return score_clips(table.assign(duration_s=np.linspace(1, 9, len(texts))), "sv")


def test_many_groups_are_looked_at_so_one_small_p_is_not_enough():
    generator = np.random.default_rng(3)
    texts = ["ett två tre fyra"] * 120
    noise = lambda: [" ".join(w for w in t.split() if generator.random() > 0.2) for t in texts]  # noqa: E731
    speakers = [f"voice {i % 12}" for i in range(120)]
    outcome = paired(
        clip_rows(texts, noise(), speakers), clip_rows(texts, noise(), speakers), min_group_clips=8
    )
    assert {group.change.by for group in outcome.groups} >= {"speaker", "length"}
    for group in outcome.groups:
        assert group.p_adjusted is None or group.p_adjusted >= (group.change.wer.p or 0)
    assert not any(group.differs for group in outcome.groups)


def test_one_voice_alone_has_intervals_over_clips_and_says_so():
    texts = ["ett två tre"] * 40
    wrong = ["ett två"] * 20 + texts[:20]
    outcome = paired(clip_rows(texts, texts, ["anna"] * 40), clip_rows(texts, wrong, ["anna"] * 40))
    assert (outcome.by, outcome.outcome) == ("clips", -1)


def test_other_texts_of_the_same_clips_are_refused():
    with pytest.raises(ValueError, match="different texts"):
        paired(clip_rows(["a", "b"], ["a", "b"]), clip_rows(["a", "c"], ["a", "b"]))


def test_the_memory_of_a_contender_is_that_of_a_process_with_it_alone(store, corpus):
    plan = material.choose(store, SWEDISH, (Contender(), Contender()), corpus, CONFIG)
    written = work.write_down(store, SWEDISH, plan, Contender(), corpus)
    assert 100e6 < written.memory_bytes < 3e9
    again = work.write_down(store, SWEDISH, plan, Contender(), corpus)
    assert (again.new, again.memory_bytes) == (0, written.memory_bytes)


def test_what_the_asking_process_holds_is_no_memory_of_a_contender():
    ballast = np.ones(100_000_000)  # 800 MB, that `ru_maxrss` of a child counts, too
    code = "from dagsverk.speech.compared.memory import own_peak_bytes; print(own_peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < ballast.nbytes / 2


@pytest.mark.parametrize("voices, by, outcome", [(3, "clips", -1), (6, "voices", -1), (7, "voices", 0)])
def test_few_voices_prove_nothing_of_others(voices, by, outcome):
    """Of seven voices one is better understood by the second: by luck alone, one draw in eight is so."""
    texts = ["ett två tre fyra"] * (10 * voices)
    speakers = [f"voice {i % voices}" for i in range(len(texts))]
    worse = "ett två tre"
    first = [worse if voices == 7 and i % voices == 6 else text for i, text in enumerate(texts)]
    second = [text if voices == 7 and i % voices == 6 else worse for i, text in enumerate(texts)]
    outcomes = paired(clip_rows(texts, first, speakers), clip_rows(texts, second, speakers))
    assert (outcomes.by, outcomes.outcome) == (by, outcome)
