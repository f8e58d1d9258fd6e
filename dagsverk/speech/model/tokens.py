"""Whisper's tokens: the prompt that says language and task, labels, and a byte-level tokenizer of our own.

A label is what the decoder learns to write: prompt, text, end. Source of the tokens' names and order:
openai/whisper, `tokenizer.py`. Light: the library that tokenizes is loaded where a tokenizer is built.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagsverk.speech.config import MAX_LABEL_TOKENS
from dagsverk.speech.errors import ModelError
from dagsverk.speech.languages import LANGUAGES, token_code
from dagsverk.speech.model.decoded import Task

if TYPE_CHECKING:
    from transformers import AddedToken, WhisperTokenizer

END = "<|endoftext|>"
START = "<|startoftranscript|>"
BEFORE = "<|startofprev|>"
NO_TIMESTAMPS = "<|notimestamps|>"
BYTES = 256  # the vocabulary of the byte tokenizer, special tokens aside
TIMESTAMP_STEP_S = 0.02
TIMESTAMPS = 1501  # from 0.00 to 30.00 s

_SPECIAL = re.compile(r"<\|.*\|>", re.DOTALL)
_INSIDE_SPECIAL = re.compile(r"(?<=<)(?=\|)")  # every special token begins with "<|"


def build_byte_tokenizer() -> WhisperTokenizer:
    """A tokenizer with one token per byte of UTF-8 (its id is the byte), and all of Whisper's special tokens.

    Nothing is learnt or downloaded; any text is written and read back unchanged. A WhisperTokenizer as those
    of the published models, so what works with them works with it.
    """
    from transformers import AddedToken, WhisperTokenizer

    tokenizer = WhisperTokenizer(
        vocab={character: byte for byte, character in enumerate(_byte_characters())},
        merges=[],
        pad_token=END,
        extra_special_tokens=[_special(token) for token in special_tokens()[1:]],
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_LABEL_TOKENS,
    )
    tokenizer.add_tokens(  # as in the published tokenizers not "special": decoding knows them by their id
        [
            AddedToken(f"<|{step * TIMESTAMP_STEP_S:.2f}|>", normalized=False, special=False)
            for step in range(TIMESTAMPS)
        ]
    )
    return tokenizer


def special_tokens() -> list[str]:
    """Whisper's special tokens, timestamps aside, in the order of their ids."""
    languages = [f"<|{code}|>" for code in LANGUAGES]
    tasks = ["<|translate|>", "<|transcribe|>"]
    others = ["<|startoflm|>", BEFORE, "<|nospeech|>", NO_TIMESTAMPS]
    return [END, START, *languages, *tasks, *others]


def prompt(tokenizer: Any, language: str, task: Task = "transcribe") -> list[int]:
    """The tokens that tell the decoder what to write: start, language, task, no timestamps.

    Args: language: its code, such as "sv"; "rm_as_it" is told by the token of Italian.
    Raises: ModelError if the tokenizer lacks one of them: the model is English-only, or too old.
    """
    spoken = f"<|{token_code(language)}|>"
    return [_token_id(tokenizer, token) for token in (START, spoken, f"<|{task}|>", NO_TIMESTAMPS)]


def previous(tokenizer: Any, text: str, most: int) -> list[int]:
    """The tokens that tell the decoder what was written before: its topic, names, spelling. They come before
    `prompt`.

    Args: most: tokens; of a longer text the end counts.
    Returns: nothing for an empty text. Raises: ModelError if the tokenizer lacks <|startofprev|>.
    """
    if not text.strip() or most < 2:
        return []
    return [_token_id(tokenizer, BEFORE), *encode_text(tokenizer, _led(tokenizer, text))[1 - most :]]


def language_ids(tokenizer: Any) -> dict[str, int]:
    """The token of each language that the tokenizer knows, by Whisper's code."""
    ids = {code: int(tokenizer.convert_tokens_to_ids(f"<|{code}|>")) for code in LANGUAGES}
    return {code: number for code, number in ids.items() if number != tokenizer.unk_token_id}


def special_ids(tokenizer: Any) -> set[int]:
    """Tokens that are no text: special ones and timestamps, the end aside."""
    added = tokenizer.get_added_vocab().items()
    return {number for token, number in added if _SPECIAL.fullmatch(token) and token != END}


def end_id(tokenizer: Any) -> int:
    """The token that ends a text. Those of text come before it, special ones and timestamps after it."""
    return _token_id(tokenizer, END)


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Each text's tokens and no others: a "<|sv|>" that someone wrote into a text stays mere characters."""
    pieces = [_INSIDE_SPECIAL.split(text) for text in texts]
    flat = list(itertools.chain.from_iterable(pieces))
    encoded = iter(tokenizer(flat, add_special_tokens=False)["input_ids"] if flat else [])
    return [list(itertools.chain.from_iterable(itertools.islice(encoded, len(parts)))) for parts in pieces]


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """`encode_texts`, of one text."""
    return encode_texts(tokenizer, [text])[0]


def labels(tokenizer: Any, language: str, task: Task, texts: Sequence[str]) -> list[list[int]]:
    """Prompt, text, end, of each text: what the decoder reads and writes. May be longer than it can hold.

    For the published models a text begins with a space, as it did when they were trained.
    """
    start, end = prompt(tokenizer, language, task), end_id(tokenizer)
    encoded = encode_texts(tokenizer, [_led(tokenizer, text) for text in texts])
    return [[*start, *tokens, end] for tokens in encoded]


def decode_text(tokenizer: Any, ids: list[int]) -> str:
    """The text in a decoder's output, without special tokens and timestamps.

    Bytes that are not of UTF-8 are left out: a character of several tokens may be cut off where a text is
    stopped at its limit, and a weak model writes halves of characters anywhere.
    """
    # not `tokenizer.decode`: that also removes what merely looks like a timestamp from the text
    end = end_id(tokenizer)
    return b"".join(token_bytes(tokenizer, [token for token in ids if token < end])).decode(errors="ignore")


def token_bytes(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """The bytes of text in each token: whole characters only where they are put together."""
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    return [bytes(_BYTES[character] for character in piece) for piece in pieces]


def _led(tokenizer: Any, text: str) -> str:
    """As a text begins: with a space, for the published models."""
    return ("" if tokenizer.vocab_size == BYTES else " ") + text.strip()


def _token_id(tokenizer: Any, token: str) -> int:
    number = int(tokenizer.convert_tokens_to_ids(token))
    if number == tokenizer.unk_token_id and token != END:
        raise ModelError(
            f"the model's tokenizer has no token {token}; it is English-only or does not know the language: "
            "take a multilingual Whisper (large-v3 for yue), such as openai/whisper-small"
        )
    return number


def _special(token: str) -> AddedToken:
    from transformers import AddedToken

    return AddedToken(token, normalized=False, special=True)


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level tokenizers (GPT-2's table)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = itertools.count(256)
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


_BYTES = {character: byte for byte, character in enumerate(_byte_characters())}
