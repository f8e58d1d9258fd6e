"""What a learning curve says, in sentences and tables of Markdown. Light."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dagsverk.learning_curve import CurveFit, Forecast
from dagsverk.words import interval, table

Say = Callable[[float], str]
SHARES_IN_WORDS = {
    0.0625: "a sixteenth of",
    0.125: "an eighth of",
    0.25: "a quarter of",
    0.5: "half of",
    1.0: "all",
}


def doubts_words(fit: CurveFit) -> str:
    """ "" where the curve is to be trusted; else why not."""
    return "; ".join(fit.doubts)


def foretold(fit: CurveFit, what: str, error: str, say: Say, say_gain: Say) -> str:
    """What twice the data would bring, in a sentence, or that it cannot be told.

    Args: what: the data, such as "the rows". error: what is measured. say: an error in words; say_gain: a
        difference of two.
    """
    first, last = fit.points[0], fit.points[-1]
    way = (
        f"{error[:1].upper()}{error[1:]} is {say(first.error)} with {share_words(first.share)} {what} and "
        f"{say(last.error)} with {share_words(last.share)} {what}."
    )
    if not fit.foretells:
        return f"{way} What more would bring cannot be told: {doubts_words(fit)}."
    if fit.flat:
        return (
            f"{way} That more would help is not shown: it falls no more than chance explains. Twice as much: "
            f"{gain_words(fit.forecasts[0], say_gain)}."
        )
    parts = [f"{times_words(one.times)} as much: {gain_words(one, say_gain)}" for one in fit.forecasts]
    return f"{way} By the law through {len(fit.points)} points, {'; '.join(parts)}."


def share_words(share: float) -> str:
    """ "an eighth of", "all": before "the rows"."""
    return SHARES_IN_WORDS.get(share, f"{share:.3g} of")


def times_words(times: float) -> str:
    """ "twice", "4 times"."""
    return "twice" if times == 2 else f"{times:g} times"


def gain_words(one: Forecast, say: Say) -> str:
    """ "a fall of 0.012 (0.004 to 0.021)"; where it may rise, so said."""
    ends = f"{say(one.gain_low)} to {say(one.gain_high)}"
    shown = "" if one.gain_low > 0 else ", which holds 0: not shown"
    return f"a fall of {say(one.gain)} ({ends}{shown})"


def curve_table(fit: CurveFit, size_title: str, error_title: str, say_size: Say) -> str:
    """A row for each point, and for what is foretold."""
    rows = [
        (f"{p.share:.3g}", say_size(p.size), interval(p.error, p.low, p.high, 4), str(p.runs))
        for p in fit.points
    ]
    rows += [
        (f"{f.times:g}, foretold", say_size(f.size), interval(f.error, f.low, f.high, 4), "–")
        for f in fit.forecasts
        if fit.trusted
    ]
    return table(("share", size_title, error_title, "fits"), rows)


def aside_words(set_aside: Mapping[str, str]) -> str:
    """A Markdown list of the shares without a point; "" where all have one."""
    return "\n".join(f"- no point of {share} of the data: {why}" for share, why in set_aside.items())
