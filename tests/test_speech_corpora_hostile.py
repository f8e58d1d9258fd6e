"""Corpora made to do harm: nothing outside is read, nothing hangs, nothing grows beyond its limits."""

import json
import os
import resource
import socket
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import RELEASE, json_lines, lay_out, pack, small_release, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import places, tables
from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.corpora.data_sets import leads_out
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.recordings import Recordings
from dagsverk.speech.errors import CorpusError

SPLITS = ("train", "dev", "test")


def opened(path, language="sv"):
    return open_corpus(CorpusConfig(source=str(path)), language)


def rows_of(names):
    return [{"file": name, "text": f"text {name}", "split": SPLITS[i % 3]} for i, name in enumerate(names)]


def own(folder, names, more=()):
    """A corpus with three good clips, and rows for the names."""
    good = [f"good/{split}.wav" for split in SPLITS]
    table = json_lines(rows_of([*good, *names]))
    return lay_out({"metadata.jsonl": table, **dict.fromkeys(good, wav(0.2)), **dict(more)}, folder / "own")


def socket_file(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


MAKERS = {
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a key": lambda path: path.symlink_to("/etc/passwd"),
    "a link to what a process knows": lambda path: path.symlink_to("/proc/self/environ"),
    "a link out": lambda path: path.symlink_to("../secret.wav"),
    "a circle": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
    "a socket": socket_file,
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request, tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"secret" + wav(0.2))
    return request.param


def test_a_row_that_means_no_regular_file_is_set_aside_with_its_reason(tmp_path, make):
    folder = own(tmp_path, ["bad.wav"])
    make(folder / "bad.wav")
    corpus = opened(folder)
    listing = corpus.listing()
    assert [(one.clip, one.reason) for one in listing.rejected] == [("bad.wav", "not a regular file")]
    assert "want a regular file below the folder" in listing.rejected[0].detail
    assert [sound for _, sound in corpus.read(listing.clips)] == [wav(0.2)] * 3


def test_a_clip_that_becomes_something_else_after_it_was_listed_is_not_read(tmp_path, make):
    folder = own(tmp_path, ["bad.wav"], [("bad.wav", wav(0.2))])
    corpus = opened(folder)
    clips = corpus.listing().clips
    (folder / "bad.wav").unlink()
    make(folder / "bad.wav")
    sounds = {clip.id: sound for clip, sound in opened(folder).read(clips)}
    assert isinstance(sounds.pop("bad.wav"), RejectedClip)
    assert list(sounds.values()) == [wav(0.2)] * 3


def test_a_table_that_is_no_regular_file_is_told_and_not_read(tmp_path, make):
    folder = lay_out({"1.wav": wav(0.2)}, tmp_path / "own")
    make(folder / "metadata.csv")
    with pytest.raises(CorpusError, match=r"metadata\.csv is a .*want a regular file below the folder"):
        opened(folder).listing()


def test_a_text_beside_a_recording_that_is_no_regular_file_is_set_aside(tmp_path, make):
    files = {
        f"{name}/1.{end}": wav(0.2) if end == "wav" else b"hej" for name in SPLITS for end in ("wav", "txt")
    }
    folder = lay_out({**files, "2.wav": wav(0.2)}, tmp_path / "own")
    make(folder / "2.txt")
    listing = opened(folder).listing()
    assert [(one.clip, one.reason) for one in listing.rejected] == [("2.wav", "not a regular file")]
    assert len(listing.clips) == 3


@pytest.mark.parametrize("target", ["..", "/etc", "good/../.."])
def test_nothing_is_read_through_a_linked_folder(tmp_path, target):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    folder = own(tmp_path, ["linked/secret.wav", "linked/passwd"])
    (folder / "linked").symlink_to(target)
    assert {one.reason for one in opened(folder).listing().rejected} == {"not a regular file"}


def test_a_release_whose_clips_are_a_linked_folder_says_so(tmp_path):
    folder = lay_out(small_release(), tmp_path / "cv")
    (folder / RELEASE / "clips").rename(tmp_path / "elsewhere")
    (folder / RELEASE / "clips").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        CorpusError, match=r"10 not a regular file; the first: .* is a link out of the folder"
    ):
        opened(folder).listing()


def test_links_that_multiply_folders_are_not_walked(tmp_path):
    """Twelve folders with a link to each other one: as paths, more than could ever be listed."""
    folder = own(tmp_path, [])
    for one in range(12):
        (folder / f"d{one}").mkdir()
        for other in range(12):
            (folder / f"d{one}" / f"to{other}").symlink_to(f"../d{other}")
    assert len(opened(folder).listing().clips) == 3


def test_folders_below_folders_without_end_are_not_walked_to_their_end(tmp_path):
    folder = own(tmp_path, [])
    deep = folder
    for _ in range(places.MAX_DEPTH + 10):
        deep = deep / "d"
        deep.mkdir()
    assert len(opened(folder).listing().clips) == 3


def test_a_link_to_a_recording_of_the_same_folder_is_as_good_as_the_recording(tmp_path):
    folder = own(tmp_path, ["again.wav"])
    (folder / "again.wav").symlink_to("good/train.wav")
    listing = opened(folder).listing()
    assert (len(listing.clips), listing.rejected) == (4, [])


OUTSIDE = ["../secret.wav", "good/../../secret.wav", "/etc/passwd", "..\\secret.wav", "\\etc\\passwd",
           "C:\\x.wav", "C:x.wav", "\\\\server\\share\\x.wav", "file:///etc/passwd", "http://127.0.0.1/x.wav",
           "./../secret.wav", "good/./../../secret.wav", "~/secret.wav", "good/\0/../x.wav", ".",
           "good"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("form", ["folder", "own.tar", "own.tar.gz"])
def test_a_path_of_a_table_that_leads_out_is_set_aside(tmp_path, name, form):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    folder = own(tmp_path, [name])
    files = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    listing = opened(folder if form == "folder" else pack(files, tmp_path / form)).listing()
    assert {clip.audio for clip in listing.clips} == {f"good/{split}.wav" for split in SPLITS}
    assert [one.reason in ("path outside the folder", "missing audio") for one in listing.rejected] == [True]


@given(
    st.lists(
        st.sampled_from(["..", ".", "", "a", "~", "\\", "\\..", "C:", "x.wav", "file:", "\0"]), min_size=1
    )
)
def test_no_path_that_is_taken_leads_out_of_a_data_set(parts):
    path = "/".join(parts)
    if not leads_out(path):
        assert os.path.normpath("/top/" + path).startswith("/top")
        assert not Path(path).is_absolute()


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/stdin", "fifo", "socket", "x" * 300, "~nobody-here/x"])
def test_a_source_that_is_neither_a_folder_nor_a_regular_file_is_told(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    socket_file("socket")
    with pytest.raises(CorpusError):
        opened(source).listing()


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv", "metadata.jsonl"])
@pytest.mark.parametrize(
    "content",
    [b",\t" * (4 << 20), b"x" * (4 << 20), b'{"file":' + b"[" * (4 << 20), b'"' + b"a\n" * 100_000],
    ids=["one line of cells", "one endless line", "one line of brackets", "an open quote"],
)
def test_a_table_of_nonsense_is_told_and_takes_no_memory_to_speak_of(tmp_path, name, content):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorpusError):
        opened(lay_out({name: content, "1.wav": wav(0.2)}, tmp_path / "own")).listing()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_line_of_json_that_is_too_deep_is_set_aside(tmp_path):
    deep = b'{"file": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    folder = own(tmp_path, [])
    table = folder / "metadata.jsonl"
    table.write_bytes(table.read_bytes() + deep)
    assert [one.reason for one in opened(folder).listing().rejected] == ["malformed row"]


def test_a_table_with_more_rows_or_cells_than_any_corpus_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 100)
    monkeypatch.setattr(tables, "MAX_CELLS", 100)
    for content in (b"file,text\n" * 101, b"file,text\n" + b"," * 101):
        with pytest.raises(CorpusError, match="want at most 100: divide it"):
            opened(lay_out({"metadata.csv": content}, tmp_path / "own")).listing()


# ------------------------------------------------------------------ data sets


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = datasets.Dataset.from_dict({"audio": [{"bytes": wav(0.1), "path": None}] * 3, "text": ["hej"] * 3})
    datasets.DatasetDict(dict.fromkeys(SPLITS, rows)).save_to_disk(str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.mark.parametrize(
    "outside", ["/etc/passwd", "../../secret.arrow", "/dev/zero", "hf://datasets/x/y.arrow"]
)
def test_a_data_set_whose_state_names_other_files_is_refused(data_set, outside):
    state = json.loads((data_set / "train" / "state.json").read_text())
    state["_data_files"] = [{"filename": outside}]
    (data_set / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(CorpusError, match="names files that are not its own"):
        opened(data_set).listing()


def test_a_data_set_whose_splits_lie_elsewhere_is_refused(data_set):
    (data_set / "dataset_dict.json").write_text(json.dumps({"splits": ["../other"]}))
    with pytest.raises(CorpusError, match="names files that are not its own"):
        opened(data_set).listing()


@pytest.mark.parametrize("name", ["more.arrow", "data.parquet"])
def test_a_data_set_with_anything_but_regular_files_is_refused(data_set, name, make):
    make(data_set / name)
    with pytest.raises(CorpusError, match="want a regular file below the folder"):
        opened(data_set).listing()


@pytest.mark.parametrize(
    "files",
    ["/etc/passwd", "../x.parquet", "http://127.0.0.1:9/x.parquet", "zip://x::http://127.0.0.1:9/x.zip",
     "hf://datasets/other/private/x.parquet", "[{split: train, path: [a.parquet, /etc/x.parquet]}]"],
)  # fmt: skip
def test_a_data_set_whose_description_names_other_files_causes_no_request(tmp_path, files):
    rows = datasets.Dataset.from_dict({"audio": ["1.wav"], "text": ["hej"]})
    (tmp_path / "own").mkdir()
    rows.to_parquet(str(tmp_path / "own" / "a.parquet"))
    (tmp_path / "own" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: a\n  data_files: {files}\n---\n"
    )
    with pytest.raises(CorpusError, match="names files that are not its own"):
        opened(tmp_path / "own").listing()


@pytest.mark.parametrize(
    "name", ["hub:https://example.org/x", "hub:../x", "hub:a/b/c", "hub:a b", "hub:/dev/zero"]
)
def test_a_name_that_no_data_set_of_the_hub_has_is_refused_without_asking(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where nothing is called so
    with pytest.raises(CorpusError, match="want hub:owner/name"):
        opened(name)


# ------------------------------------------------------------------ what the recorder keeps


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "clips/../../outside", 7, None])
def test_a_list_of_recordings_that_names_other_files_removes_none(tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("kept")
    kept = Recordings("own", tmp_path / "root")
    kept.keep(wav(0.2), 0.2, text="hej", language="sv", speaker="Åsa")
    line = json.loads((kept.folder / "metadata.jsonl").read_text())
    (kept.folder / "metadata.jsonl").write_text(json.dumps({**line, "file_name": name}))
    with pytest.raises(CorpusError, match="is not what the recorder wrote"):
        kept.undo()
    assert outside.exists()


def test_a_list_of_recordings_that_is_a_pipe_hangs_nobody(tmp_path):
    kept = Recordings("own", tmp_path)
    kept.folder.mkdir()
    os.mkfifo(kept.folder / "metadata.jsonl")
    with pytest.raises(CorpusError, match="is a pipe"):
        kept.clips()
