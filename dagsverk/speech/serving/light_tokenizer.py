"""A Whisper's tokenizer from its `tokenizer.json`, without `transformers`: a tenth of the time and memory.

It answers what `dagsverk.speech.model.tokens` asks. Light.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dagsverk.speech.errors import ModelError
from dagsverk.speech.model.tokens import END

FILE = "tokenizer.json"


class LightTokenizer:
    """Args: folder: with a `tokenizer.json`. Raises ModelError if it cannot be read or is no Whisper's."""

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library raises bare ones
            raise ModelError(f"cannot read the tokenizer {folder / FILE}: {error}") from error
        end = self._tokenizer.token_to_id(END)
        if end is None:
            raise ModelError(f"the tokenizer {folder / FILE} has no token {END}: it is no Whisper's")
        self.unk_token_id = int(end)  # as in Whisper's own
        self.vocab_size = int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, texts: Sequence[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in encoded]}

    def get_added_vocab(self) -> dict[str, int]:
        """Special tokens and timestamps, with their numbers."""
        return {token.content: int(i) for i, token in self._tokenizer.get_added_tokens_decoder().items()}

    def convert_tokens_to_ids(self, token: str) -> int:
        """The number of a token; of one that it lacks that of the end, as in Whisper's own."""
        number = self._tokenizer.token_to_id(token)
        return self.unk_token_id if number is None else int(number)

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each number; "" where there is none."""
        return [self._tokenizer.id_to_token(number) or "" for number in ids]
