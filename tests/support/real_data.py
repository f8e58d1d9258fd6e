"""Whisper's own weights and human voices, for those who have them: elsewhere such tests are skipped.

hf download openai/whisper-base --local-dir whisper-base
python benchmarks/get_prompts.py prompts
export DAGSVERK_TEST_WHISPER=$PWD/whisper-base DAGSVERK_TEST_PROMPTS=$PWD/prompts
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

WHISPER, PROMPTS = "DAGSVERK_TEST_WHISPER", "DAGSVERK_TEST_PROMPTS"
GET = {
    WHISPER: "hf download openai/whisper-base --local-dir whisper-base",
    PROMPTS: "python benchmarks/get_prompts.py prompts",
}
LACKING = [name for name in (WHISPER, PROMPTS) if not os.environ.get(name)]

needs_real_data = pytest.mark.skipif(
    bool(LACKING),
    reason="; ".join(f"{GET[name]}, and set {name} to that folder" for name in LACKING) or "there",
)


def weights() -> str:
    """The folder of the weights."""
    return str(Path(os.environ[WHISPER]).resolve())


def prompts(language: str) -> Path:
    """The folder of a language's prompts."""
    return (Path(os.environ[PROMPTS]) / language).resolve()
