"""What the speech pages say with numbers: each sentence is made of what report and set say themselves.

Where nobody knows whether a voice of the test is in training, too, no sentence says that it is not.
"""

from __future__ import annotations

from dagsverk.speech.config import NANO
from dagsverk.speech.evaluation.report import EvaluationReport, Interval
from dagsverk.speech.languages import Language
from dagsverk.speech.registry.gate import cut_words
from dagsverk.speech.serving.stages import Transcribing
from dagsverk.speech.steps import Prepared, SplitCounts
from dagsverk.store import Model
from dagsverk.words import counted, number, voices
from ui.parts import last_part, percent
from ui.speech.parts import clock, seconds


def waiting(place: int = 0) -> str:
    """Of a recording that is not begun. Args: place: of its job in the queue; 0: it is in none."""
    if place < 2:
        return "Waiting for its turn" + (": it is the next one …" if place else " …")
    return f"Waiting for its turn: {counted(place - 1, 'recording')} before it …"


def progress(stage: Transcribing) -> str:
    """How much of a recording is written down, and how many minutes it may still take."""
    verb = "Written down" + " and put into English" * ("translate" in stage.tasks)
    left = round((stage.remaining_s or 0.0) / 60)
    minutes = f", about {counted(left, 'minute')} left" if left else ""
    return f"{verb}: {clock(stage.done_s)} of {clock(stage.total_s)}{minutes}"


def clips_and_voices(report: EvaluationReport) -> str:
    """ "71 clips of 8 voices", "59 clips of unnamed speakers", "9 clips (1 voice and 3 clips of ...)"."""
    clips, whose = counted(report.clips, "clip"), voices_of(report)
    mixed = report.speakers and report.clips_without_speaker
    return f"{clips} ({whose})" if mixed else f"{clips} of {whose}"


def voices_of(report: EvaluationReport) -> str:
    return voices(report.speakers, report.clips_without_speaker)


def new_voices(report: EvaluationReport, tested: Prepared | None) -> bool | None:
    """Whether no voice of the test is in training; None: nobody knows.

    Args: tested: the set that the report is of, where it is still there.
    """
    unnamed = report.clips_without_speaker or not report.speakers
    if unnamed or tested is None or tested.set != report.set or tested.heard_test_speakers is None:
        return None
    return tested.heard_test_speakers == 0


_NOVELTY = {
    True: "none of which it had heard in training",
    False: "some of which it had heard in training",
    None: "and it is not known whether it had heard these voices in training",
}


def promise(
    language: Language, model: Model, report: EvaluationReport | None, tested: Prepared | None
) -> str:
    """Which version transcribes, and how it did in its test; the latter only where the report is there."""
    words = f"Version {model.version} of the {language.title} model listens here. {nature(model)}"
    if report is None:
        return words
    wer = report.scores.normalised.wer
    words += f"Its test was of {clips_and_voices(report)}, {_NOVELTY[new_voices(report, tested)]}: "
    words += "there was nothing to score. " if wer.value is None else f"{error_rate(wer)}. "
    if model.info.get("run") and model.info.get("windows") == "full":
        words += "It is given 30 s at a time, for which it is better, and therefore takes longer. "
    none_new = new_sentences(report) if report.unseen and not report.unseen.clips else ""
    return words + none_new + cut_sentence(report)


def borrowed_model(language: Language, model: Model) -> str:
    """Which model as published writes a language that has none of its own."""
    name = last_part(str(model.info.get("base_model") or model.name), 60)
    return (
        f"{language.title} has no model of its own: {name} as published listens (version {model.version} of "
        f"{model.name}), which knows it and was not scored here. To get one: "
    )


def nature(model: Model) -> str:
    """What should be known of a model that is not what people expect; empty of a fine-tuned Whisper."""
    base = model.info.get("base_model")
    if base == NANO:
        return (
            "It is nano, which learnt from nothing and knows the kind of sentences of its corpus alone: try "
            "it with those; other speech comes out as nonsense. "
        )
    if base and not model.info.get("run"):
        return f"It is {last_part(base, 60)} as published; it was not trained here. "
    return ""


def error_rate(wer: Interval) -> str:
    """ "its word error rate was 8.1% (95% interval 6.6% to 9.7%)" """
    return f"its word error rate was {percent(wer.value, 1)} ({within(wer)})"


def within(wer: Interval) -> str:
    """The 95 % interval in words."""
    if wer.low is None or wer.high is None:
        return "no interval"
    return f"95% interval {percent(wer.low, 1)} to {percent(wer.high, 1)}"


def cut_sentence(report: EvaluationReport) -> str:
    return f"The test set is a cut: {cut_words(report.cut, report)}. " if report.cut else ""


def compared(report: EvaluationReport) -> str:
    """What the chart of models shows."""
    words = f"Word error rate on the same {clips_and_voices(report)}; {_whiskers(report)}. "
    words += "Normalised: case and punctuation do not count. "
    if report.scores.whisper:
        words += "The column by Whisper’s rules uses Whisper’s own normaliser, as most published figures do. "
    words += new_sentences(report)
    if report.empty_references:
        verb = "has no words in its reference and is" if report.empty_references == 1 else (
            "have no words in their references and are"
        )  # fmt: skip
        words += f"{counted(report.empty_references, 'clip')} {verb} not scored. "
    return (words + cut_sentence(report)).strip()


def new_sentences(report: EvaluationReport) -> str:
    """How many test clips say a sentence that is not read in training; "" where nobody knows."""
    unseen = report.unseen
    if unseen is None:
        return ""
    if not unseen.clips:
        return (
            "Every sentence of the test is read in training, too, or nearly: nothing is known of new "
            "sentences, and the rates may be too good. "
        )
    if unseen.clips == unseen.of:
        return "No sentence of the test is read in training. "
    verb = "says a sentence" if unseen.clips == 1 else "say sentences"
    return f"{counted(unseen.clips, 'clip')} of {unseen.of} {verb} not read in training. "


def _whiskers(report: EvaluationReport) -> str:
    wer = report.scores.normalised.wer
    if wer.value is None:
        return "there was nothing to score"
    if wer.low is None or wer.high is None:
        return "there are no intervals, for which one speaker is too few"
    if not report.speakers:
        return "whiskers are 95% intervals, clips being drawn, for their speakers are not named"
    unnamed = ", and each clip of an unnamed one" if report.clips_without_speaker else ""
    return f"whiskers are 95% intervals, speakers being drawn{unnamed}"


def learnt_from(split: SplitCounts | None) -> str:
    """What a tile says of the training split."""
    return f"{counted(split.clips, 'clip')}, {voices(split.speakers)}" if split else "not known"


def tested_on(report: EvaluationReport) -> str:
    """What a tile says of the test clips."""
    return f"{voices_of(report)}, {seconds(report.audio_s)}{', a cut' if report.cut else ''}"


def first_day(language: Language) -> str:
    return (
        f"A day of {language.title} prepares recordings, fine-tunes Whisper on some of them and scores it on "
        "others. Start one in the Prefect UI, or with this command: the page then fills."
    )


def suspicious(tested: Prepared) -> str:
    """What is said of suspicious texts as a whole."""
    if tested.suspicious is None:
        return "This set was prepared by a version that did not look at its texts."
    if not tested.suspicious:
        return f"Nothing odd was noticed in the texts of {counted(tested.clips, 'clip')}."
    return (
        "These may not be what is said in the clip. They are used all the same: listen to some, and mend the "
        "texts or leave them out where they are wrong. In the test set they make scores look worse or better "
        "than they are."
    )


def alike(tested: Prepared) -> str:
    """What is said of texts that are nearly the same."""
    if tested.near_texts is None:
        return "This set was prepared by a version that did not look for them."
    if not tested.near_texts:
        clips = counted(tested.clips, "clip")
        return f"No two texts of {clips} are the same but for spelling, numbers or a word."
    return (
        "They are the same but for spelling, numbers or one word of five and more. All are used; in dev and "
        "test those that train nearly has do not count as new sentences."
    )


def not_used(tested: Prepared, corpus: str) -> str:
    """How many clips of a corpus were set aside."""
    rejected = sum(tested.set_aside.values())
    if not rejected:
        return f"{counted(tested.clips, 'clip')} of {corpus}, and every one could be used."
    verb = "was" if rejected == 1 else "were"
    return f"{number(rejected)} of {counted(rejected + tested.clips, 'clip')} of {corpus} {verb} not used."
