"""What tables call their recordings, and where those are; what names of folders tell of splits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.speech.corpora.resolving import Recordings
from dagsverk.speech.corpora.splits import split_named, split_of_path
from dagsverk.speech.errors import CorpusError

# ------------------------------------------------------------------ paths of another machine


def files_of(*paths):
    return dict.fromkeys(paths)


@pytest.mark.parametrize(
    "stated, there, expected",
    [
        (["/d/x/wav/1.wav"], ["wav/1.wav"], ["wav/1.wav"]),
        (["D:\\x\\wav\\1.wav"], ["own/wav/1.wav"], ["own/wav/1.wav"]),
        (["data/wav/1.wav"], ["wav/1.wav"], ["wav/1.wav"]),  # of the folder above
        (["1.wav", "2.wav"], ["clips/1.wav", "clips/2.wav"], ["clips/1.wav", "clips/2.wav"]),
        (["1", "2"], ["wavs/1.wav", "wavs/2.flac"], ["wavs/1.wav", "wavs/2.flac"]),
        (["a/1.wav", "b/1.wav"], ["a/1.wav"], ["a/1.wav", "b/1.wav"]),  # what is missing gets no other one
        (["/d/a/1.wav", "/d/b/1.wav"], ["a/1.wav"], ["a/1.wav", "b/1.wav"]),
        (["/d/a/1.wav", "/d/../b/1.wav", "/e/2.wav"], ["a/1.wav"], ["a/1.wav", "", ""]),
        (["/d1/a/1.wav", "/d2/b/1.wav"], ["a/1.wav", "b/1.wav"], ["a/1.wav", "b/1.wav"]),
        (["anna/1.wav"], ["bo/1.wav"], ["anna/1.wav"]),
        (["../1.wav"], ["1.wav"], [""]),
        (["http://x/1.wav"], ["1.wav"], [""]),
        (["ljud/A\u030a.wav"], ["ljud/\u00c5.wav"], ["ljud/\u00c5.wav"]),
        (["/d/ljud/\u00c5.wav"], ["ljud/A\u030a.wav"], ["ljud/A\u030a.wav"]),
    ],
)
def test_recordings_are_found_by_what_a_table_calls_them(stated, there, expected):
    assert Recordings(files_of(*there), "own").resolve(stated, "")[0] == expected


@pytest.mark.parametrize(
    "stated, there", [("/d/wav/1.wav", ("a/wav/1.wav", "b/wav/1.wav")), ("1", ("1.wav", "1.mp3"))]
)
def test_a_name_that_may_mean_two_files_is_refused(stated, there):
    with pytest.raises(CorpusError, match=rf"'{stated}', which may be '{there[0]}' or '{there[1]}'"):
        Recordings(files_of(*there), "own").resolve([stated], "")


def test_a_table_may_name_what_lies_beside_its_folder():
    recordings = Recordings(files_of("wav/1.wav", "lists/train.csv"), "own")
    assert recordings.resolve(["../wav/1.wav"], "lists/")[0] == ["wav/1.wav"]
    assert recordings.resolve(["../../wav/1.wav"], "lists/")[0] == [""]


PART = st.sampled_from(["a", "b", "wav", "1.wav", "2.wav"])
PATHS = st.lists(PART, min_size=1, max_size=4).map("/".join)


@settings(max_examples=200)
@given(
    st.lists(PATHS, min_size=1, max_size=6),
    st.lists(PATHS, min_size=1, max_size=6),
    st.sampled_from(["", "/d/"]),
)
def test_no_two_names_of_a_table_ever_mean_one_recording(stated, there, start):
    names = [f"{start}{one}" for one in stated]
    try:
        paths, _ = Recordings(files_of(*there), "own").resolve(names, "")
    except CorpusError:
        return
    meant = {name: path for name, path in zip(names, paths, strict=True) if path in there}
    assert len(set(meant.values())) == len(meant)
    assert all(path.rpartition("/")[2] == name.rpartition("/")[2] for name, path in meant.items())


# ------------------------------------------------------------------ names of splits


@pytest.mark.parametrize(
    "name, split",
    [
        ("train", "train"), ("Validation", "dev"), ("train-clean-100", "train"), ("dev-other", "dev"),
        ("metadata_test", "test"), ("test2", "test"), ("eval92", "test"), ("train_dev", "dev"),
        ("train_no_dev", "train"), ("cv.valid", "dev"), ("validated", None), ("trainer", None), ("", None),
        ("contest", None), ("anna", None),
    ],
)  # fmt: skip
def test_a_name_tells_a_split_by_its_first_or_last_word(name, split):
    assert split_named(name) == split


def test_the_nearest_folder_tells_the_split():
    assert split_of_path("test/own/train/a/1.wav") == "train"
    assert split_of_path("own/test.wav") is None
