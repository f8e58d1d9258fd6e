"""One recording and its text -> a row of a shard, or the reason why it is rejected."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from dagsverk.speech.audio import sandbox, waveform
from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.config import MAX_LABEL_TOKENS, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, RejectedClip
from dagsverk.speech.corpora.text import clean_text
from dagsverk.speech.errors import AudioError, ModelError, ModelUnavailable
from dagsverk.speech.features import log_mel, shards
from dagsverk.speech.features.copies import Copies
from dagsverk.speech.features.cutting import Cut

Made: TypeAlias = dict[str, Any] | RejectedClip

COPY = "#copy"  # between a clip's id and the number of its changed copy
COPIES = "copies"  # beside the columns of a row: rows of its copies, or why one cannot be used
BYTES = 256  # each is a token of any Whisper
PROMPT_AND_END = 5  # start, language, task, no timestamps; and the end

_one_at_a_time = threading.Lock()  # tokenizers of Hugging Face refuse to be called by two threads at once


def make_row(clip: Clip, content: Cut, config: PrepareConfig, copying: Copies | None = None) -> Made:
    """Decode, check and transform one clip. Safe in threads; most of its time is spent outside the GIL.

    Args: copying: what makes changed copies of train's clips: they come with the row, under COPIES.
    Returns: a row of `shards.SCHEMA`; or why there is none: what the corpus said, "empty text",
        "text too long", or a reason of `waveform.read_samples` and `waveform.check`. Of several tracks the
        one in the clip's language is taken; a gap in time stamps is silence, as in serving.
    """
    (made,) = make_rows([(clip, content)], config, copying)
    return made


def make_rows(
    clips: Sequence[tuple[Clip, Cut]], config: PrepareConfig, copying: Copies | None = None
) -> Iterator[Made]:
    """What `make_row` makes of each, in less time: they are decoded together."""
    texts = [_texts(clip, content, config) for clip, content in clips]
    encoded = [
        (content, clip.language)
        for (clip, content), text in zip(clips, texts, strict=True)
        if isinstance(content, bytes) and not isinstance(text, RejectedClip)
    ]
    sounds = sandbox.CLIPS.read_many(encoded, max_s=config.max_clip_s)
    for (clip, content), text in zip(clips, texts, strict=True):
        if isinstance(text, RejectedClip):
            yield text
            continue
        # a part of a recording is decoded already
        sound = next(sounds) if isinstance(content, bytes) else cast(Audio, content)
        yield _row(clip, text, sound, config, copying)


def _texts(clip: Clip, content: Cut, config: PrepareConfig) -> tuple[str, str] | RejectedClip:
    """What is said and its translation, as they are kept."""
    if isinstance(content, RejectedClip):
        return content
    text, translation = clean_text(clip.text), clean_text(clip.translation)
    try:
        check_text(clip.text, text, translation, config.tokenizer)
    except AudioError as error:
        return _rejected(clip, error)
    return text, translation


def _row(
    clip: Clip,
    texts: tuple[str, str],
    sound: Audio | AudioError,
    config: PrepareConfig,
    copying: Copies | None,
) -> Made:
    if isinstance(sound, AudioError):
        return _rejected(clip, sound)
    row = _heard(clip, texts, sound, config)
    if isinstance(row, dict) and copying is not None and clip.split == "train":
        row[COPIES] = [
            _heard(replace(clip, id=f"{clip.id}{COPY}{number}"), texts, copy, config)
            for number, copy in copying.of(clip.id, sound)
        ]
    return row


def _heard(clip: Clip, texts: tuple[str, str], sound: Audio, config: PrepareConfig) -> Made:
    """The row of a sound that can be used."""
    try:
        waveform.check(
            sound,
            min_s=config.min_clip_s,
            max_s=config.max_clip_s,
            silence_dbfs=config.silence_dbfs,
            max_clipped_share=config.max_clipped_share,
        )
    except AudioError as error:
        return _rejected(clip, error)
    levels, peak = log_mel.quantise(log_mel.log_mel(sound, config.n_mels))
    text, translation = texts
    return {
        **vars(clip),  # asdict would copy each letter: it takes as long as the quantising
        "text": text,
        "translation": translation,
        "duration_s": len(sound) / waveform.SAMPLE_RATE_HZ,
        "frames": len(levels),
        "peak": peak,
        "mel": shards.pack(levels),
    }


def _rejected(clip: Clip, error: AudioError) -> RejectedClip:
    return RejectedClip(clip=clip.id, reason=error.reason, detail=error.detail)


def check_text(given: str, text: str, translation: str, tokenizer: str) -> None:
    """Raises AudioError: text is what is wrong, but it is counted in the same way."""
    if not text:
        raise AudioError("empty text", f"nothing to say is left of {given[:60]!r}")
    for written in (text, translation):
        room = MAX_LABEL_TOKENS - PROMPT_AND_END
        if len(written.encode()) > room and (tokens := _count_tokens(written, tokenizer)) > room:
            raise AudioError("text too long", f"want at most {room} tokens, found {tokens}")


def _count_tokens(text: str, tokenizer: str) -> int:
    """Only asked of long texts: Whisper's tokens are of one byte or more."""
    from dagsverk.speech.model.tokens import encode_text  # transformers: 3 s that most runs need not spend

    with _one_at_a_time:
        return len(encode_text(_tokenizer(tokenizer), text))


@functools.cache
def _tokenizer(name: str) -> Any:
    from huggingface_hub import hf_hub_download
    from transformers import WhisperTokenizer

    from dagsverk import hub
    from dagsverk.speech.model.tokens import build_byte_tokenizer

    if name == "nano":
        return build_byte_tokenizer()
    try:
        if not Path(name).is_dir():  # of files that it does not reach, transformers makes an empty tokenizer
            hf_hub_download(name, "tokenizer_config.json")
        tokenizer = WhisperTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        trouble = ModelUnavailable if hub.may_pass(error) else ModelError
        raise trouble(_no_tokenizer(name, str(error).splitlines()[0])) from error
    if len(tokenizer) < BYTES:
        raise ModelError(_no_tokenizer(name, f"its vocabulary has {len(tokenizer)} tokens"))
    return tokenizer


def _no_tokenizer(name: str, reason: str) -> str:
    return (
        f"cannot count the tokens of long texts: there is no Whisper tokenizer {name!r} ({reason}); name "
        "nano, a model of the Hugging Face Hub, or a folder"
    )
