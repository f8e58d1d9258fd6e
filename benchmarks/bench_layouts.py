"""Corpora in the layouts in which others publish them, in every container: what comes out of each.

Run from the root: python benchmarks/bench_layouts.py [--clips 1000]

The layouts are those of the tests, made by hand from their own descriptions (four or nine clips), and cases
that must be refused. Each is opened from a folder, and from archives with a folder above the files. "Same"
says whether clips, splits, speakers and sounds are those of the folder. The second table is of one corpus of
many clips (a tone of 0.5 s each): seconds to list it, and to read every clip once, without decoding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from published_layouts import LAYOUTS, WITHOUT_SPLITS, kaldi, lines, sounds  # noqa: E402
from speech_clips import lay_out, pack, small_release, wav  # noqa: E402

from dagsverk.speech.config import CorpusConfig  # noqa: E402
from dagsverk.speech.corpora.opening import open_corpus  # noqa: E402
from dagsverk.speech.errors import CorpusError  # noqa: E402

Files = dict[str, bytes]
CONTAINERS = ("own.tar", "own.tar.gz", "own.tar.xz", "own.tar.zst", "own.zip")
PAIRS: Files = {f"b/{n}.txt": b"hej" for n in range(5)} | sounds(*(f"b/{n}.wav" for n in range(5)))
REFUSED: dict[str, Files] = {
    "two corpora: a release, and texts beside": small_release() | PAIRS,
    "two corpora: LJSpeech, and texts beside": {
        **{f"a/{path}": content for path, content in WITHOUT_SPLITS["LJSpeech"].items()},
        **PAIRS,
    },
    "two tables that are no splits": {
        "a.csv": lines("file,text", "1.wav,a"),
        "b.csv": lines("file,text", "1.wav,b"),
        **sounds("1.wav"),
    },
    "Kaldi with segments": kaldi("data/train", 0) | {"data/train/segments": lines("s0-u0 r 0.0 1.5")},
}


@dataclass(frozen=True)
class Came:
    """What came out of one corpus in one container."""

    clips: int
    rejected: int
    left_out: int
    splits: str
    content: object  # to compare
    took_s: float


def came(path: Path) -> Came:
    """Raises CorpusError."""
    start = time.perf_counter()
    corpus = open_corpus(CorpusConfig(source=str(path)), "sv")
    listing = corpus.listing()
    content = {(c.id, c.text, c.split, c.speaker): sound for c, sound in corpus.read(listing.clips)}
    counts = Counter(clip.split for clip in listing.clips)
    return Came(
        clips=len(listing.clips),
        rejected=len(listing.rejected),
        left_out=sum(listing.left_out.values()),
        splits=" / ".join(str(counts[split]) for split in ("train", "dev", "test")),
        content=content,
        took_s=time.perf_counter() - start,
    )


def in_containers(files: Files, folder: Path) -> list[tuple[str, Path]]:
    above = {f"own/{path}": content for path, content in files.items()}
    archives = [(name, pack(above, folder / name)) for name in CONTAINERS]
    return [("folder", lay_out(files, folder / "own")), *archives]


def in_new_folder(function: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        function(Path(folder))


def show_layout(name: str, files: Files) -> None:
    def show(folder: Path) -> None:
        everywhere = [came(path) for _, path in in_containers(files, folder)]
        first = everywhere[0]
        same = sum(one.content == first.content for one in everywhere)
        took_ms = max(one.took_s for one in everywhere) * 1000
        print(
            f"| {name} | {first.clips} | {first.rejected} | {first.left_out} | {first.splits} | "
            f"{same} of {len(everywhere)} | {took_ms:.0f} |"
        )

    in_new_folder(show)


def show_refused(name: str, files: Files) -> None:
    def show(folder: Path) -> None:
        words = set()
        for _, path in in_containers(files, folder):
            try:
                words.add(f"READ: {came(path).clips} clips")
            except CorpusError as error:
                shown = str(error).removeprefix(str(path)).replace("own/", "")
                words.add(shown.replace(str(folder), "").replace("|", "\\|"))
        print(f"| {name} | {sorted(words, key=len)[0]} | {len(words)} |")

    in_new_folder(show)


def show_speed(clips: int) -> None:
    def show(folder: Path) -> None:
        table = lines("file,text,speaker", *(f"clips/{n}.wav,hej {n},s{n % 50}" for n in range(clips)))
        files = {"metadata.csv": table, **{f"clips/{n}.wav": wav(0.5, 200 + n % 300) for n in range(clips)}}
        for name, path in in_containers(files, folder):
            start = time.perf_counter()
            corpus = open_corpus(CorpusConfig(source=str(path)), "sv")
            listing = corpus.listing()
            listed = time.perf_counter()
            assert sum(isinstance(sound, bytes) for _, sound in corpus.read(listing.clips)) == clips
            packed = [one for one in [path, *path.rglob("*")] if one.is_file()]
            size_mib = sum(one.stat().st_size for one in packed) / 2**20
            times = f"{listed - start:.2f} | {time.perf_counter() - listed:.2f}"
            print(f"| {name} | {size_mib:.1f} | {times} | {'one' if corpus.sequential else 'many'} |")

    in_new_folder(show)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000, help="of the corpus that is timed")
    asked = parser.parse_args()
    print("| layout | clips | rejected | left out | train / dev / test | same in | slowest, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, files in (LAYOUTS | WITHOUT_SPLITS).items():
        show_layout(name, files)
    print("\n| refused | what it says | ways of saying it |\n| --- | --- | ---: |")
    for name, files in REFUSED.items():
        show_refused(name, files)
    print(f"\n| {asked.clips:,} clips | MiB | list, s | read all, s | workers |")
    print("| --- | ---: | ---: | ---: | ---: |")
    show_speed(asked.clips)


if __name__ == "__main__":
    main()
