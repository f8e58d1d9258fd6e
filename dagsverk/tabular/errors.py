"""Errors of the tabular family. Light: retry policies name them without loading a learning library."""

from __future__ import annotations

from collections.abc import Mapping


class SourceError(Exception):
    """The source as a whole cannot be used; nothing was written."""


class SourceUnavailable(SourceError):
    """The source did not answer; trying again may help."""


class TooManyBadRows(SourceError):
    """More rows failed the checks than the stated share; good rows were left as they were."""


class UntrainableRows(ValueError):
    """Rows that no champion can come from, however long is trained; the message names the columns."""


class InvalidInput(ValueError):
    """Values for one row that cannot be used; `problems` has a sentence per column."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{column}: {problem}" for column, problem in self.problems.items()))
