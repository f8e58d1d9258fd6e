"""A language that Whisper lacks, taught under the token of another one: `rm_as_it`."""

import json

import pytest
from sound_corpus import SoundCorpus, prepared_sounds
from speech_clips import json_lines, lay_out, wav
from speech_models import small_model, taught_model
from training_runs import Counting, make_model, tiny_config

from dagsverk.speech import results, runs
from dagsverk.speech.config import CorpusConfig, EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.assessment import Candidate, assess
from dagsverk.speech.features.preparation import complete, pending, plan, prepare_all
from dagsverk.speech.features.shards import manifest, newest
from dagsverk.speech.languages import language
from dagsverk.speech.model.tokens import prompt
from dagsverk.speech.registry.registration import register
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.serving.champions import load_champion
from dagsverk.speech.training.fit import fit
from dagsverk.store import open_store
from flows.speech import speech_features

ROMANSH = language("rm_as_it")


@pytest.mark.parametrize("stated", ["rm_as_it", "RM_as_Italian", "rm as it"])
def test_a_language_under_the_token_of_another_has_one_name(stated):
    one = language(stated)
    assert (one.code, one.name, one.model_name) == ("rm_as_it", "rm_as_it", "whisper_rm_as_it")
    assert (one.spoken, one.token, one.title) == ("rm", "it", "Rm (as Italian)")


@pytest.mark.parametrize(
    "stated, message",
    [
        ("rm", "or teach it under the token of one of them: rm_as_it"),
        ("sv_as_no", "Whisper has a token for 'sv': leave out _as_no"),
        ("swedish_as_no", "leave out _as_no"),
        ("rm_as_tlh", "Whisper knows no language 'tlh'"),
        ("rm_as_it_as_sv", "names more than one token"),
        ("../x_as_it", "2 to 20 small letters"),
        ("_as_it", "2 to 20 small letters"),
        ("rm_as_", "Whisper knows no language ''"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(stated, message):
    with pytest.raises(ValueError, match=message):
        language(stated)


def test_the_decoder_is_told_the_other_language():
    tokenizer = small_model().tokenizer
    assert prompt(tokenizer, "rm_as_it") == prompt(tokenizer, "it") != prompt(tokenizer, "sv")


def test_of_a_corpus_the_rows_of_the_language_itself_are_read(tmp_path):
    rows = [{"file": f"{n}.wav", "text": f"allegra {n}", "language": code} for n, code in enumerate(
        ["rm", "rm", "rm", "rm", "rm", "rm", "it", "sv"])]  # fmt: skip
    folder = lay_out(
        {"metadata.jsonl": json_lines(rows), **{f"{n}.wav": wav(0.2) for n in range(8)}}, tmp_path / "own"
    )
    listing = open_corpus(CorpusConfig(source=str(folder)), "rm_as_it").listing()
    assert (len(listing.clips), sum(listing.left_out.values())) == (6, 2)
    assert {clip.language for clip in listing.clips} == {"rm"}


def test_a_flow_takes_it_as_its_language():
    given = speech_features.validate_parameters({"language": "rm_as_italian"})
    assert given["language"] == "rm_as_it"
    (choice, free) = speech_features.parameters.properties["language"]["anyOf"]
    assert "sv" in choice["enum"]
    assert free["pattern"] == "^[a-z]{2,20}_as_[a-z_]{2,20}$"


def test_runs_are_found_by_their_names_and_others_are_refused():
    assert runs.run_folder("rm_as_it-0123456789abcdef") == "speech/rm_as_it/runs/rm_as_it-0123456789abcdef"
    for name in (
        "rm-0123456789abcdef",
        "sv_as_it-0123456789abcdef",
        "rm_as_italian-0123456789abcdef",
        "it-x",
    ):
        with pytest.raises(SpeechError, match="is no run"):
            runs.run_folder(name)


def test_a_run_of_it_is_another_one_than_of_the_language_whose_token_it_has():
    asked = [
        runs.run_id("f", "set", FinetuneConfig(), language(code)) for code in ("rm_as_it", "it", "sc_as_it")
    ]
    assert len({name.partition("-")[2] for name in asked}) == 3


def test_it_is_prepared_trained_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    store, corpus = open_store(str(tmp_path / "store")), Counting()
    set_id = plan(store, corpus, "rm_as_it", PrepareConfig(shard_clips=10), "counting")
    prepare_all(store, set_id, corpus, pending(store, set_id))
    complete(store, set_id)
    assert newest(store, "rm_as_it") == set_id
    ref = fit(store, set_id, "rm_as_it", tiny_config(make_model(tmp_path / "model"), steps=2))
    assert ref.run.startswith("rm_as_it-")
    assert results.speech_languages(store) == [ROMANSH]
    assert [one.run for one in results.runs(store, ROMANSH)] == [ref.run]


def test_it_is_scored_registered_with_the_choice_on_its_card_and_served(tmp_path):
    store = open_store(str(tmp_path / "store"))
    clips = prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=4), language="rm_as_it")
    candidate = Candidate(
        ref=CheckpointRef("run1", 80), model=taught_model("it"), base=small_model(), curve=()
    )
    config = EvaluationConfig(resamples=100, min_group_clips=3, worst=4)
    verdict = assess(store, candidate, clips, config, tmp_path / "models")
    step = register(
        store, ROMANSH, verdict, candidate.model, manifest=manifest(store, clips.set_id),
        config=FinetuneConfig(steps=80),
    )  # fmt: skip
    assert step.candidate.wer.value == 0
    assert all(check.passed for check in step.checks if check.name == "language and task are saved")
    files = store.download(store.model("whisper_rm_as_it", step.version), tmp_path / "files")
    card = (files / "README.md").read_text(encoding="utf-8")
    assert 'language: "rm"' in card
    assert "Whisper has no token for rm: it is written under the token of another language, `<|it|>`" in card
    saved = json.loads((files / "generation_config.json").read_text(encoding="utf-8"))
    assert saved["language"] == "it"
    assert load_champion(store, ROMANSH, tmp_path / "served").transcriber.language == "rm_as_it"
