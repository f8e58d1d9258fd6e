"""What the steps of a learning curve leave in the Prefect UI."""

from __future__ import annotations

from dagsverk.tabular.learning_curve import TabularCurve
from dagsverk.tabular.learning_curve_words import curve_words
from tasks.show import markdown


def tabular_curve(system: str, report: TabularCurve) -> None:
    """Points, law, and what more rows would bring."""
    markdown(f"{system}-learning-curve", curve_words(report), "Learning curve: what more rows would bring")
