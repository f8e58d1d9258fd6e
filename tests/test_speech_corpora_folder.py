"""A folder of recordings: with a table of texts, or with a text beside each recording."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import json_lines, lay_out, pack, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import places
from dagsverk.speech.corpora.corpus import SPLITS, Clip, Tally
from dagsverk.speech.corpora.limited import UNKNOWN_VOICES, draw_by_speaker
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.places import LocalPlace
from dagsverk.speech.corpora.rows import make_listing
from dagsverk.speech.errors import CorpusError, CorpusUnavailable

SPLIT_OF = ("train", "train", "dev", "test")


def opened(path, language="sv", **limits):
    return open_corpus(CorpusConfig(source=str(path), **limits), language)


def recordings(count=4):
    return {f"clips/{i}.wav": wav(0.3, 200 + 10 * i) for i in range(count)}


def told(count=4, **more):
    return [
        {"file": f"clips/{i}.wav", "text": f"Text {i}", "speaker": f"s{i}", "split": SPLIT_OF[i % 4], **more}
        for i in range(count)
    ]


def comma_separated(rows, delimiter=","):
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(delimiter.join(f'"{value}"' for value in line) for line in lines).encode()


@pytest.mark.parametrize(
    "name, content",
    [
        ("metadata.jsonl", json_lines(told())),
        ("metadata.csv", comma_separated(told())),
        ("texts.csv", "\ufeff".encode() + comma_separated(told(), ";")),  # as spreadsheets of Europe save it
        ("transcripts.tsv", comma_separated(told(), "\t").replace(b'"', b"")),
        ("anything.csv", comma_separated(told())),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_tells_what_is_said_in_the_recordings(tmp_path, name, content, packed):
    files = {name: content, **recordings()}
    corpus = opened(pack(files, tmp_path / "own.tar.gz") if packed else lay_out(files, tmp_path / "own"))
    listing = corpus.listing()
    assert corpus.name == "own"
    assert [(clip.id, clip.text, clip.speaker, clip.split) for clip in listing.clips] == [
        (f"clips/{i}.wav", f"Text {i}", f"s{i}", SPLIT_OF[i]) for i in range(4)
    ]
    assert [sound for _, sound in corpus.read(listing.clips)] == list(recordings().values())


def test_the_usual_names_of_columns_are_known(tmp_path):
    row = {
        "file_name": "1.wav", "sentence": "hej", "client_id": "a", "gender": "F", "age": "30",
        "dialect": "skånska", "license": "CC0-1.0", "translation": "hello", "utterance_id": "u1",
        "split": "training", "duration": "2",
    }  # fmt: skip
    others = [row | {"split": name, "client_id": name, "utterance_id": name} for name in ("valid", "test")]
    folder = lay_out({"metadata.jsonl": json_lines([row, *others]), "1.wav": wav()}, tmp_path / "own")
    clip, dev, test = opened(folder).listing().clips
    assert (clip.split, dev.split, test.split) == ("train", "dev", "test")
    assert (clip.id, clip.audio, clip.text, clip.speaker) == ("u1", "1.wav", "hej", "a")
    assert (clip.gender, clip.age, clip.accent) == ("female", "30", "skånska")
    assert (clip.licence, clip.duration_s, clip.translation) == ("CC0-1.0", 2.0, "hello")


def test_lines_of_json_may_differ_in_what_they_tell(tmp_path):
    rows = [
        {"id": "a", **told()[0]},
        {**told()[1], "age": "40"},
        {"file": "clips/2.wav"},
        told()[2],
        told()[3],
    ]
    listing = opened(
        lay_out({"metadata.jsonl": json_lines(rows), **recordings()}, tmp_path / "own")
    ).listing()
    assert [(clip.id, clip.age) for clip in listing.clips] == [
        ("a", ""),
        ("clips/1.wav", "40"),
        ("clips/2.wav", ""),
        ("clips/3.wav", ""),
    ]
    assert [(fault.clip, fault.reason) for fault in listing.rejected] == [
        ("metadata.jsonl line 3", "malformed row")
    ]


def test_columns_can_be_named_and_a_wrong_name_is_told(tmp_path):
    rows = [{"ljud": f"clips/{i}.wav", "ord": "hej", "vem": f"s{i}"} for i in range(4)]
    folder = lay_out({"texts.jsonl": json_lines(rows), **recordings()}, tmp_path / "own")
    with pytest.raises(
        CorpusError, match=r"no column of audio .* it has ljud, ord, vem: name it as audio_column"
    ):
        opened(folder).listing()
    named = {"audio_column": "ljud", "text_column": "ord"}
    assert {c.speaker for c in opened(folder, speaker_column="vem", **named).listing().clips} <= {
        "",
        *["s0", "s1", "s2", "s3"],
    }
    with pytest.raises(CorpusError, match="has no column 'hvem'"):
        opened(folder, speaker_column="hvem", **named).listing()


def test_recordings_with_a_text_beside_each_need_no_table(tmp_path):
    files = {
        f"{split}/{i}.{end}": wav() if end == "wav" else b"hej\n"
        for split in SPLITS
        for i in (1, 2)
        for end in ("wav", "txt")
    }
    folder = lay_out(
        {**files, "train/3.wav": wav(), "train/4.txt": b"x", ".hidden.wav": wav()}, tmp_path / "own"
    )
    listing = opened(folder).listing()
    assert Counter(clip.split for clip in listing.clips) == {"train": 2, "dev": 2, "test": 2}
    assert {clip.text for clip in listing.clips} == {"hej"}


def test_what_is_wrong_with_rows_is_set_aside_and_counted(tmp_path):
    rows = told()
    rows += [
        {**rows[0]},
        {**rows[0], "file": "clips/9.wav"},
        {**rows[0], "file": "../outside.wav"},
        {**rows[0], "file": "/etc/hostname"},
        {**rows[0], "file": "C:\\sound.wav"},
        {**rows[0], "file": ""},
        {**rows[0], "file": "clips/3.wav", "split": "exam"},
        {**rows[0], "file": "clips/3.wav", "text": "\u200b", "id": "x"},
    ]
    content = json_lines(rows) + b'[1]\n{"file": "clips/1.wav", "te'  # its writer was killed
    listing = opened(lay_out({"metadata.jsonl": content, **recordings()}, tmp_path / "own")).listing()
    assert len(listing.clips) == 4
    assert Counter(fault.reason for fault in listing.rejected) == {
        "duplicate id": 1,
        "missing audio": 1,
        "path outside the folder": 4,
        "unknown split": 1,
        "empty text": 1,
        "malformed row": 2,
    }


def test_a_csv_line_with_a_comma_too_many_is_set_aside_not_misread(tmp_path):
    lines = ["file,text,split", "clips/0.wav,hej,train", "clips/1.wav,hej, du,train", "clips/2.wav,hej,dev"]
    content = "\n".join([*lines, 'clips/3.wav,"hej, du",test']).encode()
    listing = opened(lay_out({"metadata.csv": content, **recordings()}, tmp_path / "own")).listing()
    assert [(clip.audio, clip.text) for clip in listing.clips][-1] == ("clips/3.wav", "hej, du")
    assert [(fault.clip, fault.reason) for fault in listing.rejected] == [
        ("metadata.csv line 3", "malformed row")
    ]


def test_a_recording_too_large_to_be_a_clip_is_never_brought_into_memory(tmp_path):
    folder = lay_out({"metadata.jsonl": json_lines(told()), **recordings()}, tmp_path / "own")
    with (folder / "clips" / "0.wav").open("r+b") as file:
        file.truncate(places.MAX_CLIP_BYTES + 1)  # sparse: it takes no room on the disk
    listing = opened(folder).listing()
    assert [(fault.clip, fault.reason) for fault in listing.rejected] == [("clips/0.wav", "too long")]


def test_rows_of_another_language_are_left_out(tmp_path):
    rows = told(8)
    for row, stated in zip(
        rows, ("sv", "it", "swedish", "it-IT", "sv-SE", "Italian", "", "okänt"), strict=True
    ):
        row |= {"language": stated, "split": "train"}
    folder = lay_out({"metadata.jsonl": json_lines(rows), **recordings(8)}, tmp_path / "own")
    listing = opened(folder).listing()
    assert sorted(clip.id for clip in listing.clips) == [f"clips/{i}.wav" for i in (0, 2, 4, 6, 7)]
    assert listing.rejected == []


def test_what_the_recorder_of_the_pages_keeps_is_read(tmp_path):
    from dagsverk.speech.corpora.recordings import Recordings

    kept = Recordings("own", tmp_path)
    for number in range(40):
        kept.keep(wav(0.3, 200 + number), 0.3, text=f"mening {number}", language="sv", speaker="Åsa")
    kept.keep(wav(0.3, 900), 0.3, text="una frase", language="it", speaker="Åsa")
    corpus = opened(kept.folder)
    listing = corpus.listing()
    assert len(listing.clips) == 40
    assert {clip.split for clip in listing.clips} == set(SPLITS)
    assert {clip.speaker for clip in listing.clips} == {""}  # one voice is in all splits, and that is said
    assert corpus.notes == [UNKNOWN_VOICES]


@pytest.mark.parametrize(
    "files, message",
    [
        ({"a.csv": b"x", "b.csv": b"y"}, r"several tables \(a\.csv, b\.csv\)"),
        ({"metadata.csv": b"x", "metadata.jsonl": b"y"}, "several tables"),
        ({"a.wav": b"x"}, r"holds no corpus: want a table of texts .* found 1 recordings and 0 other files"),
        ({"metadata.jsonl": b""}, "has no clip that can be used; it is empty"),
        ({"metadata.csv": b"file,text\n9.wav,hej\n"}, "no clip that can be used; set aside: 1 missing audio"),
        ({"metadata.csv": "file,text\n9.wav,smör\n".encode("latin-1")}, "not UTF-8"),
    ],
)
def test_a_folder_that_holds_no_corpus_is_told(tmp_path, files, message):
    with pytest.raises(CorpusError, match=message):
        opened(lay_out(files, tmp_path / "own")).listing()


@pytest.mark.parametrize(
    "source, message",
    [
        ("nowhere/at/all", "there is no nowhere/at/all"),
        ("https://example.org/cv.tar.gz", "cannot be read from https://"),
        ("https://user:hunter2@example.org/cv.tar.gz", "holds a user, password or query"),
        ("gs://bucket/x", "cannot be read from gs://"),
        ("s3://key:hunter2@bucket/x", "holds a user, password or query"),
        ("s3://bucket/x?X-Amz-Signature=hunter2", "holds a user, password or query"),
        ("s3:///x", "does not name a bucket"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_and_no_secret_is_shown(source, message):
    with pytest.raises((CorpusError, ValueError), match=message) as caught:
        opened(source)
    assert "hunter2" not in str(caught.value)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(CorpusError, match="is empty or absent"):
        opened(tmp_path)


def test_a_language_that_whisper_does_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Whisper knows no language 'tlh'"):
        opened(tmp_path, "tlh")


# ------------------------------------------------------------------ splits and cuts


def clip(number, speaker="", split="train"):
    return Clip(id=f"c{number}", audio=f"c{number}", text="hej", language="sv", split=split, speaker=speaker)


@given(st.integers(30, 200), st.integers(1, 50))
def test_splits_drawn_by_speaker_do_not_move_when_rows_are_added(first, more):
    clips = [clip(i, f"speaker {i % 60}") for i in range(first + more)]
    before = {c.id: c.split for c in make_listing(clips[:first], Tally(rows=first), []).clips}
    after = {c.id: c.split for c in make_listing(clips, Tally(rows=len(clips)), []).clips}
    assert before.items() <= after.items()


def test_splits_drawn_by_speaker_are_of_about_the_stated_sizes_and_share_no_speaker():
    listing = make_listing([clip(i, f"speaker {i // 2}") for i in range(4000)], Tally(rows=4000), [])
    counts = Counter(c.split for c in listing.clips)
    assert listing.rejected == []
    assert 3000 < counts["train"] < 3400
    assert 300 < counts["dev"] < 500
    assert 300 < counts["test"] < 500
    speakers = {split: {c.speaker for c in listing.clips if c.split == split} for split in SPLITS}
    assert not speakers["train"] & (speakers["dev"] | speakers["test"]) | speakers["dev"] & speakers["test"]


def test_a_split_that_a_corpus_lacks_is_drawn_from_train_and_the_others_are_left_alone():
    clips = [clip(i, f"s{i}") for i in range(200)] + [clip(1000 + i, f"t{i}", "test") for i in range(5)]
    listed = {c.id: c.split for c in make_listing(clips, Tally(rows=len(clips)), []).clips}
    assert all(listed[f"c{1000 + i}"] == "test" for i in range(5))
    assert Counter(listed.values())["test"] == 5
    assert 5 < Counter(listed.values())["dev"] < 50


def test_with_too_few_speakers_splits_are_drawn_by_clip_and_that_is_said(tmp_path):
    rows = [{"file": f"clips/{i}.wav", "text": f"hej {i}", "speaker": "Åsa"} for i in range(40)]
    corpus = opened(lay_out({"metadata.jsonl": json_lines(rows), **recordings(40)}, tmp_path / "own"))
    assert {clip.split for clip in corpus.listing().clips} == set(SPLITS)
    assert corpus.notes == [UNKNOWN_VOICES]


def test_one_unnamed_speaker_may_be_anyone_of_another_split(tmp_path):
    rows = [
        {"file": f"clips/{i}.wav", "text": f"hej {i}", "speaker": "" if i == 3 else f"s{i}", "split": split}
        for i, split in enumerate(("train", "dev", "test", "train"))
    ]
    corpus = opened(lay_out({"metadata.jsonl": json_lines(rows), **recordings(4)}, tmp_path / "own"))
    assert len(corpus.listing().clips) == 4
    assert corpus.notes == [UNKNOWN_VOICES]


def test_sentences_of_the_test_that_are_read_in_train_are_counted_whatever_their_signs(tmp_path):
    said = ["Hej, du!", "hej du", "Hej  du…", "Nej.", "e\u0301n", "ÉN", "ja"]
    rows = [
        {"file": f"clips/{i}.wav", "text": text, "speaker": f"s{i}", "split": split}
        for i, (text, split) in enumerate(
            zip(said, ("train", "dev", "test", "test", "train", "test", "dev"), strict=True)
        )
    ]
    corpus = opened(lay_out({"metadata.jsonl": json_lines(rows), **recordings(7)}, tmp_path / "own"))
    assert len(corpus.listing().clips) == 7
    assert [note.split(" say ")[0] for note in corpus.notes] == [
        "1 of 2 clips of dev (50%)",
        "2 of 3 clips of test (67%)",
    ]


def test_known_speakers_leave_nothing_to_note(tmp_path):
    corpus = opened(lay_out({"metadata.jsonl": json_lines(told()), **recordings()}, tmp_path / "own"))
    assert (len(corpus.listing().clips), corpus.notes, corpus.cut) == (4, [], {})


CLIPS = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=40)


@given(CLIPS, st.integers(1, 40), st.integers(0, 5), st.randoms())
def test_a_cut_is_of_whole_speakers_but_for_the_last(speakers, limit, seed, chance):
    clips = [clip(i, speaker) for i, speaker in enumerate(speakers)]
    kept = draw_by_speaker(clips, limit, seed)
    assert len(kept) == min(limit, len(clips))
    partly = [
        speaker
        for speaker in set(speakers) - {""}
        if 0 < len(kept & {c.id for c in clips if c.speaker == speaker}) < speakers.count(speaker)
    ]
    assert len(partly) <= 1
    shuffled = chance.sample(clips, len(clips))
    assert draw_by_speaker(shuffled, limit, seed) == kept  # the order of the corpus changes nothing


def test_limits_cut_each_split_and_say_so(tmp_path):
    rows = told(40)
    folder = lay_out({"metadata.jsonl": json_lines(rows), **recordings(40)}, tmp_path / "own")
    corpus = opened(folder, train_clips=5, dev_clips=100, test_clips=3)
    listing = corpus.listing()
    assert Counter(c.split for c in listing.clips) == {"train": 5, "dev": 10, "test": 3}
    assert corpus.cut == {"train": (5, 20), "test": (3, 10)}
    whole = [c.id for c in opened(folder).listing().clips]
    assert [c.id for c in listing.clips] == [i for i in whole if i in {c.id for c in listing.clips}]


def test_another_seed_cuts_otherwise_and_has_another_fingerprint(tmp_path):
    folder = lay_out({"metadata.jsonl": json_lines(told(40)), **recordings(40)}, tmp_path / "own")
    listings = [opened(folder, train_clips=5, seed=seed).listing() for seed in (0, 0, 1)]
    ids = [[c.id for c in listing.clips] for listing in listings]
    assert ids[0] == ids[1] != ids[2]
    assert listings[0].fingerprint == listings[1].fingerprint != listings[2].fingerprint
    assert len({json.dumps(i) for i in ids}) == 2


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="wants a file that cannot be read as on Linux"
)
def test_a_recording_whose_disk_or_server_fails_raises_and_is_not_left_out():
    """What lies at the start of a process's memory is a regular file's input/output error."""
    with pytest.raises(CorpusUnavailable, match="see that its disk or file server answers"):
        list(LocalPlace(Path("/proc/self")).read(["mem"]))


def test_a_recording_that_is_gone_is_left_out(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav())
    assert dict(LocalPlace(tmp_path).read(["gone.wav", "a.wav"])) == {"a.wav": wav()}
