"""What people decide about a folder of recordings that is written down again and again. Light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dagsverk.addresses import SCHEMA, refuse_keys
from dagsverk.form import CLOSED
from dagsverk.speech.config import Count, published_model
from dagsverk.speech.model.decoded import Task
from dagsverk.speech.subtitles.formats import Format

Address = Annotated[str, Field(json_schema_extra=SCHEMA)]
FORMATS: tuple[Format, ...] = ("srt", "txt")  # if an output is named, and no format


@dataclass(frozen=True, kw_only=True)
class TranscriptionConfig:
    """Which recordings are written down, by which model, and where else their texts go."""

    __pydantic_config__ = CLOSED

    source: Address = ""  # a folder, or s3://bucket/prefix; empty: nothing is written down
    model: str = ""  # a hub name or folder: a Whisper as published; empty: the language's model in use
    task: Task = "transcribe"  # translate: into English
    words: bool = False  # keep when each word is spoken, too
    # what is done anew besides changed recordings: nothing, or all that another model has written
    redo: Literal["changed", "new_model"] = "changed"
    output: Address = ""  # a folder, or s3://bucket/prefix, for files such as talks/a.mp3.srt; empty: none
    formats: tuple[Format, ...] = ()  # of these files
    portion: Count = 50  # recordings of one task of the run

    def __post_init__(self) -> None:
        refuse_keys(self.source)
        refuse_keys(self.output)
        if self.model:
            published_model(self.model)
        if self.formats and not self.output:
            raise ValueError("formats are named and no output: name a folder or s3://bucket/prefix for them")

    @property
    def written_formats(self) -> tuple[Format, ...]:
        """Of the files that are written, none without an output."""
        return (self.formats or FORMATS) if self.output else ()

    @property
    def times_words(self) -> bool:
        """Whether the model is asked when each word is spoken: subtitles follow it, kept or not."""
        return self.words or bool(set(self.written_formats) - {"txt"})
