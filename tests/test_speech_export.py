"""Exports: a version in other forms, which says what its weights say, or is not published."""

import hashlib
import json
import shutil
import tempfile
import zipfile

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from sound_corpus import SoundCorpus, prepared_sounds

from dagsverk.speech import exports
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import ModelError
from dagsverk.speech.export import conversion, elsewhere, exporting, parity
from dagsverk.speech.exports import Export, Exported, Parity
from dagsverk.speech.features.log_mel import log_mel
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import load_model, random_model, save_model_folder
from dagsverk.speech.model.precision import as_kept
from dagsverk.speech.serving import champions
from dagsverk.speech.serving.ctranslate_engine import CTranslateEngine, load_engine
from dagsverk.speech.serving.light_tokenizer import LightTokenizer
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.training.learner import make_learner, merge_adapters, trained
from dagsverk.store import open_store
from dagsverk.store.backend import Backend
from tasks import speech as tasks
from ui.api import build_api
from ui.tabular.desk import TabularDesk

SWEDISH = language("sv")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small Whisper's own folder, and the same converted to float16."""
    root = tmp_path_factory.mktemp("export")
    save_model_folder(random_model("tiny", seed=3), root / "own", language="sv")
    model = load_model(str(root / "own"))
    model.name = "small one"
    conversion.convert(model, root / "own", "float16", root / "float16")
    return root / "own", root / "float16"


@pytest.fixture(scope="module")
def mels():
    noise = np.random.default_rng(0)
    return [log_mel(noise.normal(0, 0.1, 16_000 * n).astype(np.float32), 80) for n in (1, 2)]


@pytest.mark.parametrize("windows", ["true_length", "full"])
def test_the_converted_model_writes_what_its_weights_write_and_is_as_sure_of_it(folders, mels, windows):
    own, converted = folders
    with as_kept():
        expected = TorchEngine(load_model(str(own)), windows).decode(mels, language="sv")
    decoded = load_engine(converted, "x", language="sv", windows=windows).decode(mels, language="sv")
    assert [one.tokens for one in decoded] == [one.tokens for one in expected]
    assert [one.text for one in decoded] == [one.text for one in expected]
    assert [one.finished for one in decoded] == [one.finished for one in expected]
    for one, other in zip(decoded, expected, strict=True):
        assert one.mean_log_probability == pytest.approx(other.mean_log_probability, rel=0.03)
        assert one.no_speech_probability == pytest.approx(other.no_speech_probability, rel=0.05)


def test_each_clip_gets_its_own_answer_from_however_many_workers(folders, monkeypatch):
    """Clips of many lengths, in no order, and more batches than workers."""
    noise = np.random.default_rng(1)
    lengths_s = noise.permutation([0.5, 1, 1, 2, 3, 3, 4, 5, 7, 9])
    clips = [log_mel(noise.normal(0, 0.1, int(16_000 * n)).astype(np.float32), 80) for n in lengths_s]
    answers = {}
    for workers in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(workers))
        engine = load_engine(folders[1], "x", language="sv")
        assert engine.batch_s == 60 * workers
        decoded = engine.decode(clips, language="sv")
        answers[workers] = decoded, engine.align(clips, decoded, language="sv")
    assert [one.tokens for one in answers[3][0]] == [one.tokens for one in answers[1][0]]
    assert answers[3][1] == answers[1][1]


def test_who_leaves_ends_the_work_of_all_workers(folders, mels, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    engine = load_engine(folders[1], "x", language="sv")
    asked = []

    def check():
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.decode(mels * 20, language="sv", check=check)
    assert len(engine.decode(mels, language="sv")) == len(mels)  # and it can be asked again


def test_a_text_before_and_another_task_are_told_to_the_model_in_the_same_words(folders, mels):
    own, converted = folders
    with as_kept():
        expected = TorchEngine(load_model(str(own))).decode(
            mels, language="sv", task="translate", prompt="Åke och Örjan"
        )
    engine = load_engine(converted, "x", language="sv")
    decoded = engine.decode(mels, language="sv", task="translate", prompt="Åke och Örjan")
    assert [one.tokens for one in decoded] == [one.tokens for one in expected]


def test_the_light_tokenizer_reads_and_writes_as_the_library(folders):
    own, _ = folders
    light, library = LightTokenizer(own), load_model(str(own)).tokenizer
    assert len(light) == len(library)
    text = " Åke sa: „Hej“ <|sv|> 東京 🎈"
    assert light([text], add_special_tokens=False) == {
        "input_ids": library([text], add_special_tokens=False)["input_ids"]
    }
    assert light.get_added_vocab() == library.get_added_vocab()


def test_everything_that_others_need_lies_beside_the_weights(folders):
    own, converted = folders
    names = {path.name for path in converted.iterdir()}
    assert names >= set(conversion.NEEDED) | {"dagsverk.json", "tokenizer_config.json"}
    assert json.loads((converted / "tokenizer.json").read_text()) == json.loads(
        (own / "tokenizer.json").read_text()
    )


def test_a_model_with_a_vocabulary_of_its_own_stays_on_torch(tmp_path):
    with pytest.raises(ModelError, match="stays on torch"):
        conversion.convert(random_model("nano"), tmp_path, "int8", tmp_path / "int8")


def counted(**other):
    equal = {
        "windows": "true_length", "clips": 100, "tokens": 1000, "differing": 0, "near_ties": 0,
        "differing_beyond_ties": 0, "words": 1000, "word_errors": 100, "word_errors_of_weights": 100,
    }  # fmt: skip
    return Parity(**{**equal, **other})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (counted(), ""),
        (counted(differing=30, near_ties=9), ""),  # near ties alone
        (counted(differing=5, differing_beyond_ties=5), ""),  # 99.5 %
        (counted(differing=6, differing_beyond_ties=6), "99.40 % of 1000 tokens"),
        (counted(near_ties=11), "11 of 100 texts part at a near tie"),
        (counted(word_errors=102), ""),
        (counted(word_errors=103), "103 of 1000 words are wrong"),
        (counted(words=100, word_errors=101), ""),  # one word, where that is more than 0.2 points
        (counted(words=100, word_errors=102), "102 of 100 words are wrong"),
        (counted(word_errors=50), ""),
        (counted(clips=0, words=0), "nothing to check it on"),
    ],
)
def test_a_form_is_published_only_if_it_says_what_the_weights_say(found, reason):
    refused = parity.refusal(found)
    assert reason in refused if reason else refused == ""


def test_texts_differ_by_their_least_edits():
    assert parity._edits((1, 2, 3), (1, 3)) == 1
    assert parity._edits((), (1, 2)) == 2
    assert parity._edits((1, 2), (1, 2)) == 0


def test_the_program_for_elsewhere_names_the_folder_and_the_language():
    model = type("M", (), {"name": "whisper_swedish", "version": 3})
    program = elsewhere.program(model, SWEDISH, "int8")
    compile(program, "program", "exec")
    assert 'WhisperModel("whisper_swedish-3-int8", compute_type="int8")' in program
    assert 'language="sv"' in program
    text = elsewhere.how_to_run(SWEDISH, model, Exported(form="int8", refused="", parity=(counted(),)))
    assert "not served in 30 s windows" in text


def test_a_champion_runs_from_its_export_and_from_its_weights_where_the_archive_is_damaged(
    folders, mels, tmp_path, monkeypatch
):
    monkeypatch.setattr(champions, "_has_gpu", lambda: False)
    own, converted = folders
    store = open_store(str(tmp_path / "store"))
    model = store.save_model(SWEDISH.model_name, own, metrics={})
    store.promote(SWEDISH.model_name, model.version, reason="first", expected=None)
    assert exports.kept(store, SWEDISH, model) is None
    copy = tmp_path / "archived"
    shutil.copytree(converted, copy)
    archive = exporting._archive(copy, elsewhere.archive_name(model, champions.SERVED))
    path = f"{exports.export_folder(SWEDISH, model)}/{champions.SERVED}.zip"
    form = Exported(form=champions.SERVED, refused="", path=path, sha256=store.put_file(path, archive))
    made = Export(
        model=model.name, version=1, key=exports.export_key(model), forms=(form,), checked_on="", code=""
    )
    exports.keep(store, SWEDISH, model, made)
    champion = champions.load_champion(store, SWEDISH, tmp_path / "cache")
    assert isinstance(champion.transcriber._engine, CTranslateEngine)

    store.put(path, b"something else", overwrite=True)
    champions._loaded.clear()
    champion = champions.load_champion(store, SWEDISH, tmp_path / "other cache")
    assert isinstance(champion.transcriber._engine, TorchEngine)

    monkeypatch.setattr(champions, "_has_gpu", lambda: True)
    assert champions._converted(store, SWEDISH, model) is None  # torch is faster there


@pytest.fixture
def in_use(folders, tmp_path, monkeypatch):
    """A store with prepared sounds and a small Whisper in use; and that version."""
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    # by its number of tokens the library takes a vocabulary of bytes for English; such a model is refused
    monkeypatch.setattr(CTranslateEngine, "is_multilingual", True)
    monkeypatch.setattr(parity, "MOST_CLIPS", 2)
    store = open_store()
    prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=1))
    model = store.save_model(SWEDISH.model_name, folders[0], metrics={})
    store.promote(model.name, model.version, reason="first", expected=None)
    return store, model


def after(function, times):
    """The function; its n-th call is the last thing that happens before a kill."""
    calls = iter(range(1, times + 1))

    def killed(*arguments, **options):
        outcome = function(*arguments, **options)
        if next(calls) == times:
            raise KeyboardInterrupt
        return outcome

    return killed


@pytest.mark.parametrize(
    "owner, name, times",
    [
        (conversion, "convert", 1),
        (Backend, "put_file", 1),
        (Backend, "put_file", 2),  # both archives are there, and no record
    ],
    ids=lambda one: getattr(one, "__name__", str(one)).rpartition(".")[2],
)
def test_an_export_killed_before_its_record_counts_for_nothing_and_is_made_again(
    in_use, monkeypatch, tmp_path, owner, name, times
):
    store, model = in_use
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, after(getattr(owner, name), times))
        tasks.export.fn("sv", model.ref)
    assert exports.kept(store, SWEDISH, model) is None  # whatever archives are there, nobody is served them
    client = TestClient(build_api(TabularDesk(str(tmp_path / "store"))))
    assert client.get("/api/speech/sv/exports/float16.zip").status_code == 404

    published = tasks.export.fn("sv", model.ref)
    made = exports.kept(store, SWEDISH, model)
    assert made is not None
    assert [one.form for one in made.published] == published
    assert "float16" in published
    for one in made.published:
        archive = store.get(one.path)
        assert (hashlib.sha256(archive).hexdigest(), len(archive)) == (one.sha256, one.bytes)
    there = {path.rpartition("/")[2] for path in store.list(exports.export_folder(SWEDISH, model))}
    assert there >= {"export.json", *(f"{form}.zip" for form in published)}

    assert tasks.export.fn("sv", model.ref) == published
    assert exports.kept(store, SWEDISH, model) == made
    assert not list(tmp_path.glob("dagsverk-*"))


def test_a_model_tuned_by_lora_is_exported_with_what_its_adapters_learnt(tmp_path, mels):
    model = random_model("tiny", seed=3)
    untuned = TorchEngine(model).decode(mels, language="sv")
    learner = make_learner(model.model, FinetuneConfig(lora_rank=4))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in trained(learner).items():
            if "lora_B" in name:  # zero before training
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.5)
    model.model.eval()
    with as_kept():
        tuned = TorchEngine(model).decode(mels, language="sv")  # adapters beside their weights
    assert [one.tokens for one in tuned] != [one.tokens for one in untuned]

    merge_adapters(model.model)
    save_model_folder(model, tmp_path / "own", language="sv")
    merged = load_model(str(tmp_path / "own"))
    conversion.convert(merged, tmp_path / "own", "float16", tmp_path / "float16")
    decoded = load_engine(tmp_path / "float16", "x", language="sv").decode(mels, language="sv")
    assert [one.tokens for one in decoded] == [one.tokens for one in tuned]
    for one, other in zip(decoded, tuned, strict=True):
        assert one.mean_log_probability == pytest.approx(other.mean_log_probability, rel=0.03)


def test_an_archive_from_the_page_runs_where_it_is_unpacked(in_use, mels, tmp_path):
    store, model = in_use
    client = TestClient(build_api(TabularDesk(str(tmp_path / "store"))))
    before = client.get("/api/speech/sv/exports/float16.zip")
    assert before.status_code == 404
    assert "prefect deployment run speech-export/swedish" in before.json()["error"]
    tasks.export.fn("sv", model.ref)
    (listed,) = [
        one for one in client.get("/api/speech/sv/exports").json()["forms"] if one["form"] == "float16"
    ]
    answer = client.get(listed["download"])
    assert answer.status_code == 200
    (tmp_path / "float16.zip").write_bytes(answer.content)
    with zipfile.ZipFile(tmp_path / "float16.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / elsewhere.archive_name(model, "float16")
    assert folder.name in listed["program"]
    decoded = load_engine(folder, "x", language="sv").decode(mels, language="sv")
    with as_kept():
        expected = TorchEngine(load_model(str(store.download(model, tmp_path / "own")))).decode(
            mels, language="sv"
        )
    assert [one.tokens for one in decoded] == [one.tokens for one in expected]


def test_a_version_that_is_not_in_use_is_not_exported(in_use, folders):
    store, _ = in_use
    other = store.save_model(SWEDISH.model_name, folders[0], metrics={"wer": 0.5})
    assert tasks.export.fn("sv", other.ref) == []
    assert exports.kept(store, SWEDISH, other) is None
