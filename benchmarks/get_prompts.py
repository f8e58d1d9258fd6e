"""Human telephone prompts with their texts, from Debian's packages, as `bench_real.py` wants them.

    python benchmarks/get_prompts.py FOLDER [it en fr es ru]

makes FOLDER/it/clips/*.wav and FOLDER/it/metadata.jsonl, and so on: one voice each, about 20 minutes, 8 kHz.
Texts are as they were published: directions in brackets, "?" where an accent was lost, three dots. The
recordings have licences of their own (see the packages), and are no part of this project. Wants apt-get and
dpkg; each language is a download of 20 to 40 MB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

LANGUAGES = ("it", "en", "fr", "es", "ru")


def get(language: str, folder: Path) -> int:
    """Fetch and lay out one language. Returns how many clips there are."""
    with tempfile.TemporaryDirectory(prefix="prompts-") as temporary:
        work = Path(temporary)
        package = f"asterisk-core-sounds-{language}"
        subprocess.run(["apt-get", "download", "-qq", package, f"{package}-wav"], cwd=work, check=True)
        for file in work.glob("*.deb"):
            subprocess.run(["dpkg", "-x", file, work / "unpacked"], check=True)
        sounds = (work / "unpacked/usr/share/asterisk/sounds").iterdir()
        voice = next(path for path in sounds if path.is_dir() and not path.is_symlink())
        texts = next((work / "unpacked/usr/share/doc").rglob("core-sounds-*.txt*"))
        (folder / "clips").mkdir(parents=True)
        rows = [_lay(folder, voice, recording, text) for recording, text in _spoken(voice, texts)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(rows)


def _spoken(voice: Path, texts: Path) -> Iterator[tuple[Path, str]]:
    """Each recording that is there, once, and what is said in it."""
    data = gzip.decompress(texts.read_bytes()) if texts.suffix == ".gz" else texts.read_bytes()
    seen: set[Path] = set()
    for line in data.decode("utf-8-sig", errors="replace").splitlines():
        name, colon, text = line.partition(":")
        recording = voice / f"{name.strip()}.wav"
        if colon and not line.startswith(";") and recording.is_file() and recording not in seen:
            seen.add(recording)
            yield recording, text.strip()


def _lay(folder: Path, voice: Path, recording: Path, text: str) -> dict[str, str]:
    name = "_".join(recording.relative_to(voice).parts)
    shutil.copy(recording, folder / "clips" / name)
    return {"file": f"clips/{name}", "text": text, "speaker": voice.name.split("_")[-1].lower()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES))
    arguments = parser.parse_args(argv)
    for language in arguments.languages:
        if (arguments.folder / language / "metadata.jsonl").exists():
            continue
        print(f"{language}: {get(language, arguments.folder / language)} clips", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
