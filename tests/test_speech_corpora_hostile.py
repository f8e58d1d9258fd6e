"""Corpora made to do harm: nothing outside is read, nothing hangs, nothing grows beyond its limits."""

import gzip
import io
import json
import os
import resource
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import RELEASE, json_lines, lay_out, pack, small_release, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import archive, places, tables
from dagsverk.speech.corpora.data_sets import leads_out
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpus import SetAside
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.recordings import Recordings

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
    assert [(one.clip, one.reason) for one in listing.set_aside] == [("bad.wav", "not a regular file")]
    assert "want a regular file below the folder" in listing.set_aside[0].detail
    assert [sound for _, sound in corpus.read(listing.clips)] == [wav(0.2)] * 3


def test_a_clip_that_becomes_something_else_after_it_was_listed_is_not_read(tmp_path, make):
    folder = own(tmp_path, ["bad.wav"], [("bad.wav", wav(0.2))])
    corpus = opened(folder)
    clips = corpus.listing().clips
    (folder / "bad.wav").unlink()
    make(folder / "bad.wav")
    found = {clip.id: sound for clip, sound in opened(folder).read(clips)}
    assert isinstance(found.pop("bad.wav"), SetAside)
    assert list(found.values()) == [wav(0.2)] * 3


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
    assert [(one.clip, one.reason) for one in listing.set_aside] == [("2.wav", "not a regular file")]
    assert len(listing.clips) == 3


@pytest.mark.parametrize("target", ["..", "/etc", "good/../.."])
def test_nothing_is_read_through_a_linked_folder(tmp_path, target):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    folder = own(tmp_path, ["linked/secret.wav", "linked/passwd"])
    (folder / "linked").symlink_to(target)
    assert {one.reason for one in opened(folder).listing().set_aside} == {"not a regular file"}


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
    assert (len(listing.clips), listing.set_aside) == (4, [])


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
    assert [one.reason in ("path outside the folder", "missing audio") for one in listing.set_aside] == [True]


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


# ------------------------------------------------------------------ archives


def tar(path, members, mode="w:gz"):
    """(TarInfo, content) as they are: the library that writes them is asked for nothing else."""
    with tarfile.open(path, mode) as out:
        for info, content in members:
            out.addfile(info, io.BytesIO(content) if content is not None else None)
    return path


def member(name, content=b"", kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    return info, content if kind == tarfile.REGTYPE else None


def three_clips(names=()):
    good = [f"good/{split}.wav" for split in SPLITS]
    table = json_lines(rows_of([*good, *names]))
    return [member("metadata.jsonl", table), *(member(name, wav(0.2)) for name in good)]


@pytest.mark.parametrize("form", ["own.tar", "own.tar.gz"])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"z"]
)
def test_a_member_that_is_no_regular_file_is_set_aside_with_its_reason(tmp_path, form, kind):
    bad = member("bad.wav", kind=kind, target="/etc/passwd")
    path = tar(tmp_path / form, [*three_clips(["bad.wav"]), bad], "w" if form == "own.tar" else "w:gz")
    corpus = opened(path)
    listing = corpus.listing()
    assert {one.clip: one.reason for one in listing.set_aside} == {"bad.wav": "not a regular file"}
    assert all(b"root:" not in sound for _, sound in corpus.read(listing.clips))


@pytest.mark.parametrize("form", ["own.tar", "own.tar.gz"])
def test_of_members_with_one_name_the_first_counts_wherever_it_is_read(tmp_path, form):
    first, second = member("good/train.wav", wav(0.3)), member("good/train.wav", b"secret")
    link = member("bad.wav", kind=tarfile.SYMTYPE, target="x")
    later = member("bad.wav", wav(0.2))
    members = [first, second, link, later, *three_clips(["bad.wav"])]
    corpus = opened(tar(tmp_path / form, members, "w" if form == "own.tar" else "w:gz"))
    listing = corpus.listing()
    assert [one.reason for one in listing.set_aside] == ["not a regular file"]
    assert {clip.id: sound for clip, sound in corpus.read(listing.clips)}["good/train.wav"] == wav(0.3)


def bomb(path, name, size, *, kind=tarfile.REGTYPE, first=b""):
    """An archive of a few kilobytes that holds one member of so many bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = gzip.compress(bytes(1 << 20))  # joined, they are one stream
    path.write_bytes(gzip.compress(first + info.tobuf(tarfile.GNU_FORMAT)) + block * ((size >> 20) + 1))
    return path


def plain(members):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as out:
        for info, content in members:
            out.addfile(info, io.BytesIO(content))
    return target.getvalue().rstrip(b"\0") + bytes(-len(target.getvalue().rstrip(b"\0")) % 512)


def peak_mib(path):
    """(how listing ended, MiB of memory at most) in a process of its own."""
    code = (
        "import resource, sys\n"
        "from dagsverk.speech.config import CorpusConfig\n"
        "from dagsverk.speech.corpora.opening import open_corpus\n"
        "from dagsverk.speech.errors import CorpusError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    open_corpus(CorpusConfig(source=sys.argv[1]), 'sv').listing()\n"
        "except CorpusError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True, timeout=120
    )
    told, _, peak = done.stdout.strip().rpartition("\n")
    return told, int(peak)


def test_a_packed_table_of_one_and_a_half_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = bomb(tmp_path / "own.tar.gz", "metadata.csv", 1536 << 20, first=plain([member("1.wav", wav(0.2))]))
    assert path.stat().st_size < 16 << 20
    told, peak = peak_mib(path)
    assert "grows to more than 100 times its size" in told or "metadata.csv has more than" in told
    assert peak < 100


@pytest.mark.parametrize("kind", archive.HEADERS)
def test_a_long_name_is_refused_before_it_is_read(tmp_path, kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorpusError, match="a header of 134,217,728 bytes"):
        opened(bomb(tmp_path / "own.tar.gz", "x", 128 << 20, kind=kind))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_an_archive_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE_BYTES", 8 << 20)
    path = bomb(tmp_path / "own.tar.gz", "clips/1.mp3", 64 << 20, first=plain(three_clips()))
    with pytest.raises(CorpusError, match="grows to more than 100 times its size"):
        opened(path).listing()


def test_a_table_is_refused_by_its_size_packed_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MAX_TABLE_BYTES", 1000)
    monkeypatch.setattr(archive, "MAX_TABLE_BYTES", 1000)
    files = {"metadata.csv": b"file,text\n" + b"good/1.wav,hej\n" * 100, "good/1.wav": wav(0.2)}
    for path in (
        lay_out(files, tmp_path / "own"),
        pack(files, tmp_path / "a.tar"),
        pack(files, tmp_path / "a.tar.gz"),
    ):
        with pytest.raises(CorpusError, match=r"metadata\.csv has more than 1,000 bytes"):
            opened(path).listing()


def test_the_tables_of_an_archive_have_a_limit_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TABLES_BYTES", 1000)
    files = {f"{i}.txt": b"hej " * 50 for i in range(10)} | {f"{i}.wav": wav(0.2) for i in range(10)}
    with pytest.raises(CorpusError, match=r"txt has more than \d+ bytes"):
        opened(pack(files, tmp_path / "own.tar.gz")).listing()


@pytest.mark.parametrize(
    "headers", [{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, {"GNU.sparse.map": "0,9"}]
)
def test_sparse_files_are_refused(tmp_path, headers):
    info = tarfile.TarInfo("good/train.wav")
    info.pax_headers, info.size = headers | {"GNU.sparse.realsize": str(1 << 60)}, 512
    path = tmp_path / "own.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info, io.BytesIO(b"9" * 512))
    with pytest.raises(CorpusError, match="a sparse file: pack it without --sparse"):
        opened(path).listing()


@pytest.mark.parametrize("size", [-1, -512, 1 << 62])
def test_sizes_that_cannot_be_are_refused(tmp_path, size):
    info = tarfile.TarInfo("good/train.wav")
    with tarfile.open(tmp_path / "own.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info)
        info = tarfile.TarInfo("good/dev.wav")
        info.pax_headers = {"size": str(size)}
        out.addfile(info)
        out.addfile(tarfile.TarInfo("good/test.wav"))
    with pytest.raises(CorpusError):
        opened(tmp_path / "own.tar.gz").listing()


def test_headers_nested_in_headers_are_refused(tmp_path):
    path = tmp_path / "own.tar.gz"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 0
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) * 5000 + bytes(1024)))
    with pytest.raises(CorpusError, match="damaged"):
        opened(path).listing()


@given(st.data())
def test_an_archive_with_any_damage_is_read_or_told_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "own.tar"
    content = bytearray(pack({"a.txt": b"hej", "a.wav": wav(0.05), "b" * 120: b"x"}, path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 3 * 512))
        content[place : place + 1] = data.draw(st.binary(min_size=1, max_size=12))
    path.write_bytes(content)
    try:
        corpus = opened(path)
        for _ in corpus.read(corpus.listing().clips):
            pass
    except CorpusError:
        pass


@pytest.mark.parametrize("name", ["own.zip", "own.tar.gz"])
def test_an_archive_in_an_archive_and_other_archives_are_not_unpacked(tmp_path, name):
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as out:
            out.writestr("metadata.csv", "file,text\n1.wav,hej\n")
    else:
        inner = pack({"metadata.csv": b"file,text\n1.wav,hej\n"}, tmp_path / "inner.tar.gz").read_bytes()
        pack({"inner.tar.gz": inner}, tmp_path / name)
    with pytest.raises(CorpusError, match=r"no \.tar or \.tar\.gz archive|holds no corpus"):
        opened(tmp_path / name).listing()


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
    assert [one.reason for one in opened(folder).listing().set_aside] == ["malformed row"]


def test_a_table_with_more_rows_or_cells_than_any_corpus_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 100)
    monkeypatch.setattr(tables, "MAX_CELLS", 100)
    for content in (b"file,text\n" * 101, b"file,text\n" + b"," * 101):
        with pytest.raises(CorpusError, match="want at most 100 and 100: divide it"):
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
def test_a_name_that_no_data_set_of_the_hub_has_is_refused_without_asking(name):
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
