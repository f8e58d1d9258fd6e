"""Layouts as others publish them, made by hand from their own descriptions, in every container."""

import pytest
from published_layouts import LAYOUTS, WITHOUT_SPLITS, kaldi, lines, sound, sounds, told
from speech_clips import lay_out, pack, release, row, small_release

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError

SPLITS = ("train", "dev", "test")


def opened(path, language="sv", **columns):
    return open_corpus(CorpusConfig(source=str(path), **columns), language)


CONTAINERS = ("folder", "own.tgz", "own.zip")


def put(files, tmp_path, container):
    if container == "folder":
        return lay_out(files, tmp_path / "own")
    return pack({f"own/{path}": content for path, content in files.items()}, tmp_path / container)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_with_splits_is_read_as_it_is(tmp_path, name, container):
    corpus = opened(put(LAYOUTS[name], tmp_path, container))
    listing = corpus.listing()
    assert sorted((clip.text, clip.split) for clip in listing.clips) == sorted(
        [*told("train", 0, 1), *told("dev", 2), *told("test", 3)]
    )
    assert listing.rejected == []
    read = {clip.text: content for clip, content in corpus.read(listing.clips)}
    assert read == {f"hej {n}": sound(n) for n in range(4)}  # each got its own recording


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", WITHOUT_SPLITS)
def test_a_layout_without_splits_is_read_as_it_is(tmp_path, name, container):
    corpus = opened(put(WITHOUT_SPLITS[name], tmp_path, container))
    listing = corpus.listing()
    assert sorted(clip.text for clip in listing.clips) == [f"hej {n}" for n in range(9)]
    assert {clip.split for clip in listing.clips} == set(SPLITS)
    assert listing.rejected == []
    assert {c.text: content for c, content in corpus.read(listing.clips)} == {
        f"hej {n}": sound(n) for n in range(9)
    }


@pytest.mark.parametrize("name", [*LAYOUTS, *WITHOUT_SPLITS])
def test_ids_and_splits_are_the_same_in_every_container_and_below_a_folder(tmp_path, name):
    files = (LAYOUTS | WITHOUT_SPLITS)[name]
    places = [put(files, tmp_path, container) for container in CONTAINERS]
    places += [lay_out({f"a/b/{path}": content for path, content in files.items()}, tmp_path / "deep")]
    listed = [{(c.id, c.split, c.speaker) for c in opened(place).listing().clips} for place in places]
    assert listed[0] == listed[1] == listed[2] == listed[3]


@pytest.mark.parametrize(
    "name, speakers",
    [
        ("Kaldi", {"s0", "s1", "s2", "s3"}),
        ("LibriSpeech", {"0", "1", "2", "3"}),
        ("Multilingual LibriSpeech", {"0", "1", "2", "3"}),
        ("Common Voice, spontaneous", {"c0", "c1", "c2", "c3"}),
        ("Coqui: a table for each split beside that of all", {"anna0", "anna1", "anna2", "anna3"}),
        ("Common Voice without splits", {f"c{n}" for n in range(9)}),
    ],
)
def test_speakers_are_those_that_the_layout_tells(tmp_path, name, speakers):
    listing = opened(lay_out((LAYOUTS | WITHOUT_SPLITS)[name], tmp_path / "own")).listing()
    assert {clip.speaker for clip in listing.clips} == speakers


@pytest.mark.parametrize("table", ["transcripts.txt", "1995-08.trans.txt"])
def test_a_name_that_begins_with_a_year_is_no_speakers(tmp_path, table):
    names = [f"{1990 + n}-05-01" for n in range(9)]
    files = {table: lines(*(f"{one} hej {one}" for one in names)), **sounds(*(f"{one}.wav" for one in names))}
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert {clip.speaker for clip in listing.clips} == {""}


def test_of_ljspeech_either_text_may_be_asked_for(tmp_path):
    folder = lay_out(WITHOUT_SPLITS["LJSpeech"], tmp_path / "own")
    listing = opened(folder, text_column="normalised").listing()
    assert {clip.text for clip in listing.clips} == {'hej "siffra'}


def test_utterances_that_are_their_own_speakers_are_of_nobody_known(tmp_path):
    files = kaldi("data/train", 0, 1)
    files["data/train/utt2spk"] = lines("s0-u0 s0-u0", "s1-u1 s1-u1")
    assert {c.speaker for c in opened(lay_out(files, tmp_path / "own")).listing().clips} == {""}


def test_a_command_of_kaldi_is_never_run(tmp_path):
    files = kaldi("data/train", 0, 1, 2)
    mark = tmp_path / "ran"
    files["data/train/wav.scp"] += lines(f"s9-u9 touch {mark} |", f"s8-u8 sox {mark} -t wav - |")
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert [one.reason for one in listing.rejected] == ["a command, not a file"] * 2
    assert "write what it gives to a file" in listing.rejected[0].detail
    assert not mark.exists()


def test_utterances_of_kaldi_that_lack_a_text_or_a_recording_are_rejected(tmp_path):
    files = kaldi("data/train", 0, 1, 2)
    files["data/train/text"] = lines("s0-u0 hej", "s1-u1 hej", "s7-u7 hej")
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert {(one.clip, one.reason) for one in listing.rejected} == {
        ("s2-u2", "empty text"),
        ("s7-u7", "missing audio"),
    }


def test_css10_calls_its_table_a_transcript(tmp_path):
    rows = lines(*(f"book/b_{n}.wav|{n} hej|hej {n}|3.5" for n in range(5)))
    folder = lay_out(
        {"transcript.txt": rows, **sounds(*(f"book/b_{n}.wav" for n in range(5)))}, tmp_path / "own"
    )
    assert sorted(clip.text for clip in opened(folder).listing().clips) == [f"{n} hej" for n in range(5)]


@pytest.mark.parametrize("above", ["test", "own-test", "train/own"])
def test_the_name_of_the_folder_that_holds_all_tells_no_split(tmp_path, above):
    """A corpus kept in a folder called test is no test, and what lies beside its splits is not either."""
    files = {f"{part}/{n}.{end}": sound(n) if end == "wav" else b"hej" for n, part in enumerate(
        ("train", "more", "dev", "test")) for end in ("wav", "txt")}  # fmt: skip
    path = pack(beside(files, above), tmp_path / "x.tgz")
    assert {c.audio.split("/")[-2]: c.split for c in opened(path).listing().clips} == {
        "train": "train", "more": "train", "dev": "dev", "test": "test",
    }  # fmt: skip


def test_of_two_recordings_of_one_text_the_first_is_read(tmp_path):
    files = {f"{n}.{end}": sound(n) for n in range(5) for end in ("flac", "wav")}
    listing = opened(lay_out({**files, **{f"{n}.txt": b"hej" for n in range(5)}}, tmp_path / "own")).listing()
    assert [clip.id for clip in listing.clips] == [f"{n}.flac" for n in range(5)]
    assert [one.reason for one in listing.rejected] == ["duplicate id"] * 5


@pytest.mark.parametrize("name", ["own/metadata.csv", "own/1.wav"])
def test_one_file_of_a_corpus_is_no_corpus(tmp_path, name):
    lay_out({"own/metadata.csv": lines("file,text", "1.wav,hej"), **sounds("own/1.wav")}, tmp_path)
    with pytest.raises(CorpusError, match=r"is one file of a corpus; give the folder .*: .*own"):
        opened(tmp_path / name)


def test_a_header_between_bars_is_no_clip(tmp_path):
    files = {"metadata.csv": lines("id|text|normalized_text", *(f"{n}|hej {n}|hej" for n in range(5)))}
    listing = opened(
        lay_out(files | sounds(*(f"wavs/{n}.wav" for n in range(5))), tmp_path / "own")
    ).listing()
    assert (len(listing.clips), listing.rejected) == (5, [])


@pytest.mark.parametrize("parts", [("a", "b"), ("a/train", "b/train")])
def test_tables_that_are_read_together_are_named_in_the_notes(tmp_path, parts):
    files = {f"{part}/metadata.csv": lines("file,text", "1.wav,hej") for part in parts}
    corpus = opened(lay_out(files | sounds(*(f"{part}/1.wav" for part in parts)), tmp_path / "own"))
    assert len(corpus.listing().clips) == 2
    assert any(note.startswith("2 tables are read together: a/") for note in corpus.notes)


# ------------------------------------------------------------------ what is there, and is not read


def test_recordings_that_no_table_names_are_counted(tmp_path):
    files = {"metadata.csv": lines("file,text", *(f"{n}.wav,hej {n}" for n in range(5)), "9.wav,hej")}
    folder = lay_out({**files, **sounds(*(f"{n}.wav" for n in range(8)))}, tmp_path / "own")
    listing = opened(folder).listing()
    assert (len(listing.clips), len(listing.rejected)) == (5, 1)
    assert listing.left_out == {"recordings that no table names": 3}


def test_recordings_without_a_text_are_counted(tmp_path):
    files = {f"{n}.txt": b"hej" for n in range(5)} | sounds(*(f"{n}.wav" for n in range(7)))
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert (len(listing.clips), listing.left_out) == (5, {"recordings without a text": 2})


def beside(files, folder):
    return {f"{folder}/{path}": content for path, content in files.items()}


PAIRS = {f"p{n}.txt": b"hej" for n in range(5)} | sounds(*(f"p{n}.wav" for n in range(5)))


@pytest.mark.parametrize(
    "files, message",
    [
        (beside(LAYOUTS["Kaldi"], "a") | beside(LAYOUTS["NeMo"], "b"), "tells the texts in several ways"),
        (beside(WITHOUT_SPLITS["Piper"], "a") | beside(PAIRS, "b"),
         r"two corpora: .* 5 have a text beside them"),
        (beside(LAYOUTS["NeMo"], "a") | beside(WITHOUT_SPLITS["LJSpeech"], "b"),
         r"two corpora: .*b/metadata\.csv"),
        (small_release() | beside(PAIRS, "b"),
         r"two corpora: a release of Common Voice .* 5 recordings elsewhere"),
        (small_release() | beside(small_release(), "again"), "several releases of language 'sv'"),
        ({"a.csv": lines("file,text", "1.wav,a"), "b.csv": lines("file,text", "1.wav,b"), **sounds("1.wav")},
         r"several tables \(own/a\.csv, own/b\.csv\); keep one, .*, or, if they are splits"),
        ({"train.csv": lines("file,text", "1.wav,a"), "train.tsv": lines("file\ttext", "1.wav\ta"),
          **sounds("1.wav")}, r"several tables \(own/train\.csv, own/train\.tsv\)"),
        ({"data/x.parquet": b"PAR1", "1.txt": b""}, r"Parquet \(own/data/x\.parquet\) is read from a local"),
        ({"cv.tar.gz": b"", "1.txt": b""}, r"archives in there are not opened: give own/cv\.tar\.gz itself"),
        ({"texts.xlsx": b"", **sounds("1.wav")}, r"a spreadsheet is not read: save own/texts\.xlsx as CSV"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("container", CONTAINERS[1:])
def test_what_is_not_one_corpus_is_refused_and_it_says_what_is_there(tmp_path, files, message, container):
    with pytest.raises(CorpusError, match=message):
        opened(put(files, tmp_path, container)).listing()


def test_of_several_languages_of_a_release_without_splits_the_one_asked_for_is_read(tmp_path):
    files = WITHOUT_SPLITS["Common Voice without splits"]
    other = release({"train": [{**row("z", 1), "path": "common_voice_it_1.mp3", "locale": "it"}]}, "it")
    folder = lay_out({**files, **other}, tmp_path / "cv")
    assert len(opened(folder).listing().clips) == 9
    assert len(opened(folder, "it").listing().clips) == 1


def test_a_release_deep_in_an_archive_is_found(tmp_path):
    many = {f"readme/{n}.md": b"x" for n in range(200)}
    corpus = opened(pack({**many, **small_release()}, tmp_path / "cv.tar.gz"))
    assert len(corpus.listing().clips) == 10
    assert corpus.name == "Common Voice cv"


def test_answers_that_are_in_no_split_or_not_written_down_are_left_out_and_counted(tmp_path):
    files = dict(LAYOUTS["Common Voice, spontaneous"])
    files["ss-corpus-sv.tsv"] += lines("c8\t8\tx8.mp3\t100\tVad?\thej\tsv\t")
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert (len(listing.clips), listing.rejected) == (4, [])
    assert listing.left_out["not transcribed yet"] == listing.left_out["in no split of the release"] == 1
