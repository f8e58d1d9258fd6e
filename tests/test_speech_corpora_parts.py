"""Parts of long recordings: segments of Kaldi, offsets of NeMo. Each second has a pitch of its own."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_layouts import kaldi, lines
from speech_clips import encode, json_lines, lay_out, pack, tone, wav

from dagsverk.speech.audio import sandbox
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.config import CorpusConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.parts import Part, part_of, path_of, read_span
from dagsverk.speech.features import preparation
from dagsverk.speech.features.cutting import cut
from dagsverk.store import open_store

SPLITS = ("train", "dev", "test")


def opened(path):
    return open_corpus(CorpusConfig(source=str(path)), "sv")


def pitches(*pitches_hz):
    return np.concatenate([tone(1.0, pitch_hz=one) for one in pitches_hz])


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples))
    return round(float(np.argmax(spectrum)) * 16_000 / len(samples) / 10) * 10


def segments(split, speaker, *spans, sound=None, name="long.wav"):
    """A folder of Kaldi's with one recording of four seconds, of 300, 400, 500 and 600 Hz."""
    ids = [f"{speaker}-{number}" for number in range(len(spans))]
    folder = f"data/{split}"
    return {
        f"{folder}/wav.scp": lines(f"{speaker}-rec {folder}/{name}"),
        f"{folder}/segments": lines(
            *(f"{one} {speaker}-rec {a} {b}" for one, (a, b) in zip(ids, spans, strict=True))
        ),
        f"{folder}/text": lines(*(f"{one} hej {one}" for one in ids)),
        f"{folder}/utt2spk": lines(*(f"{one} {speaker}" for one in ids)),
        f"{folder}/{name}": encode_wav(pitches(300, 400, 500, 600)) if sound is None else sound,
    }


def others(*splits):
    """Other splits, of one part each, of recordings of their own."""
    sounds = {one: encode_wav(pitches(700 + 10 * number)) for number, one in enumerate(splits)}
    made = (segments(one, one, (0, 1), sound=sounds[one]) for one in splits)
    return {path: content for files in made for path, content in files.items()}


def cut_out(corpus):
    """id -> samples, or why there are none."""
    return {clip.id: made for clip, made in cut(corpus.read(corpus.listing().clips), 30.0)}


@pytest.mark.parametrize("container", ["folder", "own.tgz", "own.zip"])
def test_segments_of_kaldi_are_cut_and_may_overlap(tmp_path, container):
    files = segments("train", "anna", (0, 1), ("1.000", "2.0"), (1.5, 2.5), ("2.9996", -1)) | others(
        "dev", "test"
    )
    place = lay_out(files, tmp_path / "own") if container == "folder" else pack(files, tmp_path / container)
    corpus = opened(place)
    listing = corpus.listing()
    assert (listing.rejected, len(listing.clips)) == ([], 6)
    clips = {clip.id: clip for clip in listing.clips}
    assert clips["anna-1"].audio == "data/train/long.wav#t=1.000,2.000"
    assert (clips["anna-1"].speaker, clips["anna-1"].duration_s) == ("anna", 1.0)
    sounds = cut_out(corpus)
    assert [pitch_hz(sounds[f"anna-{n}"]) for n in (0, 1, 3)] == [300, 400, 600]
    assert [len(sounds[f"anna-{n}"]) for n in range(4)] == [16_000] * 4
    assert np.array_equal(sounds["anna-2"][:8_000], sounds["anna-1"][8_000:])


def test_offsets_of_nemo_are_cut_and_whole_files_stay_what_they_were(tmp_path):
    rows = [
        {"audio_filepath": "wav/long.wav", "text": f"del {n}", "offset": n * 1.0, "duration": 1}
        for n in range(4)
    ]
    whole = [
        {"audio_filepath": f"wav/{n}.wav", "text": f"hej {n}", "offset": 0, "duration": 0.5} for n in range(6)
    ]
    sounds = {f"wav/{n}.wav": wav(0.5, 200 + n) for n in range(6)}
    files = {
        "manifest.json": json_lines(rows + whole),
        "wav/long.wav": encode_wav(pitches(300, 400, 500, 600)),
    }
    corpus = opened(lay_out(files | sounds, tmp_path / "own"))
    made = cut_out(corpus)
    assert {one: made[one] for one in made if "#" not in one} == {
        f"wav/{n}.wav": sounds[f"wav/{n}.wav"] for n in range(6)
    }
    assert [pitch_hz(made[f"wav/long.wav#t={n}.000,{n + 1}.000"]) for n in range(4)] == [300, 400, 500, 600]
    splits = {clip.split for clip in corpus.listing().clips if "#" in clip.id}
    assert len(splits) == 1  # one recording is one voice, as long as nobody says who speaks


def test_starts_and_ends_may_be_columns_of_a_table(tmp_path):
    table = lines("file,text,start,end", "a.wav,ett,0,1", "a.wav,två,1,2", "a.wav,tre,3,")
    corpus = opened(
        lay_out({"metadata.csv": table, "a.wav": encode_wav(pitches(300, 400, 500, 600))}, tmp_path / "own")
    )
    made = {clip.text: pitch_hz(samples) for clip, samples in cut(corpus.read(corpus.listing().clips), 30.0)}
    assert made == {"ett": 300, "två": 400, "tre": 600}


def test_a_part_beyond_the_end_or_of_no_length_is_rejected_with_its_reason(tmp_path):
    spans = [(0, 1), (3.5, 4.2), (3.5, 4.5), (7, 8), (2, 2), (3, 1), (-1, 1), ("0:01", 2), ("nan", 2)]
    corpus = opened(lay_out(segments("train", "anna", *spans) | others("dev", "test"), tmp_path / "own"))
    rejected = {one.clip: one.reason for one in corpus.listing().rejected}
    assert rejected == {
        **dict.fromkeys(("anna-4", "anna-5", "anna-6"), "no part of a recording"),
        **dict.fromkeys(("anna-7", "anna-8"), "malformed row"),
    }
    made = cut_out(corpus)
    assert [len(made[f"anna-{n}"]) for n in (0, 1)] == [16_000, 8_000]  # it may end 0.25 s too late
    for number in (2, 3):
        assert made[f"anna-{number}"].reason == "beyond the end"
        assert "of a recording of 4.00 s" in made[f"anna-{number}"].detail


def damaged(kind):
    sound = pitches(300, 400, 500, 600)
    if kind == "wav":
        return encode_wav(sound)[: 44 + 2 * 40_000]  # 2.5 s of 4
    whole = encode([sound], 16_000, *{"flac": ("flac", "flac"), "ogg": ("ogg", "libopus")}[kind])
    return whole[: len(whole) * 5 // 8]


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_of_a_recording_cut_short_the_parts_are_taken_that_are_all_there(tmp_path, kind):
    files = segments("train", "anna", (0, 1), (1, 2), (2, 3), (3, 4), (3, -1), sound=damaged(kind))
    made = cut_out(opened(lay_out(files | others("dev", "test"), tmp_path / "own")))
    whole = 1 if kind == "ogg" else 2  # its pages are of a second
    assert [pitch_hz(made[f"anna-{n}"]) for n in range(whole)] == [300, 400][:whole]
    for number in (2, 3, 4):
        assert made[f"anna-{number}"].reason == "undecodable"
        assert "cut short" in made[f"anna-{number}"].detail
        assert "what can be read ends at" in made[f"anna-{number}"].detail


def test_what_is_no_recording_costs_all_its_parts_by_its_own_reason(tmp_path):
    files = segments("train", "anna", (0, 1), (1, 2), sound=b"no sound at all, and longer than a head is")
    made = cut_out(opened(lay_out(files | others("dev", "test"), tmp_path / "own")))
    assert {made[f"anna-{n}"].reason for n in range(2)} == {"not audio"}


def test_a_recording_is_decoded_once_for_all_its_parts(tmp_path, monkeypatch):
    decoded = []
    real = sandbox.CLIPS.open
    monkeypatch.setattr(
        sandbox.CLIPS, "open", lambda *given, **more: decoded.append(1) or real(*given, **more)
    )
    files = segments("train", "anna", *((n / 10, n / 10 + 1) for n in range(30))) | others("dev", "test")
    assert len(cut_out(opened(lay_out(files, tmp_path / "own")))) == 32
    assert len(decoded) == 3


def test_a_part_longer_than_a_clip_may_be_is_rejected_and_not_read(tmp_path):
    files = segments("train", "anna", (0, 1), (0, 4)) | others("dev", "test")
    corpus = opened(lay_out(files, tmp_path / "own"))
    made = {clip.id: one for clip, one in cut(corpus.read(corpus.listing().clips), 2.0)}
    assert made["anna-1"] == RejectedClip(
        clip="anna-1", reason="too long", detail="want at most 2 s, found 4.00 s"
    )


def test_what_the_test_hears_in_part_is_not_in_train(tmp_path):
    rows = {"train": [(0, 1), (0.5, 1.5), (2, 3)], "dev": [(1.9, 2.5)], "test": [(1, 1.2), (3, 4)]}
    files = {
        f"{split}.json": json_lines(
            [{"audio_filepath": "a.wav", "text": f"{split} {n}", "offset": a, "duration": b - a}
             for n, (a, b) in enumerate(spans)])
        for split, spans in rows.items()
    }  # fmt: skip
    sound = encode_wav(pitches(300, 400, 500, 600))
    listing = opened(lay_out(files | {"a.wav": sound}, tmp_path / "own")).listing()
    assert {clip.text for clip in listing.clips} == {"train 0", "dev 0", "test 0", "test 1"}
    assert {one.reason for one in listing.rejected} == {"recording in another split"}
    assert "in train, and in part in dev as a.wav#t=1.900,2.500" in {one.detail for one in listing.rejected}


def test_the_same_recording_under_another_name_is_heard_in_part_too(tmp_path):
    files = segments("train", "anna", (0, 1), (2, 3)) | segments("test", "bo", (0.9, 1.5)) | others("dev")
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert {one.clip: one.reason for one in listing.rejected} == {"anna-0": "recording in another split"}


def test_the_whole_of_a_recording_is_not_in_train_where_parts_of_it_are_tested(tmp_path):
    files = {
        "train.csv": lines("file,text", "a.wav,allt", "b.wav,hej", "c.wav,du"),
        "test.csv": lines("file,text,start,end", "a.wav,ett,1,2", "a.wav,två,2,3"),
        "dev.csv": lines("file,text", "d.wav,där"),
        **{f"{one}.wav": wav(0.5, 200 + n) for n, one in enumerate("abcd")},
    }
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert {one.clip: one.reason for one in listing.rejected} == {"a.wav": "recording in another split"}


def test_a_segment_of_a_recording_that_nobody_lists_and_a_text_without_segment_are_rejected(tmp_path):
    files = segments("train", "anna", (0, 1), (1, 2)) | others("dev", "test")
    files["data/train/segments"] += lines("anna-2 other 0 1", "anna-3 anna-rec 1")
    files["data/train/text"] += lines("anna-2 hej", "anna-3 hej", "anna-9 hej")
    rejected = {
        one.clip: (one.reason, one.detail)
        for one in opened(lay_out(files, tmp_path / "own")).listing().rejected
    }
    assert rejected["anna-2"] == ("missing audio", "data/train/wav.scp has no line of other")
    assert rejected["anna-3"][0] == "malformed row"
    assert rejected["anna-9"] == ("missing audio", "segments has no line of it")


def test_commands_stay_unrun_for_segments_too(tmp_path):
    mark = tmp_path / "ran"
    files = segments("train", "anna", (0, 1)) | others("dev", "test", "eval")
    files["data/train/wav.scp"] = lines(f"anna-rec touch {mark} |")
    listing = opened(lay_out(files, tmp_path / "own")).listing()
    assert ("anna-0", "a command, not a file") in {(one.clip, one.reason) for one in listing.rejected}
    assert not mark.exists()


def test_ids_of_utterances_are_kaldis_own_and_sets_without_parts_have_the_name_they_had(tmp_path):
    """The fingerprint of a corpus without parts, as it was before parts were read."""
    files = kaldi("data/train", 0, 1) | kaldi("data/dev", 2) | kaldi("data/test", 3)
    packed = pack(files, tmp_path / "own.tar")
    corpus = opened(packed)
    assert {clip.id for clip in corpus.listing().clips} == {f"s{n}-u{n}" for n in range(4)}
    assert all(part_of(clip.audio) is None for clip in corpus.listing().clips)


def test_a_set_of_parts_is_prepared_whole_and_again_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    spans = [(n / 2, n / 2 + 1) for n in range(8)]
    files = segments("train", "anna", *spans) | others("dev", "test")
    corpus = opened(lay_out(files, tmp_path / "own"))
    made = []
    for name, threads in (("one", 1), ("two", 2)):
        store = open_store(str(tmp_path / name))
        config = PrepareConfig(shard_clips=3, max_bad_share=0.5)
        set_id = preparation.plan(store, corpus, "sv", config, "own")
        for number in preparation.pending(store, set_id):
            preparation.prepare_all(store, set_id, corpus, [number], threads=threads)
        made.append(preparation.complete(store, set_id))
    assert [one.sha256 for one in made[0].shards] == [one.sha256 for one in made[1].shards]
    assert made[0].rejected["beyond the end"].clips == 1
    assert {split: one.clips for split, one in made[0].splits.items()} == {"train": 7, "dev": 1, "test": 1}


@given(st.text("ab/.#t=0,1 ", min_size=1), st.floats(0, 1e5), st.floats(0.001, 1e4))
def test_an_address_tells_the_file_and_the_part_that_it_was_made_of(path, start_s, length_s):
    part = Part(path, round(start_s, 3), round(start_s + length_s, 3))
    again = part_of(str(part))
    assert (again.path, path_of(str(part))) == (path, path)
    assert (again.start_s, again.end_s) == pytest.approx((part.start_s, part.end_s), abs=0.0011)


@given(*[st.text("0123456789.:-einfa ", max_size=6)] * 3)
def test_a_span_is_seconds_in_order_or_a_reason(start, end, duration):
    with contextlib.suppress(ValueError):
        span = read_span(start.strip(), end.strip(), duration.strip())
        assert span is None or 0 <= span[0] < span[1]


def test_a_file_that_is_named_like_a_part_is_set_aside(tmp_path):
    files = {f"{n}.wav": wav(0.2, 200 + n) for n in range(4)} | {"a.wav#t=1.000,2.000": wav(0.3)}
    table = lines("file|text", *(f"{name}|hej {name}" for name in files))
    listing = opened(lay_out({"metadata.csv": table, **files}, tmp_path / "own")).listing()
    assert [one.reason for one in listing.rejected] == ["ambiguous audio"]
