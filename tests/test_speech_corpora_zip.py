"""A .zip as a corpus: as other programs write it, cut short, and made to do harm."""

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_clips import json_lines, pack, small_release, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora import places, zipped
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import CorpusError

SPLITS = ("train", "dev", "test")
NAMES = tuple(f"good/{split}.wav" for split in SPLITS)


def opened(path, language="sv"):
    return open_corpus(CorpusConfig(source=str(path)), language)


def rows_of(names):
    return [{"file": name, "text": f"text {name}", "split": SPLITS[i % 3]} for i, name in enumerate(names)]


def own(more=()):
    table = json_lines(rows_of([*NAMES, *more]))
    return {"metadata.jsonl": table, **{name: wav(0.2, 200 + 10 * i) for i, name in enumerate(NAMES)}}


def write(path, members, **options):
    """(name or ZipInfo, content) in this order."""
    with zipfile.ZipFile(path, "w", **options) as out:
        for name, content in members:
            out.writestr(name, content)
    return path


def test_a_release_is_read_from_a_zip_in_any_order_and_more_than_once(tmp_path):
    corpus = opened(pack(small_release(), tmp_path / "cv.zip"))
    clips = corpus.listing().clips
    assert (corpus.name, corpus.sequential, len(clips)) == ("Common Voice cv", False, 10)
    expected = small_release()
    for wanted in (clips, clips[::-1], clips[3:5]):
        assert [(clip.id, sound) for clip, sound in corpus.read(wanted)] == [
            (clip.id, expected[clip.audio]) for clip in wanted
        ]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_usual_method_is_read(tmp_path, method):
    path = write(tmp_path / "own.zip", own().items(), compression=method)
    assert [sound for _, sound in opened(path).read(opened(path).listing().clips)] == list(own().values())[1:]


def test_a_zip_that_was_written_to_a_stream_is_read(tmp_path):
    """Sizes come behind each file then, in a data descriptor, and in the list."""

    class Stream(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with (tmp_path / "own.zip").open("wb") as file, zipfile.ZipFile(Stream(file), "w") as out:
        for name, content in own().items():
            with out.open(name, "w", force_zip64=name.endswith("dev.wav")) as member:
                member.write(content)
    assert len(opened(tmp_path / "own.zip").listing().clips) == 3


def raw_zip(path, members):
    """A zip of stored members by hand: (name as bytes, flags, made on, content, extra field)."""
    body, listed = b"", b""
    for name, flags, system, content, extra in members:
        sizes = struct.pack("<III", zlib.crc32(content), len(content), len(content))
        lengths = struct.pack("<HH", len(name), len(extra))
        common = struct.pack("<HHHHH", 20, flags, 0, 0, 33) + sizes + lengths
        listed += b"PK\x01\x02" + bytes([20, system]) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        listed += name + extra
        body += b"PK\x03\x04" + common + name + extra + content
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(listed), len(body), 0)
    path.write_bytes(body + listed + b"PK\x05\x06" + end)
    return path


def unicode_path(name, raw):
    field = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    "raw, flags, extra",
    [
        ("sångare/1.wav".encode(), 0x800, b""),  # as Python, 7-Zip and Windows since 2012 write it
        ("sångare/1.wav".encode(), 0, b""),  # as macOS does
        ("sångare/1.wav".encode("cp437"), 0, b""),  # as Windows did in Sweden
        (b"s?ngare/1.wav", 0, b""),
        (
            "sångare/1.wav".encode("cp1252"),
            0,
            unicode_path("sångare/1.wav", "sångare/1.wav".encode("cp1252")),
        ),
    ],
)
def test_names_are_those_that_were_meant(tmp_path, raw, flags, extra):
    table = json_lines(rows_of(["sångare/1.wav"]))
    members = [(b"metadata.jsonl", 0, 3, table, b""), (raw, flags, 3, wav(0.2), extra)]
    path = raw_zip(tmp_path / "own.zip", members)
    if b"?" in raw:
        with pytest.raises(CorpusError, match=r"1 missing audio"):
            opened(path).listing()
    else:
        assert [clip.audio for clip in opened(path).listing().clips] == ["sångare/1.wav"]


def test_backslashes_of_windows_part_folders(tmp_path):
    table = json_lines(rows_of(["ljud/1.wav"]))
    members = [(b"metadata.jsonl", 0, 0, table, b""), (b"ljud\\1.wav", 0, 0, wav(0.2), b"")]
    assert len(opened(raw_zip(tmp_path / "own.zip", members)).listing().clips) == 1


def test_links_and_names_that_lead_out_are_never_followed(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    more = ["link.wav", "../secret.wav", "/etc/passwd"]
    files = {
        **own(more),
        "../secret.wav": b"secret",
        "/etc/passwd": b"secret",
        "a/../../secret.wav": b"secret",
    }
    path = pack(files, tmp_path / "own.zip", {"link.wav": str(tmp_path / "secret.wav")})
    before = sorted(tmp_path.rglob("*"))
    corpus = opened(path)
    listing = corpus.listing()
    reasons = {one.reason for one in listing.rejected}
    assert (len(listing.clips), reasons) == (3, {"not a regular file", "path outside the folder"})
    assert b"secret" not in [sound for _, sound in corpus.read(listing.clips)]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_with_one_name_the_first_counts(tmp_path):
    corpus = opened(write(tmp_path / "own.zip", [*own().items(), (NAMES[0], b"secret")]))
    assert next(corpus.read(corpus.listing().clips))[1] == own()[NAMES[0]]


def test_an_encrypted_zip_is_refused_with_the_next_move(tmp_path):
    members = [(name.encode(), 1, 3, content, b"") for name, content in own().items()]
    with pytest.raises(CorpusError, match=r"is encrypted .*; unpack it with its password, give the folder"):
        opened(raw_zip(tmp_path / "own.zip", members))


def test_a_method_that_is_not_read_is_refused_by_its_number(tmp_path):
    content = pack(own(), tmp_path / "own.zip").read_bytes()
    content = content.replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x09\x00"
    )
    (tmp_path / "own.zip").write_bytes(content)
    with pytest.raises(CorpusError, match=r"is packed by method 9 .* unpack it and give the folder"):
        opened(tmp_path / "own.zip")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_zip_cut_short_is_told_as_an_incomplete_download(tmp_path, share):
    path = pack(own(), tmp_path / "own.zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CorpusError, match=r"cut short: .* the download is incomplete"):
        opened(path)


def test_a_recording_damaged_inside_a_zip_is_told_when_it_is_read(tmp_path):
    path = write(tmp_path / "own.zip", own().items())
    content = path.read_bytes()
    at = content.index(own()[NAMES[1]]) + 1000
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    corpus = opened(path)
    with pytest.raises(CorpusError, match=r"own\.zip is damaged \(Bad CRC-32 for file 'good/dev\.wav'\)"):
        list(corpus.read(corpus.listing().clips))


def test_a_zip_that_grows_as_no_sound_does_is_refused_before_anything_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(zipped, "FREE_BYTES", 8 << 20)
    path = pack({**own(), "1.mp3": bytes(16 << 20)}, tmp_path / "own.zip")
    with pytest.raises(CorpusError, match="grows to more than 100 times its size"):
        opened(path)


def test_files_that_lie_upon_each_other_are_refused(tmp_path, monkeypatch):
    """One packed megabyte under many names: a small file that claims to be a large one."""
    monkeypatch.setattr(zipped, "FREE_BYTES", 8 << 20)
    path = write(tmp_path / "own.zip", [("0.wav", bytes(1 << 20))], compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a") as out:
        first = out.infolist()[0]
        for number in range(1, 300):
            again = zipfile.ZipInfo(f"{number}.wav")
            for field in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(again, field, getattr(first, field))
            out.filelist.append(again)
        out._didModify = True
    with pytest.raises(CorpusError, match="grows to more than 100 times its size"):
        opened(path)


def test_a_table_and_a_list_of_files_have_limits(tmp_path, monkeypatch):
    path = pack(own(), tmp_path / "own.zip")
    monkeypatch.setattr(zipped, "MAX_TABLE_BYTES", 100)
    with pytest.raises(CorpusError, match=r"metadata\.jsonl has more than 100 bytes"):
        opened(path).listing()
    monkeypatch.setattr(zipped, "MAX_LIST_BYTES", 100)
    with pytest.raises(CorpusError, match=r"has a list of files of 2[0-9][0-9] bytes"):
        opened(path)


def test_a_recording_larger_than_any_clip_is_set_aside(tmp_path, monkeypatch):
    big = pack({**own(["big.wav"]), "big.wav": bytes(1 << 20)}, tmp_path / "own.zip")
    monkeypatch.setattr("dagsverk.speech.corpora.rows.MAX_CLIP_BYTES", 1 << 19)
    assert [one.reason for one in opened(big).listing().rejected] == ["too long"]
    assert places.MAX_CLIP_BYTES == 256 << 20


def test_the_fingerprint_is_of_content_and_not_of_place(tmp_path):
    first = opened(pack(own(), tmp_path / "a.zip")).listing().fingerprint
    assert opened(pack(own(), tmp_path / "b.zip")).listing().fingerprint == first
    assert opened(pack({**own(), NAMES[0]: wav(0.3)}, tmp_path / "b.zip")).listing().fingerprint != first


@settings(max_examples=60)
@given(st.data())
def test_a_zip_with_any_damage_is_read_or_told_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "own.zip"
    content = bytearray(
        pack({"a.txt": b"hej", "a.wav": b"RIFF", "b.txt": b"du", "b.wav": b"x"}, path).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(content)))
        content[place : place + 1] = data.draw(st.binary(min_size=1, max_size=12))
    path.write_bytes(content)
    try:
        corpus = opened(path)
        for _ in corpus.read(corpus.listing().clips):
            pass
    except CorpusError:
        pass
