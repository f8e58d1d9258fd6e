"""What is packed is unpacked whole, or refused with a reason, within bounded memory."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import hostile_packings as hostile
import pytest
from speech_clips import wav
from written_tables import HEADER, ROW, taken

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError
from dagsverk.tabular import packed
from dagsverk.tabular.errors import SourceError
from dagsverk.unpacking import CutShort, Damaged, Growth, Unpacked, open_member, packing

ROOT = Path(__file__).resolve().parents[1]
TABLE = (HEADER + ROW * 50).encode()
KINDS = (*hostile.SQUEEZE, *hostile.METHODS)
MEMORY = "asks for more than 256 MiB of memory"
IN_LITTLE_MEMORY = """
import io, json, pathlib, resource, sys, zipfile
import pyarrow
pyarrow.compress(b"x", "zstd")
from dagsverk.unpacking import Growth, Unpacked, open_member, packing
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (120 << 20),) * 2)
ends = {}
for path in map(pathlib.Path, sys.argv[1:]):
    try:
        kind = packing(path.read_bytes()[:300])
        with path.open("rb") as file:
            if kind == "zip":
                archive = zipfile.ZipFile(file)
                stream = open_member(archive, archive.infolist()[0])
            else:
                stream = Unpacked(file, kind, Growth(100, 16 << 20))
            count = 0
            while count < 150 << 20 and (block := stream.read(1 << 20)):
                count += len(block)
        ends[path.name] = f"{count >> 20} MiB"
    except Exception as error:
        ends[path.name] = f"{type(error).__name__}: {error}"
print(json.dumps(ends))
"""


def in_little_memory(paths):
    """How each file ended, in a process that gets 120 MiB beside its start and reads 150 MiB of each."""
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return json.loads(done.stdout)


def test_files_that_ask_for_gigabytes_end_within_120_mebibytes(tmp_path):
    mebibyte = bytes(1 << 20)
    zeros = hostile.bzip2_of_zeros(200)
    files = {
        "xz of 4 GiB": (hostile.xz_with_window(TABLE), MEMORY),
        "zstd of 2 GiB": (hostile.zstandard_with_window(TABLE), "too much memory"),
        "zip of 4 GiB": (hostile.zip_of_lzma_with_window(TABLE), MEMORY),
        "gz": (gzip.compress(mebibyte) * 150, "grows to more than 100 times"),
        "bz2": (zeros, "grows to more than 100 times"),
        "xz": (hostile.packed("xz", mebibyte) * 150, "grows to more than 100 times"),
        "zst": (hostile.zstandard_of_one_byte(1200), "grows to more than 100 times"),
        "a zip that says 10 bytes": (hostile.zip_by_hand(zipfile.ZIP_BZIP2, zeros, 10, 0), "Bad CRC-32"),
        "a zip that says 4 GiB": (hostile.zip_by_hand(zipfile.ZIP_BZIP2, zeros, 0xFFFF_FFF0, 0), "150 MiB"),
        "streams of nothing": (hostile.packed("xz", b"") * 20_000, "0 MiB"),
        "a name without end": (b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (16 << 20), "CutShort"),
    }
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    ends = in_little_memory(tmp_path / name for name in files)
    assert {name: ends[name] for name, (_, end) in files.items() if end not in ends[name]} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_comes_out_whole_or_with_the_reason_why_not(tmp_path, kind):
    whole = hostile.packed(kind, TABLE)

    def take(content, name="rows.of.another.ending"):
        return taken(tmp_path / name, content, "titanic").rows_in

    assert take(whole) == 50
    for share in (0.05, 0.3, 0.7, 0.99):
        with pytest.raises(SourceError, match="cut short"):
            take(whole[: max(6, int(len(whole) * share))])
    with pytest.raises(SourceError, match=r"is damaged or no .* file"):
        take(whole + b"what follows")
    with pytest.raises(SourceError, match="holds no table"):
        take(hostile.packed(kind, b""))
    twice = hostile.packed(kind, hostile.packed(kind, TABLE))
    assert take(twice) == 50
    with pytest.raises(SourceError, match="packed more than 2 times; unpack it, and give the table"):
        take(hostile.packed(kind, twice))
    with pytest.raises(SourceError, match=r"holds a \.tar archive; unpack it, and give the table"):
        take(hostile.packed(kind, tarred(TABLE)))
    for _ in range(20):  # as a file that holds itself would
        whole = hostile.packed(kind, whole)
    with pytest.raises(SourceError, match="packed more than 2 times"):
        take(whole)


def tarred(content, name="rows.csv"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as out:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        out.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("kind", hostile.SQUEEZE)
def test_parts_that_were_joined_are_one_file_and_padding_is_none(kind):
    half = len(TABLE) // 2
    joined = hostile.packed(kind, TABLE[:half]) + hostile.packed(kind, TABLE[half:])
    joined += b"" if kind == "zst" else bytes(700_000)
    assert packed.unpack("rows", joined, 1 << 20)[0] == TABLE


@pytest.mark.parametrize("kind", hostile.SQUEEZE)
@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_no_step_gives_more_than_was_asked_for(kind, size):
    content = bytes(range(256)) * (4000 if size > 7 else 8)
    stream, blocks = Unpacked(io.BytesIO(hostile.packed(kind, content)), kind), []
    while block := stream.read(size):
        blocks.append(block)
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= size


def test_zips_that_were_joined_are_refused_for_only_the_last_would_be_read():
    with pytest.raises(SourceError, match="two archives joined"):
        packed.unpack("rows", hostile.zipped(TABLE) * 2, 1 << 20)


def test_a_table_may_grow_to_64_mebibytes_or_200_times_its_size(monkeypatch):
    monkeypatch.setattr(packed, "GROWTH", Growth(times=200, free_bytes=1 << 20))
    for kind in KINDS[:-1]:
        with pytest.raises(SourceError, match="grows to more than 200 times its size; unpack it"):
            packed.unpack("rows", hostile.packed(kind, bytes(8 << 20)), 512 << 20)
        assert len(packed.unpack("rows", hostile.packed(kind, bytes(1 << 20)), 512 << 20)[0]) == 1 << 20


def test_a_list_of_many_files_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(packed, "MAX_LIST_BYTES", 40)
    with pytest.raises(SourceError, match="has a list of files of 54 bytes, want one file"):
        packed.unpack("rows", hostile.zipped(TABLE), 1 << 20)


@pytest.mark.parametrize("start", [b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c", b"LZIP\x01"])
def test_other_archives_are_refused_by_name_as_tables_and_words_that_begin_alike_are_not(start):
    with pytest.raises(SourceError, match="archive; unpack it, and give the table"):
        packed.unpack("rows", start + bytes(300), 1 << 20)
    text = b"LZIP,MSCF\n1,2\n"
    assert packed.unpack("rows", text, 1 << 20) == (text, ())


@pytest.mark.parametrize("method", hostile.METHODS)
def test_a_member_of_a_zip_is_checked_by_its_sum_and_its_length(method):
    content = TABLE * 20
    whole = hostile.packed(method, content)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, open_member(archive, archive.infolist()[0]) as file:
        assert b"".join(iter(lambda: file.read(1000), b"")) == content
    for field, value in (("CRC", 1), ("file_size", len(content) * 2)):
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            member = archive.infolist()[0]
            setattr(member, field, value)
            with (
                pytest.raises((CutShort, Damaged, zipfile.BadZipFile)),
                open_member(archive, member) as file,
            ):
                while file.read(1000):
                    pass
                if method in ("deflate", "stored"):  # there the library says it by the sum alone
                    raise Damaged


@pytest.mark.parametrize(
    "start", [b"", b"\x1f", b"PK", b"BZ", bytes(400), b"name,".ljust(257, b"x") + b"ustar"]
)
def test_what_is_not_packed_is_taken_as_it_is(start):
    assert packing(start) == ""


@pytest.mark.parametrize(
    "content, reason",
    [
        (hostile.xz_with_window(b"x" * 600), MEMORY),
        (hostile.zstandard_with_window(b"x" * 600), "too much memory"),
        (hostile.packed("deflate", b"x") + b"what follows", "follow its end"),
        (hostile.packed("gz", tarred(b"hej", "a.txt")) + b"what follows", "damaged"),
        (hostile.packed("zst", tarred(b"hej", "a.txt"))[:-3], "cut short"),
    ],
)
def test_a_corpus_ends_by_the_same_rules(tmp_path, content, reason):
    (tmp_path / "own.tar").write_bytes(content)
    with pytest.raises(CorpusError, match=reason):
        open_corpus(CorpusConfig(source=str(tmp_path / "own.tar")), "sv").listing()


def test_a_member_of_a_corpus_cannot_ask_for_gigabytes(tmp_path):
    bomb = hostile.zip_of_lzma_with_window(wav(0.2))
    (tmp_path / "own.zip").write_bytes(bomb.replace(b"rows.csv", b"rows.wav"))
    with zipfile.ZipFile(tmp_path / "own.zip", "a") as out:
        out.writestr("rows.txt", "hej")
    corpus = open_corpus(CorpusConfig(source=str(tmp_path / "own.zip")), "sv")
    with pytest.raises(CorpusError, match=MEMORY):
        list(corpus.read(corpus.listing().clips))
