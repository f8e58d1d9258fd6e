"""Common Voice as Mozilla ships it, as a folder and as an archive, whole and broken."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_clips import COLUMNS, RELEASE, lay_out, pack, release, row, small_release, table

from dagsverk.speech.audio.waveform import read_samples
from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.corpus import SPLITS, Clip, RejectedClip, Tally
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.rows import make_listing
from dagsverk.speech.errors import CorpusError

FORMS = ("folder", "cv.tar.gz", "cv.tar")


def place(files, tmp_path, form):
    return lay_out(files, tmp_path / "cv") if form == "folder" else pack(files, tmp_path / form)


def opened(path, language="sv", **limits):
    return open_corpus(CorpusConfig(source=str(path), **limits), language)


def reasons(listing):
    return sorted((fault.clip, fault.reason) for fault in listing.rejected)


@pytest.mark.parametrize("form", FORMS)
def test_a_release_is_read_where_it_lies(tmp_path, form):
    corpus = opened(place(small_release(), tmp_path, form))
    listing = corpus.listing()
    assert corpus.name.startswith("Common Voice ")
    assert corpus.sequential == (form == "cv.tar.gz")
    assert [sum(clip.split == split for clip in listing.clips) for split in ("train", "dev", "test")] == [
        6,
        2,
        2,
    ]
    assert listing.rejected == []
    first = next(clip for clip in listing.clips if clip.id == "common_voice_sv-SE_0")
    assert first.text == "Mening nummer 0."
    assert (first.speaker, first.gender, first.age, first.licence) == ("a0", "male", "twenties", "CC0-1.0")
    assert first.duration_s == 0.3
    assert next(clip.accent for clip in listing.clips if clip.split == "test") == "Skåne"
    sounds = dict(corpus.read(listing.clips))
    assert [clip.id for clip in sounds] == [clip.id for clip in listing.clips]
    pitches = {np.argmax(np.abs(np.fft.rfft(read_samples(sound)[:4800]))) for sound in sounds.values()}
    assert len(pitches) == 10  # each clip got its own recording


@pytest.mark.parametrize("form", FORMS)
def test_some_clips_are_read_without_listing_the_corpus_again(tmp_path, form):
    path = place(small_release(), tmp_path, form)
    wanted = opened(path).listing().clips[3:5]
    assert [clip for clip, _ in opened(path).read(wanted)] == wanted


def test_every_form_of_a_release_gives_the_same_clips(tmp_path):
    listed = [opened(place(small_release(), tmp_path, form)).listing().clips for form in FORMS]
    ids = [sorted((clip.id, clip.text, clip.split, clip.speaker) for clip in clips) for clips in listed]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize("nesting", ["", "sv-SE", "a/b", "./cv/sv-SE"])
def test_the_release_may_lie_in_a_folder_or_not(tmp_path, nesting):
    files = {path.replace(RELEASE, nesting).lstrip("/"): content for path, content in small_release().items()}
    assert len(opened(lay_out(files, tmp_path / "folder")).listing().clips) == 10
    assert len(opened(pack(files, tmp_path / "cv.tar.gz")).listing().clips) == 10


def test_of_several_languages_the_one_asked_for_is_read(tmp_path):
    italian = [{**row("z", 1), "path": "common_voice_it_1.mp3", "locale": "it"}]
    folder = lay_out(release({"train": italian}, "cv/it") | small_release(), tmp_path / "both")
    assert {clip.id for clip in opened(folder, "it").listing().clips} == {"common_voice_it_1"}
    assert len(opened(folder, "swedish").listing().clips) == 10


@pytest.mark.parametrize("form", FORMS)
def test_a_release_in_another_language_is_refused(tmp_path, form):
    with pytest.raises(CorpusError, match="no clips of language 'it'; it holds sv"):
        opened(place(small_release(), tmp_path, form), "it").listing()


def test_the_locale_of_the_folder_counts_where_rows_have_none(tmp_path):
    rows = {
        "train": [row("a", 1, locale="")],
        "dev": [row("b", 2, locale="")],
        "test": [row("c", 3, locale="")],
    }
    folder = lay_out(release(rows), tmp_path / "cv")
    assert len(opened(folder).listing().clips) == 3
    with pytest.raises(CorpusError, match="it holds sv"):
        opened(folder, "it").listing()


def test_columns_of_release_11_are_enough_and_durations_may_be_absent(tmp_path):
    old = (
        "client_id",
        "path",
        "sentence",
        "up_votes",
        "down_votes",
        "age",
        "gender",
        "accents",
        "locale",
        "segment",
    )
    files = small_release()
    for split, rows in (("train", [row("a", 0)]), ("dev", [row("b", 10)]), ("test", [row("c", 20)])):
        files[f"{RELEASE}/{split}.tsv"] = table(rows, old)
    del files[f"{RELEASE}/clip_durations.tsv"]
    clips = opened(lay_out(files, tmp_path / "cv")).listing().clips
    assert [clip.duration_s for clip in clips] == [None] * 3


def test_a_table_without_a_needed_column_is_told(tmp_path):
    files = small_release()
    files[f"{RELEASE}/train.tsv"] = table([row("a", 0)], ("client_id", "path", "locale"))
    with pytest.raises(CorpusError, match=r"train\.tsv has no column sentence"):
        opened(lay_out(files, tmp_path / "cv")).listing()


def test_quotes_in_sentences_are_letters_like_others(tmp_path):
    texts = ['"Nej', 'Hon sa: "ja" och gick', "''", '"a", "b"', "l'acqua"]
    files = release(
        {
            "train": [row(f"s{i}", i, text) for i, text in enumerate(texts)],
            "dev": [row("x", 8)],
            "test": [row("y", 9)],
        }
    )
    clips = opened(lay_out(files, tmp_path / "cv")).listing().clips
    assert [clip.text for clip in clips if clip.split == "train"] == ['"Nej', texts[1], '"a", "b"', "l'acqua"]


def test_what_is_wrong_with_rows_is_set_aside_and_counted(tmp_path):
    files = release(
        {
            "train": [row("a", 1), row("a", 2, " <br> "), row("a", 1), row("b", 3), row("c", 4), row("t", 5)],
            "dev": [row("d", 6), row("t", 7), row("a2", 4)],
            "test": [row("t", 8)],
        }
    )
    del files[f"{RELEASE}/clips/common_voice_sv-SE_3.mp3"]
    files[f"{RELEASE}/train.tsv"] += b"only\tthree\tfields\n\n"
    listing = opened(lay_out(files, tmp_path / "cv")).listing()
    assert reasons(listing) == [
        ("common_voice_sv-SE_1", "duplicate id"),
        ("common_voice_sv-SE_2", "empty text"),
        ("common_voice_sv-SE_3", "missing audio"),
        ("common_voice_sv-SE_4", "duplicate id"),
        ("common_voice_sv-SE_5", "speaker in another split"),
        ("common_voice_sv-SE_7", "speaker in another split"),
        ("train.tsv line 8", "malformed row"),
    ]
    assert {(clip.id[-1], clip.split) for clip in listing.clips} == {
        ("1", "train"),
        ("4", "dev"),  # of a clip in two splits the held-out one keeps it
        ("6", "dev"),
        ("8", "test"),
    }
    assert all(fault.detail for fault in listing.rejected)


def test_markup_and_control_characters_are_cleaned_from_texts(tmp_path):
    text = "\u202aHej <b>du</b>\u0007 &amp; jag\u200b"
    files = release({"train": [row("a", 1, text)], "dev": [row("b", 2)], "test": [row("c", 3)]})
    assert opened(lay_out(files, tmp_path / "cv")).listing().clips[-1].text == "Hej du & jag"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(SPLITS)), max_size=24))
def test_no_speaker_is_ever_heard_in_two_splits_and_no_row_is_lost(drawn):
    clips = [
        Clip(id=str(i), audio=str(i), text="hej", language="sv", split=split, speaker=speaker)
        for i, (speaker, split) in enumerate([("", "train"), ("", "dev"), ("", "test"), *drawn])
    ]
    listing = make_listing(clips, Tally(rows=len(clips)), [])
    split_of = {}
    for clip in listing.clips:
        assert not clip.speaker or split_of.setdefault(clip.speaker, clip.split) == clip.split
    assert len(listing.clips) + len(listing.rejected) == len(clips)
    test_speakers = {speaker for speaker, split in drawn if split == "test"}
    assert test_speakers <= {
        clip.speaker for clip in listing.clips if clip.split == "test"
    }  # test stays whole


def test_a_table_that_is_not_utf_8_is_told(tmp_path):
    files = small_release()
    files[f"{RELEASE}/dev.tsv"] = "\t".join(COLUMNS).encode() + b"\nb\t1.mp3\t\tsm\xf6r\n"
    with pytest.raises(CorpusError, match=r"dev\.tsv is not UTF-8"):
        opened(lay_out(files, tmp_path / "cv")).listing()


# ------------------------------------------------------------------ archives


@pytest.mark.parametrize("form", ["cv.tar.gz", "cv.tar"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_an_archive_cut_short_is_refused_and_told_as_an_incomplete_download(tmp_path, form, share):
    path = pack(small_release(), tmp_path / form)
    whole = path.read_bytes()
    content = len(whole) if form == "cv.tar.gz" else len(whole.rstrip(b"\0"))  # a .tar ends with padding
    path.write_bytes(whole[: int(content * share)])
    with pytest.raises(CorpusError, match=r"cut short: .* bytes, \d+ recordings; the download is incomplete"):
        opened(path).listing()


def test_an_uncompressed_archive_cut_between_two_members_is_found_to_be_cut(tmp_path):
    path = pack(small_release(), tmp_path / "cv.tar")
    with tarfile.open(path) as archive:
        middle = archive.getmembers()[8].offset
    path.write_bytes(path.read_bytes()[:middle])
    with pytest.raises(CorpusError, match="cut short"):
        opened(path).listing()


def test_an_archive_damaged_inside_is_refused(tmp_path):
    path = pack(small_release(), tmp_path / "cv.tar.gz")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(CorpusError, match=r"damaged|cut short"):
        opened(path).listing()


def test_a_page_saved_instead_of_an_archive_is_told(tmp_path):
    path = tmp_path / "cv.tar.gz"
    path.write_text("<html>Please log in</html>" * 100)
    with pytest.raises(CorpusError, match=r"damaged or no archive"):
        opened(path).listing()


def test_an_empty_archive_file_is_told(tmp_path):
    (tmp_path / "cv.tar.gz").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"archive|empty"):
        opened(tmp_path / "cv.tar.gz").listing()


@pytest.mark.parametrize("form", ["cv.tar.gz", "cv.tar"])
def test_links_and_names_that_lead_out_of_an_archive_are_never_followed(tmp_path, form):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    files = small_release()
    for number in (0, 1):
        del files[f"{RELEASE}/clips/common_voice_sv-SE_{number}.mp3"]
    files[f"{RELEASE}/../../../escaped.mp3"] = b"x"
    files["/absolute.mp3"] = b"x"
    files[f"{RELEASE}/train.tsv"] = table(
        [row(f"a{i}", i) for i in range(6)] + [row("e", 7, path="../../escaped.mp3")]
    )
    links = {
        f"{RELEASE}/clips/common_voice_sv-SE_0.mp3": str(secret),
        f"{RELEASE}/clips/common_voice_sv-SE_1.mp3": "../../../../secret",
    }
    path = pack(files, tmp_path / form, links)
    before = sorted(tmp_path.rglob("*"))
    corpus = opened(path)
    listing = corpus.listing()
    assert reasons(listing) == [
        ("../../escaped", "missing audio"),
        ("common_voice_sv-SE_0", "not a regular file"),
        ("common_voice_sv-SE_1", "not a regular file"),
    ]
    assert b"secret" not in dict(corpus.read(listing.clips)).values()
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


def test_of_a_compressed_archive_no_more_is_read_than_up_to_the_last_clip_wanted(tmp_path):
    more = {f"{RELEASE}/clips/more.mp3": np.random.default_rng(0).bytes(4 << 20)}
    path = pack(small_release() | more, tmp_path / "cv.tar.gz")
    wanted = opened(path).listing().clips[:2]
    path.write_bytes(path.read_bytes()[:-1000])  # what is gone lies behind them
    assert [clip for clip, _ in opened(path).read(wanted)] == list(wanted)


def test_clips_are_listed_in_the_order_in_which_an_archive_holds_them(tmp_path):
    files = small_release()
    turned = dict(sorted(files.items(), reverse=True))
    corpus = opened(pack(turned, tmp_path / "cv.tar.gz"))
    paths = [clip.audio for clip in corpus.listing().clips]
    assert paths == [path for path in turned if path.endswith(".mp3")]


def test_clips_asked_for_that_are_gone_are_told_as_missing(tmp_path):
    folder = lay_out(small_release(), tmp_path / "cv")
    corpus = opened(folder)
    clips = corpus.listing().clips
    (folder / clips[0].audio).unlink()
    sounds = {clip.id: sound for clip, sound in corpus.read(clips)}
    assert isinstance(sounds[clips[0].id], RejectedClip)
    assert sounds[clips[0].id].reason == "missing audio"
    assert sum(isinstance(sound, bytes) for sound in sounds.values()) == 9


# ------------------------------------------------------------------ fingerprints


@pytest.mark.parametrize("form", FORMS)
def test_the_same_content_has_the_same_fingerprint_wherever_it_lies(tmp_path, form):
    first = place(small_release(), tmp_path, form)
    moved = first.rename(tmp_path / f"elsewhere{''.join(first.suffixes)}")
    fingerprint = opened(moved).listing().fingerprint
    moved.rename(first)
    assert opened(first).listing().fingerprint == fingerprint


def test_another_text_and_another_recording_change_the_fingerprint(tmp_path):
    folder = lay_out(small_release(), tmp_path / "cv")
    prints = {opened(folder).listing().fingerprint}
    (folder / RELEASE / "dev.tsv").write_bytes(table([row("b0", 10, "Något annat."), row("b1", 11)]))
    prints.add(opened(folder).listing().fingerprint)
    (folder / RELEASE / "clips" / "common_voice_sv-SE_10.mp3").write_bytes(b"another recording")
    prints.add(opened(folder).listing().fingerprint)
    assert len(prints) == 3


def test_the_fingerprint_of_an_archive_covers_every_byte(tmp_path):
    path = pack(small_release(), tmp_path / "cv.tar")
    before = opened(path).listing().fingerprint
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("README"), io.BytesIO())
    assert opened(path).listing().fingerprint != before


def test_gzip_members_joined_are_one_archive(tmp_path):
    plain = pack(small_release(), tmp_path / "cv.tar").read_bytes()
    path = tmp_path / "joined.tar.gz"
    path.write_bytes(gzip.compress(plain[:10_000]) + gzip.compress(plain[10_000:]))
    assert len(opened(path).listing().clips) == 10
