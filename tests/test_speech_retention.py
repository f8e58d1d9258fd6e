"""What a published model knew before training is measured after it, and English is offered where it holds."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, sounds, taught_model

from dagsverk.records import parse, plain
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.evaluation import retained as retaining
from dagsverk.speech.evaluation.chrf import chrf, chrf_counts
from dagsverk.speech.evaluation.forgetting import english_holds, forgetting_checks
from dagsverk.speech.evaluation.report import Interval, OtherLanguage, Retention, Stamps, Timestamps
from dagsverk.speech.evaluation.retained import retained
from dagsverk.speech.evaluation.retention import draw, other_language, sentences, timestamps, translation
from dagsverk.speech.languages import language
from dagsverk.speech.model.timestamps import Stamped, decode_with_timestamps, read_stamps
from dagsverk.speech.model.tokens import NO_TIMESTAMPS, encode_text, end_id
from dagsverk.speech.registry import knew_before
from dagsverk.speech.serving.service import why_no_english
from dagsverk.store import open_store
from ui.speech import knew_before as page_part
from ui.speech.parts import gap

CONFIG = EvaluationConfig(resamples=100, min_group_clips=3, worst=4)


def rows(*texts, references=None, speakers=None):
    names = [f"clip{i}" for i in range(len(texts))]
    return pd.DataFrame(
        {
            "id": names,
            "text": list(texts),
            "translation": list(references or [""] * len(texts)),
            "speaker": list(speakers or names),
        }
    )


@pytest.mark.parametrize(
    "text, reference, expected",  # as sacrebleu 2.6.0 has them
    [
        ("Activated.", "Activated.", 100.0),
        ("Attivato.", "Activated.", 33.669094632064315),
        ("abc", "abd", 38.888888888888886),
        ("", "abc", 0.0),
        ("a", "abcdefg", 17.241379310344822),
    ],
)
def test_chrf_is_that_of_the_field(text, reference, expected):
    assert 100 * chrf(chrf_counts([text], [reference])[0]) == pytest.approx(expected)


def test_chrf_of_several_clips_is_of_their_sums_and_of_no_reference_unknown():
    counts = chrf_counts(["The cat sat on the mat.", "Hello"], ["The cat is on the mat", "Hello there"])
    assert 100 * chrf(counts.sum(0)) == pytest.approx(54.27424829151823)
    assert np.isnan(chrf(chrf_counts(["something"], [""])[0]))


def test_clips_are_drawn_of_as_many_speakers_as_there_are_and_always_the_same():
    table = rows(*"abcdefghij", speakers=["anna"] * 7 + ["bo"] * 2 + ["cia"])
    drawn = draw(table, 4)
    assert sorted({table["speaker"][i] for i in drawn}) == ["anna", "bo", "cia"]
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    assert {shuffled["id"][i] for i in draw(shuffled, 4)} == {table["id"][i] for i in drawn}
    assert draw(table, 100) == list(range(10))


SPOKEN = ["La chiamata non è andata a buon fine.", "Attivato.", "Inserire il numero.", "ottanta"]
WRITTEN = ["The call has not been completed.", "Activated.", "Please insert the number.", "80"]


def test_texts_that_stay_in_the_language_spoken_are_counted_and_end_the_offer():
    kept = translation(rows(*SPOKEN), WRITTEN, WRITTEN, "it", CONFIG)
    assert (kept.after.english, kept.after.spoken, kept.agreement.value) == (2, 0, 1.0)
    assert english_holds(kept)[0]
    lost = translation(rows(*SPOKEN), WRITTEN, SPOKEN, "it", CONFIG)
    assert (lost.after.english, lost.after.spoken, lost.before.spoken) == (0, 4, 0)
    offered, why = english_holds(lost)
    assert not offered
    assert "too many stay untranslated" in why


def test_names_and_numbers_that_are_the_same_in_both_languages_are_no_failure():
    same = translation(rows("Roma.", "slash"), ["Roma.", "slash"], ["Roma.", "Slash!"], "it", CONFIG)
    assert same.after.spoken == 0


def test_empty_texts_and_loops_end_the_offer():
    empty = translation(rows(*SPOKEN), WRITTEN, ["", "", *WRITTEN[2:]], "it", CONFIG)
    assert (empty.after.empty, empty.missing_change.value) == (2, 0.5)
    assert not english_holds(empty)[0]
    looping = translation(rows(*SPOKEN), WRITTEN, ["the " * 30, *WRITTEN[1:]], "it", CONFIG)
    assert looping.after.loops == 1
    assert "too many loop" in english_holds(looping)[1]


@pytest.mark.parametrize("clips, speakers, offered", [(10, 10, True), (200, 200, False), (10, 1, False)])
def test_a_few_texts_that_stay_untranslated_may_be_chance_where_that_can_be_told(clips, speakers, offered):
    spoken = [f"La chiamata numero {i} non riuscita" for i in range(clips)]
    before = [f"The call with number {i} has failed" for i in range(clips)]
    after = [text if i % 10 else spoken[i] for i, text in enumerate(before)]
    table = rows(*spoken, speakers=[f"voice {i % speakers}" for i in range(clips)])
    kept = translation(table, before, after, "it", CONFIG)
    assert kept.missing_change.value == pytest.approx(0.1)
    assert english_holds(kept)[0] is offered


def test_english_is_asked_of_sentences_alone():
    assert sentences(rows("uno", "Non è qui!", "due parole"), "it") == [1]


def test_where_the_corpus_has_translations_a_model_may_say_it_otherwise_than_before():
    references = ["The call failed.", "Activated.", "Enter the number.", "eighty"]
    table = rows(*SPOKEN, references=references)
    better = translation(table, WRITTEN, references, "it", CONFIG)
    assert better.after.chrf.value == 1.0
    assert better.change.value > 0.2
    assert better.change.low is not None
    assert english_holds(better)[0]
    worse = translation(table, references, ["Nobody was there."] * 4, "it", CONFIG)
    offered, why = english_holds(worse)
    assert not offered
    assert "worse than before training" in why


def test_a_model_that_learnt_to_translate_here_is_judged_by_the_translations_alone():
    table = rows(*SPOKEN, references=WRITTEN)
    assert english_holds(translation(table, SPOKEN, WRITTEN, "it", CONFIG), able_before=False)[0]
    assert not english_holds(translation(table, SPOKEN, SPOKEN, "it", CONFIG), able_before=False)[0]


def language_that_gained(points, low=None, high=None):
    change = Interval(points, low, high)
    rate = Interval(0.2)
    return OtherLanguage(
        language="fr", corpus="folder", set="fr-0", clips=20, speakers=4, words=100,
        before=rate, after=rate, change=change, loops_before=0, loops_after=0,
    )  # fmt: skip


def retention_of(*languages, times=None):
    return Retention(
        translation=None, languages=languages, timestamps=times, not_measured={}, english=False, why=""
    )


@pytest.mark.parametrize(
    "points, low, most, passed, refuses",
    [
        (0.01, 0.005, None, True, False),  # little
        (0.3, -0.1, None, True, False),  # chance explains it
        (0.3, 0.1, None, False, False),  # a warning
        (0.3, None, None, False, False),  # one voice: by the value
        (0.3, 0.1, 0.5, False, False),  # beyond the warning, within the limit
        (0.3, 0.1, 0.2, False, True),
    ],
)
def test_a_language_that_is_forgotten_is_warned_of_and_refused_by_choice(points, low, most, passed, refuses):
    (check,) = forgetting_checks(retention_of(language_that_gained(points, low, 0.5)), most)
    assert (check.passed, check.refuses) == (passed, refuses)
    assert "French" in check.detail


def test_a_loop_in_another_language_is_warned_of_whatever_chance_says():
    one = replace(language_that_gained(0.3, -0.1, 0.5), loops_after=1)
    (check,) = forgetting_checks(retention_of(one), 0.2)
    assert (check.passed, check.refuses) == (False, False)
    assert "1 clip in a loop" in check.detail


def test_rates_of_another_language_are_paired():
    table = rows("bonjour à tous", "merci beaucoup", "au revoir", "oui")
    texts = list(table["text"])
    other = other_language(table, texts, ["bonjour", *texts[1:]], "fr", "folder", "fr-0", CONFIG)
    assert (other.words, other.before.value, other.after.value) == (8, 0.0, 0.25)
    assert other.change.value == 0.25
    assert other.change.low is not None


def test_times_must_be_whole_within_the_clip_and_where_they_were():
    before = [Stamped("a", (0.0,), (1.0,), True), Stamped("b", (0.0,), (2.0,), True)]
    same = timestamps([1.0, 2.1], before, before)
    assert (same.after, same.end_shift_s) == (Stamps(whole=2, within=2), 0.0)
    assert forgetting_checks(retention_of(times=same), None)[0].passed
    late = [Stamped("a", (0.0,), (9.0,), True), Stamped("b", (), (), False)]
    lost = timestamps([1.0, 2.1], before, late)
    assert (lost.after, lost.end_shift_s) == (Stamps(whole=1, within=0), 8.0)
    assert not forgetting_checks(retention_of(times=lost), None)[0].passed
    nothing = Stamps(whole=0, within=0)
    none = Timestamps(clips=1, before=nothing, after=nothing, end_shift_s=None)
    assert not forgetting_checks(retention_of(times=none), None)[0].passed


def test_times_are_read_from_tokens():
    model = small_model()
    first = model.tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS) + 1
    word, end = encode_text(model.tokenizer, "hej"), end_id(model.tokenizer)
    whole = read_stamps(model, [first, *word, first + 50, end])
    assert whole == Stamped("hej", (0.0,), (1.0,), True)
    assert whole.end_s == 1.0
    assert read_stamps(model, [first, *word, end]).whole is False
    assert read_stamps(model, [*word, end]).whole is False
    more = read_stamps(model, [first, *word, first + 50, first + 50, end])
    assert (more.begins_s, more.ends_s, more.whole) == ((0.0,), (1.0,), True)


def test_times_come_in_pairs_and_never_go_back_whatever_the_model():
    clips = sounds()
    mels, floors = [clip.mel for clip in clips], [clip.floor for clip in clips]
    together = decode_with_timestamps(small_model(), mels, floors, language="sv")
    for one in together:
        times = [time for pair in zip(one.begins_s, one.ends_s, strict=False) for time in pair]
        assert times == sorted(times)
    alone = [
        decode_with_timestamps(small_model(), [mel], [floor], language="sv")[0]
        for mel, floor in zip(mels, floors, strict=True)
    ]
    assert [(one.text, one.ends_s) for one in alone] == [(one.text, one.ends_s) for one in together]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def clips(store, tmp_path):
    return prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=4))


def test_a_published_model_is_asked_for_all_three_once_and_the_answers_are_kept(
    store, clips, tmp_path, monkeypatch
):
    prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=2), language="fr")
    asked = lambda: retained(store, taught_model(), small_model(), clips, CONFIG, tmp_path / "cache")  # noqa: E731
    first = asked()
    assert first.translation.clips == sum(len(text.split()) > 2 for text in clips.rows["text"]) == 8
    assert [one.language for one in first.languages] == ["fr"]
    assert first.languages[0].before.value == 0 < first.languages[0].change.value
    assert first.timestamps.clips == 8
    assert not first.english
    assert parse(json.loads(json.dumps(plain(first))), Retention, "here") == first
    monkeypatch.setattr(retaining, "_asked", None)  # nothing is decoded again
    assert asked() == first


def test_what_cannot_be_measured_says_so(store, clips, tmp_path):
    model = small_model()
    model.model.config.decoder_layers = 3  # as turbo: the two differ
    of_turbo = retained(store, model, taught_model(), clips, CONFIG, tmp_path / "cache")
    assert (of_turbo.english, of_turbo.translation) == (False, None)
    assert "not taught to translate" in of_turbo.why
    assert "the store has clips of no other language" in of_turbo.not_measured["other languages"]
    taught = retained(store, model, taught_model(), clips, CONFIG, tmp_path / "cache", taught=True)
    assert "no test clip has a translation" in taught.why


def test_another_language_of_other_features_is_named_and_not_measured(store, clips, tmp_path):
    model = replace(small_model(), n_mels=128)
    of = retaining._other_languages
    prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=2), language="fr")
    pair = retaining.Pair(model, model, ("a", "b"))
    measured, reasons = of(store, pair, language("sv"), CONFIG, tmp_path / "cache")
    assert measured == ()
    assert "its clips have 80 mel bins" in reasons["French"]


def test_nano_knew_nothing_and_nobody_asks_where_no_clips_are_wanted(store, clips, tmp_path):
    nano = replace(small_model(), name="nano")
    assert retained(store, nano, taught_model(), clips, CONFIG, tmp_path / "cache") is None
    off = replace(CONFIG, retention_clips=0)
    assert retained(store, small_model(), taught_model(), clips, off, tmp_path / "cache") is None


def measured(store, clips, tmp_path):
    """As a fine-tuned checkpoint that writes Swedish whatever it is asked for."""
    prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=2), language="fr")
    return retained(store, small_model(), taught_model(), clips, CONFIG, tmp_path / "cache")


def test_card_and_page_show_the_same_before_and_after(store, clips, tmp_path):
    of = measured(store, clips, tmp_path)
    card = knew_before.knew_before(of)
    assert "English is not offered: of 8 test clips that were asked for English" in card
    assert "| French, word error rate on " in card
    assert "Timestamps of " in card
    assert "English is offered where" in card  # the rule
    report = SimpleNamespace(key="mine")
    verdicts = [SimpleNamespace(candidate="mine", retention=of), SimpleNamespace(candidate="other")]
    view = SimpleNamespace(shown=report, verdicts=verdicts, language=language("sv"))
    page = page_part.knew_before(view)
    for row in knew_before.rows(of):
        assert row.what in card
        assert row.what in page
    assert "Not measured" in page_part.knew_before(SimpleNamespace(shown=None, verdicts=[]))
    assert knew_before.knew_before(None) == knew_before.NOT_MEASURED


def test_more_chrf_is_better_and_more_errors_are_worse():
    rise = Interval(0.2, 0.1, 0.3)
    assert "worse" in gap(rise)
    assert "better" in gap(rise, more_is_better=True)
    assert "worse" in gap(Interval(-0.2, -0.3, -0.1), more_is_better=True)
    assert "dv-chip" not in gap(Interval(0.2, -0.1, 0.3))


def test_a_page_says_why_there_is_no_english():
    model = SimpleNamespace(version=3, info={"why_english": "of 9 test clips, too many stay untranslated"})
    assert why_no_english(language("it"), model) == (
        "Version 3 of the Italian model writes Italian only: of 9 test clips, too many stay untranslated."
    )
    before = SimpleNamespace(version=3, info={})  # registered by a version that did not measure
    assert "was not taught to translate" in why_no_english(language("it"), before)
