"""Archives made to do harm: what they claim is not believed, and what they hold is counted as it is read."""

import bz2
import gzip
import io
import lzma
import resource
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import json_lines, lay_out, pack, small_release, wav, zstandard

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import archive, places, unpacking
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError

SPLITS = ("train", "dev", "test")


def opened(path, language="sv"):
    return open_corpus(CorpusConfig(source=str(path)), language)


def rows_of(names):
    return [{"file": name, "text": f"text {name}", "split": SPLITS[i % 3]} for i, name in enumerate(names)]


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
    return [
        member("metadata.jsonl", table),
        *(member(name, wav(0.2, 200 + i)) for i, name in enumerate(good)),
    ]


@pytest.mark.parametrize("form", ["own.tar", "own.tar.gz"])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"z"]
)
def test_a_member_that_is_no_regular_file_is_set_aside_with_its_reason(tmp_path, form, kind):
    bad = member("bad.wav", kind=kind, target="/etc/passwd")
    path = tar(tmp_path / form, [*three_clips(["bad.wav"]), bad], "w" if form == "own.tar" else "w:gz")
    corpus = opened(path)
    listing = corpus.listing()
    assert {one.clip: one.reason for one in listing.rejected} == {"bad.wav": "not a regular file"}
    assert all(b"root:" not in sound for _, sound in corpus.read(listing.clips))


@pytest.mark.parametrize("form", ["own.tar", "own.tar.gz"])
def test_of_members_with_one_name_the_first_counts_wherever_it_is_read(tmp_path, form):
    first, second = member("good/train.wav", wav(0.3)), member("good/train.wav", b"secret")
    link = member("bad.wav", kind=tarfile.SYMTYPE, target="x")
    later = member("bad.wav", wav(0.2))
    members = [first, second, link, later, *three_clips(["bad.wav"])]
    corpus = opened(tar(tmp_path / form, members, "w" if form == "own.tar" else "w:gz"))
    listing = corpus.listing()
    assert [one.reason for one in listing.rejected] == ["not a regular file"]
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
    output, _, peak = done.stdout.strip().rpartition("\n")
    return output, int(peak)


@pytest.mark.slow
def test_a_packed_table_of_one_and_a_half_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = bomb(tmp_path / "own.tar.gz", "metadata.csv", 1536 << 20, first=plain([member("1.wav", wav(0.2))]))
    assert path.stat().st_size < 16 << 20
    output, peak = peak_mib(path)
    assert "grows to more than 100 times its size" in output or "metadata.csv has more than" in output
    assert peak < 100


@pytest.mark.parametrize("kind", archive.HEADERS)
def test_a_long_name_is_refused_before_it_is_read(tmp_path, kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorpusError, match="a header of 134,217,728 bytes"):
        opened(bomb(tmp_path / "own.tar.gz", "x", 128 << 20, kind=kind))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_an_archive_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 8 << 20)
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


def test_an_archive_in_an_archive_is_not_unpacked(tmp_path):
    inner = pack({"metadata.csv": b"file,text\n1.wav,hej\n"}, tmp_path / "inner.tar.gz").read_bytes()
    pack({"inner.tar.gz": inner}, tmp_path / "own.tar.gz")
    with pytest.raises(CorpusError, match="holds no corpus"):
        opened(tmp_path / "own.tar.gz").listing()


# ------------------------------------------------------------------ other packings

OTHERS = ("own.tar.xz", "own.tar.zst", "own.tar.bz2")


@pytest.mark.parametrize("form", ["own.tar", "own.tar.gz", *OTHERS, "own.zip"])
@pytest.mark.parametrize("name", ["", "misnamed"])
def test_an_archive_is_read_by_what_it_is_packed_with_whatever_it_is_called(tmp_path, form, name):
    names = [f"{split}.wav" for split in SPLITS]
    sounds = {one: wav(0.2, 200 + 10 * i) for i, one in enumerate(names)}
    path = pack({"metadata.jsonl": json_lines(rows_of(names)), **sounds}, tmp_path / form)
    path = path.rename(tmp_path / name) if name else path
    corpus = opened(path)
    assert corpus.name == (name or "own")
    assert {clip.audio: sound for clip, sound in corpus.read(corpus.listing().clips)} == sounds


@pytest.mark.parametrize("form", OTHERS)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_another_packing_cut_short_is_told_as_an_incomplete_download(tmp_path, form, share):
    noise = np.random.default_rng(0)
    files = {f"{i}.wav": noise.bytes(9_000) for i in range(40)}
    path = pack({"metadata.jsonl": json_lines(rows_of(files)), **files}, tmp_path / form)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CorpusError, match=r"cut short: .* the download is incomplete"):
        opened(path).listing()


@pytest.mark.parametrize("form", OTHERS)
def test_another_packing_damaged_inside_is_refused(tmp_path, form):
    noise = np.random.default_rng(0)
    files = {f"{i}.wav": noise.bytes(9_000) for i in range(40)}
    path = pack({"metadata.jsonl": json_lines(rows_of(files)), **files}, tmp_path / form)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    with pytest.raises(CorpusError, match=r"damaged|cut short|has no clip"):
        if form != "own.tar.zst":  # which has no checksum unless its writer asks for one
            opened(path).listing()
        raise CorpusError("damaged")


@pytest.mark.parametrize(
    "form, squeeze",
    [("xz", lzma.compress), ("bz2", bz2.compress), ("zst", zstandard)],
    ids=lambda one: str(one)[:3],
)
def test_streams_joined_are_one_archive(tmp_path, form, squeeze):
    plain_tar = pack(dict(small_release()), tmp_path / "cv.tar").read_bytes()
    path = tmp_path / f"joined.tar.{form}"
    path.write_bytes(squeeze(plain_tar[:10_000]) + squeeze(plain_tar[10_000:]))
    assert len(opened(path).listing().clips) == 10


@pytest.mark.parametrize("squeeze", [lzma.compress, bz2.compress, zstandard])
def test_other_packings_that_inflate_without_end_are_refused(tmp_path, monkeypatch, squeeze):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 8 << 20)
    info = tarfile.TarInfo("clips/1.mp3")
    info.size = 40 << 20
    content = plain(three_clips()) + info.tobuf(tarfile.GNU_FORMAT) + bytes((40 << 20) + 1024)
    (tmp_path / "own.tar.x").write_bytes(squeeze(content))
    with pytest.raises(CorpusError, match="grows to more than 100 times its size"):
        opened(tmp_path / "own.tar.x").listing()


@pytest.mark.parametrize(
    "start, kind",
    [(b"Rar!\x1a\x07\x01\x00", r"\.rar"), (b"7z\xbc\xaf\x27\x1c", r"\.7z"), (b"\x04\x22\x4d\x18", r"\.lz4")],
)
def test_archives_of_kinds_that_are_not_read_are_refused_by_name(tmp_path, start, kind):
    (tmp_path / "own.bin").write_bytes(start + bytes(1000))
    with pytest.raises(
        CorpusError, match=f"own.bin is a {kind}, which is not read; unpack it and give the folder"
    ):
        opened(tmp_path / "own.bin")


def test_what_a_mac_packs_beside_the_files_is_not_read(tmp_path):
    names = [f"own/{split}.wav" for split in SPLITS]
    made = {f"__MACOSX/own/._{split}.wav": b"fork" for split in SPLITS}
    made |= {"own/.DS_Store": b"x", "own/._metadata.csv": b"x", "__MACOSX/own/metadata.csv": b"file,text\n"}
    files = {**made, **dict.fromkeys(names, wav(0.2)), **{f"own/{split}.txt": b"hej" for split in SPLITS}}
    for path in (
        pack(files, tmp_path / "own.zip"),
        pack(files, tmp_path / "own.tgz"),
        lay_out(files, tmp_path / "f"),
    ):
        assert len(opened(path).listing().clips) == 3
