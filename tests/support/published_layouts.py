"""Corpora in the layouts in which others publish them, by hand from their own descriptions: small synthetic
sounds, said to be `hej 0`, `hej 1` and so on."""

from __future__ import annotations

import functools
import json

from speech_clips import json_lines, row, table, wav


def lines(*rows: str) -> bytes:
    return "".join(f"{one}\n" for one in rows).encode()


@functools.cache
def sound(number: int) -> bytes:
    return wav(0.1, 200 + 10 * number)


def sounds(*paths: str) -> dict[str, bytes]:
    return {path: sound(number) for number, path in enumerate(paths)}


def kaldi(folder: str, *numbers: int, start: str = "") -> dict[str, bytes]:
    return {
        f"{folder}/wav.scp": lines(*(f"s{n}-u{n} {start}wav/{n}.wav" for n in numbers)),
        f"{folder}/text": lines(*(f"s{n}-u{n} hej {n}" for n in numbers)),
        f"{folder}/utt2spk": lines(*(f"s{n}-u{n} s{n}" for n in numbers)),
        **{f"wav/{n}.wav": sound(n) for n in numbers},
    }


def nemo(*numbers: int, folder: str = "/mnt/an4") -> bytes:
    rows = [{"audio_filepath": f"{folder}/wav/{n}.wav", "duration": 0.1, "text": f"hej {n}"} for n in numbers]
    return json_lines(rows)


def audiofolder(split: str, *numbers: int) -> dict[str, bytes]:
    names = [f"{n}.wav" for n in numbers]
    head = "file_name,transcription"
    return {
        f"{split}/metadata.csv": lines(head, *(f"{n}.wav,hej {n}" for n in numbers)),
        **{f"{split}/{name}": sound(n) for name, n in zip(names, numbers, strict=True)},
    }


def told(split: str, *numbers: int) -> list[tuple[str, str]]:
    return [(f"hej {n}", split) for n in numbers]


SPONTANEOUS = "client_id\taudio_id\taudio_file\tduration_ms\tprompt\ttranscription\tlanguage\tsplit"
LAYOUTS = {
    "a table, with the paths of splits": {
        "metadata.csv": lines("file,text", *(f"data/{s}/{n}.wav,hej {n}" for n, s in enumerate(
            ("train", "train", "dev", "test")))),
        **sounds("data/train/0.wav", "data/train/1.wav", "data/dev/2.wav", "data/test/3.wav"),
    },
    "Hugging Face AudioFolder": {
        **audiofolder("train", 0, 1), **audiofolder("validation", 2), **audiofolder("test", 3)},
    "Hugging Face AudioFolder below data": {
        f"data/{path}": content for path, content in (
            audiofolder("train", 0, 1) | audiofolder("validation", 2) | audiofolder("test", 3)).items()},
    "Hugging Face AudioFolder of JSON lines": {
        f"{s}/metadata.jsonl": json_lines([{"file_name": f"{n}.wav", "text": f"hej {n}"} for n in numbers])
        for s, numbers in (("train", (0, 1)), ("dev", (2,)), ("test", (3,)))
    } | sounds("train/0.wav", "train/1.wav", "dev/2.wav", "test/3.wav"),
    "folders of splits with texts beside": {
        f"{s}/{n}.{end}": sound(n) if end == "wav" else lines(f"hej {n}")
        for n, s in enumerate(("train", "train", "valid", "test")) for end in ("wav", "txt")
    },
    "a table for each split": {
        f"{s}.csv": lines("path,sentence", *(f"clips/{n}.wav,hej {n}" for n in numbers))
        for s, numbers in (("train", (0, 1)), ("dev", (2,)), ("test", (3,)))
    } | {"speakers.csv": lines("speaker,age", "a,30"), **sounds(*(f"clips/{n}.wav" for n in range(4)))},
    "Coqui: a table for each split beside that of all": {
        f"metadata{s}.csv": lines("audio_file|text|speaker_name",
                                  *(f'wavs/{n}.wav|hej {n}|anna{n}' for n in numbers))
        for s, numbers in (("", range(4)), ("_train", (0, 1)), ("_dev", (2,)), ("_test", (3,)))
    } | sounds(*(f"wavs/{n}.wav" for n in range(4))),
    "Kaldi": kaldi("data/train", 0, 1) | kaldi("data/dev", 2) | kaldi("data/test", 3),
    "Kaldi, on another machine": kaldi("data/train", 0, 1, start="/export/corpora/x/")
    | kaldi("data/dev", 2, start="/export/corpora/x/") | kaldi("data/test", 3, start="/export/corpora/x/"),
    "NeMo": {
        "train_manifest.json": nemo(0, 1), "dev_manifest.json": nemo(2), "test_manifest.json": nemo(3),
        **sounds(*(f"wav/{n}.wav" for n in range(4))),
    },
    "LibriSpeech": {
        f"LibriSpeech/{s}/{n}/7/{n}-7.trans.txt": lines(f"{n}-7-0000 hej {n}")
        for n, s in enumerate(("train-clean-100", "train-other-500", "dev-clean", "test-other"))
    } | sounds(*(f"LibriSpeech/{s}/{n}/7/{n}-7-0000.flac" for n, s in enumerate(
        ("train-clean-100", "train-other-500", "dev-clean", "test-other")))),
    "Multilingual LibriSpeech": {
        f"{s}/transcripts.txt": lines(*(f"{n}_9_000000\thej {n}" for n in numbers))
        for s, numbers in (("train", (0, 1)), ("dev", (2,)), ("test", (3,)))
    } | sounds(*(f"{s}/audio/{n}/9/{n}_9_000000.flac" for n, s in enumerate(
        ("train", "train", "dev", "test")))),
    "Common Voice, spontaneous": {
        "ss-corpus-sv.tsv": lines(SPONTANEOUS, *(
            f"c{n}\t{n}\tspontaneous-speech-sv-{n}.mp3\t100\tVad?\thej {n}\tsv\t{s}"
            for n, s in enumerate(("train", "train", "dev", "test"))), "c9\t9\tx9.mp3\t100\tVad?\t\tsv\t"),
        "ss-reported-audios-sv.tsv": lines("audio_id\taudio_file\treason", "0\tx.mp3\tx"),
        **sounds(*(f"audios/spontaneous-speech-sv-{n}.mp3" for n in range(4)), "audios/x9.mp3"),
    },
    "a manifest that is a list": {
        f"{s}.json": json.dumps([{"audio": f"wav/{n}.wav", "text": f"hej {n}"} for n in numbers]).encode()
        for s, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,)))
    } | sounds(*(f"wav/{n}.wav" for n in range(4))),
}  # fmt: skip
WITHOUT_SPLITS = {
    "LJSpeech": {
        "metadata.csv": lines(*(f'LJ001-000{n}|hej {n}|hej "siffra' for n in range(9))),
        "README": b"LJSpeech is a public domain speech dataset",
        **sounds(*(f"wavs/LJ001-000{n}.wav" for n in range(9))),
    },
    "Piper": {
        "metadata.csv": lines(*(f"{n}|hej {n}" for n in range(9))),
        **sounds(*(f"wav/{n}.wav" for n in range(9))),
    },
    "Piper with speakers": {
        "metadata.csv": lines(*(f"{n}|speaker{n % 3}|hej {n}" for n in range(9))),
        **sounds(*(f"wavs/{n}.wav" for n in range(9))),
    },
    "VITS": {
        "filelists/all_filelist.txt": lines(*(f"DUMMY/{n}.wav|hej {n}" for n in range(9))),
        **sounds(*(f"DUMMY/{n}.wav" for n in range(9))),
    },
    "M-AILABS": {
        f"by_book/female/{who}/book/{path}": content
        for who, numbers in (("karen", (0, 1, 2, 3)), ("ramona", (4, 5, 6, 7, 8)))
        for path, content in {
            "metadata.csv": lines(*(f"b_{n}|hej {n}|hej {n}" for n in numbers)),
            **{f"wavs/b_{n}.wav": sound(n) for n in numbers},
        }.items()
    },
    "VCTK": {
        **{f"txt/p{n}/p{n}_001.txt": lines(f"hej {n}") for n in range(9)},
        **sounds(*(f"wav48/p{n}/p{n}_001.wav" for n in range(9))),
        "speaker-info.txt": b"ID AGE GENDER",
    },
    "OpenSLR": {
        "line_index.tsv": lines(*(f"x_0{n}\thej {n}" for n in range(9))),
        **sounds(*(f"x_0{n}.wav" for n in range(9))),
    },
    "texts of an aligner": {f"a/{n}.lab": lines(f"hej {n}") for n in range(9)}
    | sounds(*(f"a/{n}.wav" for n in range(9))),
    "Common Voice without splits": {
        "sv-SE/validated.tsv": table([row(f"c{n}", n, f"hej {n}") for n in range(9)]),
        "sv-SE/other.tsv": table([row("d", 9, "inte hej")]),
        "sv-SE/invalidated.tsv": table([row("d", 8, "inte hej")]),
        **sounds(*(f"sv-SE/clips/common_voice_sv-SE_{n}.mp3" for n in range(10))),
    },
    "our recorder, two who record": {
        f"{who}/{path}": content
        for who, numbers in (("anna", range(4)), ("bo", range(4, 9)))
        for path, content in {
            "metadata.jsonl": json_lines(
                [{"file_name": f"clips/{n}.wav", "text": f"hej {n}", "language": "sv", "speaker": who}
                 for n in numbers]),
            **{f"clips/{n}.wav": sound(n) for n in numbers},
        }.items()
    },
}  # fmt: skip
