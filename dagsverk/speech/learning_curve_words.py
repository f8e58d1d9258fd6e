"""What a language's learning curve says. Light."""

from __future__ import annotations

from dagsverk.learning_curve import CurveFit
from dagsverk.learning_curve_words import curve_table, foretold
from dagsverk.speech.learning_curve import SpeakersAgainstMinutes, SpeechCurve, Way
from dagsverk.words import counted, difference, percent_interval, table

FEWER: dict[Way, str] = {"clips": "With fewer clips of each speaker", "speakers": "With fewer speakers"}


def curve_sentences(report: SpeechCurve) -> list[str]:
    """What more recordings would bring, of each way that was measured; and speakers against minutes."""
    sentences = [way_sentence(way, fit) for way, fit in report.fits.items()]
    return [*sentences, *(against_words(one) for one in report.against[:1]), *report.notes]


def way_sentence(way: Way, fit: CurveFit) -> str:
    """What more would bring, by one of the two ways in which there were fewer."""
    sentence = foretold(fit, "the minutes", "word error rate", rate_words, points_words)
    return f"{FEWER[way]}: {sentence[:1].lower()}{sentence[1:]}"


def against_words(one: SpeakersAgainstMinutes) -> str:
    """At equal minutes, whether more speakers are better than more of each."""
    gain = one.gain
    value, low, high = gain.value or 0.0, gain.low or 0.0, gain.high or 0.0
    few, many = rate_words(one.wer_few), rate_words(one.wer_many)
    verdict = "more speakers help" if low > 0 else "fewer help" if high < 0 else "no difference is shown"
    return (
        f"At equal minutes ({one.audio_s / 60:.1f}), {one.speakers_few:.0f} speakers with all their clips "
        f"come to {few}, {one.speakers_many:.0f} with a part of theirs to {many}: "
        f"{difference(value, low, high)}, {verdict}."
    )


def curve_words(report: SpeechCurve) -> str:
    """All of the report, in Markdown."""
    pieces = curve_sentences(report)
    for way, fit in report.fits.items():
        pieces += [f"By {way}:", curve_table(fit, "minutes", "word error rate", lambda s: f"{s / 60:.1f}")]
    if report.against:
        rows = [
            (f"{one.share:.3g}", f"{one.audio_s / 60:.1f}",
             f"{one.speakers_few:.0f}: {rate_words(one.wer_few)}",
             f"{one.speakers_many:.0f}: {rate_words(one.wer_many)}",
             percent_interval(one.gain.value, one.gain.low, one.gain.high))
            for one in report.against
        ]  # fmt: skip
        heads = ("share", "minutes", "few speakers", "many speakers", "gain of many")
        pieces += ["Speakers against minutes:", table(heads, rows)]
    pieces.append(
        f"{report.model}, {report.steps} steps on all clips, as many {report.held} for each part; "
        f"{counted(report.seeds, 'training')} of each; "
        f"{counted(report.test_clips, 'test clip')} of {counted(report.test_speakers, 'named speaker')}, set "
        f"{report.set}. {report.seconds:.0f} s of training and scoring. Nothing was changed by this."
    )
    return "\n\n".join(pieces)


def rate_words(rate: float) -> str:
    """A rate or a difference of two: "8.1 %"."""
    return f"{100 * rate:.1f} %"


def points_words(change: float) -> str:
    """A difference of two rates: "1.2 points"."""
    return f"{100 * change:.1f} points"
