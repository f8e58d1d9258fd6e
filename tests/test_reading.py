"""Nothing but a regular file below the folder is ever read, whatever its names stand for."""

import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk import reading
from dagsverk.reading import Below, NotRegular, TooLarge, open_regular, read_at_most


@pytest.fixture
def folder(tmp_path):
    """A folder beside a secret."""
    (tmp_path / "secret").write_bytes(b"secret")
    top = tmp_path / "corpus"
    (top / "clips").mkdir(parents=True)
    (top / "clips" / "1.wav").write_bytes(b"sound")
    return top


def link(folder, name, target):
    (folder / name).symlink_to(target)
    return name


def pipe(folder, name="pipe"):
    os.mkfifo(folder / name)
    return name


def plug(folder, name="socket"):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / name))
    return name


HOSTILE = {
    "a device": lambda f: link(f, "x", "/dev/zero"),
    "a pipe": pipe,
    "a link to a pipe": lambda f: link(f, "x", pipe(f)),
    "a socket": plug,
    "a link out": lambda f: link(f, "x", "../secret"),
    "a whole path out": lambda f: link(f, "x", f.parent / "secret"),
    "a link to a key": lambda f: link(f, "x", "/etc/passwd"),
    "a link to what a process knows": lambda f: link(f, "x", "/proc/self/environ"),
    "a linked folder": lambda f: f"{link(f, 'x', '..')}/secret",
    "a folder linked from afar": lambda f: f"{link(f, 'x', f.parent)}/secret",
    "a chain of links": lambda f: link(f, "x", link(f, "y", link(f, "z", "../secret"))),
    "a circle of links": lambda f: link(f, "x", link(f, "y", "x")),
    "two dots": lambda f: "../secret",  # noqa: ARG005
    "two dots further down": lambda f: "clips/../../secret",  # noqa: ARG005
    "two dots in a link": lambda f: link(f, "x", "clips/../../secret"),
    "a neighbour with the folder's name in front": lambda f: link(
        f, "x", f"{(f.parent / 'corpus-secret').write_bytes(b'secret') and f}-secret"
    ),
    "a folder": lambda f: "clips",  # noqa: ARG005
    "the folder itself": lambda f: ".",  # noqa: ARG005
    "what lies below a file": lambda f: "clips/1.wav/../1.wav",  # noqa: ARG005
    "very deep": lambda f: "clips/" + "../clips/" * 10 + "x/" * 300,  # noqa: ARG005
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_regular_file_below_the_folder_is_refused_and_nothing_hangs(folder, make):
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises((NotRegular, FileNotFoundError)):
        Below(folder).read(make(folder), 100)
    assert set(Path("/proc/self/fd").iterdir()) <= before  # and no folder is left open


@pytest.mark.parametrize(
    "target", ["clips/1.wav", "./clips/../clips/1.wav", "{folder}/clips/1.wav"], ids=["near", "dots", "whole"]
)
def test_a_link_to_a_file_of_the_same_folder_is_followed(folder, target):
    link(folder, "x", target.format(folder=folder))
    assert Below(folder).read("x", 100) == b"sound"


def test_the_folder_itself_may_be_named_through_a_link(folder):
    near = folder.parent / "near"
    near.symlink_to(folder)
    assert Below(near).read("clips/1.wav", 100) == b"sound"


@pytest.mark.parametrize("swap", ["pipe", "device", "link out"])
def test_what_is_swapped_between_look_and_open_is_refused(folder, monkeypatch, swap):
    path, looked = folder / "clips" / "1.wav", reading._look

    def look_then_swap(name, above):
        seen = looked(name, above)
        if stat.S_ISREG(seen.st_mode):
            path.unlink()
            if swap == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to("/dev/zero" if swap == "device" else "../../secret")
        return seen

    monkeypatch.setattr(reading, "_look", look_then_swap)
    with pytest.raises((NotRegular, OSError)):
        Below(folder).read("clips/1.wav", 100)


def test_a_folder_that_is_swapped_for_a_link_again_and_again_never_leads_out(folder):
    """The race as an attacker runs it: `clips` is a folder and a link out by turns."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "1.wav").write_bytes(b"secret")
    (folder / "link").symlink_to(outside)
    over = threading.Event()

    def swap():
        while not over.is_set():
            for away, here in (("clips", "kept"), ("link", "clips"), ("clips", "link"), ("kept", "clips")):
                (folder / away).rename(folder / here)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        contents = set()
        for _ in range(2000):
            try:
                contents.add(Below(folder).read("clips/1.wav", 100))
            except (NotRegular, OSError):
                contents.add(None)
    finally:
        over.set()
        attacker.join()
    assert b"secret" not in contents


NAMES = st.sampled_from(["..", ".", "", "a", "b", "up", "out", "root", "file", "secret", "in", "nul\0"])


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, max_size=12), st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=5)), max_size=4))
def test_no_name_and_no_links_lead_out_of_the_folder(tmp_path_factory, path, links):
    top = tmp_path_factory.mktemp("tree")
    for place in (top, top / "corpus", top / "corpus" / "a", top / "corpus" / "a" / "b"):
        place.mkdir(exist_ok=True)
        (place / "secret").write_bytes(b"secret" if place == top else b"inside")
    for number, (name, target) in enumerate(links):
        whole = f"{top}/corpus/" if number % 2 else ""
        where = top / "corpus" / (name.strip(".\0") or "x")
        if not where.is_symlink() and not where.exists():
            where.symlink_to((whole + "/".join(target)).replace("\0", "") or ".")
    with contextlib.suppress(NotRegular, OSError):  # refused: as good
        assert Below(top / "corpus").read("/".join(path), 100) == b"inside"


def test_a_file_that_is_larger_than_expected_is_not_read_to_its_end(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 101)
    with open_regular(tmp_path / "large") as file, pytest.raises(TooLarge, match="more than 100 bytes"):
        read_at_most(file, 100)
    with open_regular(tmp_path / "large") as file:
        assert len(read_at_most(file, 101)) == 101


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_a_path_that_the_user_names_must_be_a_regular_file(path):
    with pytest.raises(NotRegular, match=r"a device|a folder"):
        open_regular(Path(path))
