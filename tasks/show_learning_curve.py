"""What the steps of a learning curve leave in the Prefect UI."""

from __future__ import annotations

from dagsverk.speech.languages import Language
from dagsverk.speech.learning_curve import SpeechCurve
from dagsverk.speech.learning_curve_words import curve_words as speech_words
from dagsverk.tabular.learning_curve import TabularCurve
from dagsverk.tabular.learning_curve_words import curve_words
from tasks.show import markdown


def tabular_curve(system: str, report: TabularCurve) -> None:
    """Points, law, and what more rows would bring."""
    markdown(f"{system}-learning-curve", curve_words(report), "Learning curve: what more rows would bring")


def speech_curve(language: Language, report: SpeechCurve) -> None:
    """Points, laws, speakers against minutes."""
    what = "Learning curve: what more recordings would bring"
    markdown(f"{language.name}-learning-curve", speech_words(report), what)
