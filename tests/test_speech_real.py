"""What users rely on, with Whisper's own weights and human voices. Opt-in: see `support/real_data.py`."""

import difflib
import json
import random
import signal
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from films import Track, film
from real_data import needs_real_data, prompts, weights
from speech_site import keep_run
from training_process import Trainer

from benchmarks.real_runs import clips_of, prepare
from dagsverk.records import write
from dagsverk.speech import runs
from dagsverk.speech.audio.waveform import samples_file
from dagsverk.speech.compared import material, work
from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.config import CorpusConfig, EvaluationConfig, FinetuneConfig
from dagsverk.speech.evaluation.assessment import Candidate, assess
from dagsverk.speech.evaluation.scoring import count_errors, total
from dagsverk.speech.languages import language as language_of
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.models import load_model
from dagsverk.speech.registry.adoption import adopt
from dagsverk.speech.runs import CheckpointRef, ValidationPoint, curve
from dagsverk.speech.serving.before_training import model_before
from dagsverk.speech.serving.detection import SURE
from dagsverk.speech.serving.live import Live
from dagsverk.speech.serving.repetition import loops
from dagsverk.speech.serving.torch_engine import load_engine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.subtitles.cues import words_in
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.fit import fit
from dagsverk.store import Store, open_store

pytestmark = needs_real_data
LANGUAGES = ("it", "en", "fr", "es", "ru")


@dataclass(frozen=True)
class Room:
    """A folder for stores."""

    folder: Path

    def store(self, name: str) -> Store:
        return open_store(str(self.folder / name))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(folder / "cache"))
        yield Room(folder)


def settings(**changes: object) -> FinetuneConfig:
    plain: dict[str, object] = {"model": weights(), "processes": 1, "precision": "fp32", **changes}
    return FinetuneConfig(**plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LANGUAGES)
def test_whisper_as_published_writes_what_was_said_in_windows(room, language):
    store = room.store("listening")
    clips = clips_of(store, prepare(store, prompts(language), language, weights()))
    longest = clips.rows["frames"].to_numpy().argsort()[-12:]
    decoded = decode(
        load_model(weights()),
        [clips.mel(int(i)) for i in longest],
        [clips.floor(int(i)) for i in longest],
        language=language,
    )
    hypotheses = [one.text for one in decoded]
    texts = list(clips.rows["text"].iloc[longest])
    rates = total(count_errors(texts, hypotheses, language))
    assert rates.wer < 0.5, hypotheses
    spoken = [one for one, text in zip(hypotheses, texts, strict=True) if "[" not in text]  # monkeys scream
    assert not any(map(loops, spoken)), spoken


def test_a_few_steps_at_true_length_bring_a_model_that_loops_there_to_writing_what_was_said(room):
    store = room.store("learning")
    set_id = prepare(store, prompts("it"), "it", weights())
    config = settings(steps=30, evaluate_every=10, batch_s=30.0, dev_clips=20, precision="bf16")
    ref = fit(store, set_id, "it", config)
    points = [point for point in curve(store, ref.run) if isinstance(point, ValidationPoint)]
    rates = [point.dev_wer for point in points]
    assert [point.step for point in points] == [10, 20, 30]
    assert rates[-1] < rates[0] / 2 and rates[-1] < 0.4, rates
    assert points[-1].dev_loss < points[0].dev_loss


def test_real_weights_killed_at_random_steps_end_with_the_bytes_of_an_undisturbed_run(room):
    config = settings(steps=9, evaluate_every=9, checkpoint_every=3, batch_s=6.0, dev_clips=4)
    whole, torn = room.store("whole"), room.store("torn")
    set_id = prepare(whole, prompts("it"), "it", weights())
    assert prepare(torn, prompts("it"), "it", weights()) == set_id
    assert Trainer(whole.url, set_id, config).wait_for("never")[-1] == ("done", 9)
    at = sorted(random.sample(range(1, 9), 2))
    for step in at:
        trainer = Trainer(torn.url, set_id, config)
        assert trainer.wait_for("step", step)[-1] == ("step", step), at
        trainer.process.kill()
        assert trainer.end() == -signal.SIGKILL
    assert Trainer(torn.url, set_id, config).wait_for("never")[-1] == ("done", 9), at
    (run,) = {path.split("/")[3] for path in torn.list("speech/italian/runs")}
    (one, first), (other, second) = (
        checkpoints.newest(store, run, room.folder / "cache") for store in (whole, torn)
    )
    assert (one.step, one.trail) == (other.step, other.trail) == (9, one.trail)
    for name in (checkpoints.MODEL, checkpoints.OPTIMISER):
        assert first[name].read_bytes() == second[name].read_bytes(), (name, at)


def test_a_model_that_was_never_tuned_is_refused_at_true_length_and_served_in_windows(room):
    store = room.store("modes")
    clips = clips_of(store, prepare(store, prompts("it"), "it", weights()))
    untuned = load_model(weights()).served("true_length")
    candidate = Candidate(ref=CheckpointRef("run", 1), model=untuned, base=load_model(weights()))
    config = EvaluationConfig(retention_clips=0)
    modes = assess(store, candidate, clips, config, room.folder / "cache").modes
    assert modes.served == "full", modes
    assert modes.scores["full"].refused is None, modes
    assert modes.scores["true_length"].refused, modes
    assert len(store.list("speech/italian/transcripts")) == 2  # in windows it is its own base: once decoded


def test_words_are_timed_where_they_were_joined(room):
    """Clips of a word or two with half a second between them: first words begin where their clips do."""
    rows = [json.loads(line) for line in (Path(prompts("it")) / "metadata.jsonl").open(encoding="utf-8")]
    chosen = [row for row in rows if 1 <= len(row["text"].split()) <= 2][:40:2]
    pieces, begins, at_s = [], [], 0.0
    for row in chosen:
        with closing(samples_file(Path(prompts("it")) / row["file"])) as file:
            audio = np.concatenate(list(file.blocks(30.0)))
        loud = np.flatnonzero(np.abs(audio) > 0.03 * np.abs(audio).max())
        if np.abs(audio).max() > 0.01:
            pieces += [np.zeros(8_000, np.float32), audio]
            begins.append(at_s + 0.5 + loud[0] / 16_000)
            at_s += 0.5 + len(audio) / 16_000
    engine = load_engine(Path(weights()), "base", language="it")
    transcript = Transcriber(engine, "it").transcribe(np.concatenate(pieces), words=True)
    assert transcript.word_times == "alignment heads"
    starts_s = [word.start_s for segment in transcript.segments for word in segment.words]
    errors_s = np.array([min(abs(start_s - at) for start_s in starts_s) for at in begins])
    assert np.median(errors_s) < 0.05 and np.mean(errors_s < 0.1) >= 0.8, errors_s


@pytest.mark.parametrize("language", ["en", "it"])
def test_words_while_one_speaks_are_those_of_the_whole_recording(room, language):
    rows = [json.loads(line) for line in (prompts(language) / "metadata.jsonl").open(encoding="utf-8")]
    pieces: list[np.ndarray] = []
    for row in [row for row in rows if len(row["text"].split()) >= 6][10:12]:
        with closing(samples_file(prompts(language) / row["file"])) as file:
            pieces += [*file.blocks(30.0), np.zeros(6_400, np.float32)]
    audio = np.concatenate(pieces)
    transcriber = Transcriber(load_engine(Path(weights()), "base", language=language), language)
    live = Live(lambda heard: words_in(transcriber.transcribe(heard, words=True).segments))
    came = [w.text for at in range(0, len(audio), 24_000) for w in live.add(audio[at : at + 24_000]).settled]
    came += [word.text for word in live.finish().settled]
    assert came == [word.text for word in live.settled]
    whole = transcriber.transcribe(audio).text.replace("\n", " ")
    rates = total(count_errors([whole], [" ".join(came)], language))
    assert rates.wer is not None and rates.wer < 0.15, (whole, came)


def test_words_of_a_film_are_those_of_its_sound_alone_moved_to_where_the_picture_has_them(room):
    """Sound that begins 2.5 s late, with packets of 4 s lost in the middle, which are silence."""
    rows = [json.loads(line) for line in (prompts("it") / "metadata.jsonl").open(encoding="utf-8")]
    pieces: list[np.ndarray] = []
    for row in [row for row in rows if len(row["text"].split()) >= 6][:6]:
        with closing(samples_file(prompts("it") / row["file"])) as file:
            pieces += [*file.blocks(30.0), np.zeros(16_000, np.float32)]
    cut = round(sum(map(len, pieces[: len(pieces) // 2])) / 16_000, 3)  # behind a pause
    audio = np.concatenate(pieces)
    fine = np.interp(np.arange(3 * len(audio)) / 3, np.arange(len(audio)), audio).astype(np.float32)
    track = Track(sound=fine, at_s=2.5, moved=lambda at_s: at_s + (4 if at_s - 2.5 > cut - 0.5 else 0))
    content = film("mp4", track, codec="aac", picture_s=len(audio) / 16_000 + 6.5)
    engine = load_engine(Path(weights()), "base", language="it")
    plain, shown = (
        words_in(Transcriber(engine, "it").transcribe(sound, words=True).segments)
        for sound in (audio, content)
    )
    same = difflib.SequenceMatcher(None, [one.text for one in plain], [one.text for one in shown])
    errors_s = np.array(
        [
            shown[b + i].start_s - plain[a + i].start_s - (2.5 if plain[a + i].start_s < cut else 6.5)
            for a, b, size in same.get_matching_blocks()
            for i in range(size)
        ]
    )
    assert len(errors_s) >= 0.7 * len(plain), (plain, shown)
    assert np.mean(np.abs(errors_s) < 0.1) >= 0.9 and np.abs(np.median(errors_s)) < 0.05, errors_s


@pytest.mark.parametrize("language", LANGUAGES)
def test_whisper_as_published_names_the_language_of_a_recording(language):
    rows = [json.loads(line) for line in (prompts(language) / "metadata.jsonl").open(encoding="utf-8")]
    pieces: list[np.ndarray] = []
    for row in [row for row in rows if len(row["text"].split()) >= 4 and "[" not in row["text"]][:8]:
        with closing(samples_file(prompts(language) / row["file"])) as file:
            pieces += [*file.blocks(30.0), np.zeros(8_000, np.float32)]
    transcriber = Transcriber(load_engine(Path(weights()), "base", language="en"), "en")
    shares = transcriber.languages(np.concatenate(pieces))
    code, share = next(iter(shares.items()))
    assert code == language and share > SURE, shares


def test_the_model_before_training_is_known_by_its_weights_and_writes_what_was_said(room):
    store, italian, run = room.store("before"), language_of("it"), "it-00112233445566aa"
    adopted = store.model(italian.model_name, adopt(store, italian, weights()).version)
    keep_run(store, run, "it-0011223344556600", [])
    begun = replace(
        runs.run_config(store, run), language="it", fingerprint=adopted.info["lineage"]["weights"]
    )
    write(store, f"{runs.run_folder(run)}/config.json", begun)
    tuned = replace(adopted, version=2, info={"run": run, "base_model": "openai/whisper-base"})
    clip = next(path for path in sorted(Path(prompts("it")).rglob("*.wav")) if path.stem == "agent-alreadyon")
    with model_before(store, italian, tuned, room.folder / "cache") as before:
        assert (before.model.name, before.model.version) == (adopted.name, adopted.version)
        assert "Digitare il proprio numero di operator" in before.transcriber.transcribe(clip).text


@pytest.mark.parametrize("runs_on", ["own", "transformers", "faster-whisper"])
def test_a_published_model_is_a_contender_by_every_program_that_is_installed(room, runs_on):
    if runs_on == "faster-whisper":
        pytest.importorskip("faster_whisper", reason="the extra faster-whisper is not installed")
    store, italian = room.store(f"contender-{runs_on}"), language_of("it")
    one = Contender(kind="published", model=weights(), runs_on=runs_on)
    program = Contender(kind="program", address="http://127.0.0.1:9/v1", model="never-asked")
    config, corpus = CompareConfig(clips="corpus", most_clips=8), CorpusConfig(source=str(prompts("it")))
    plan = material.choose(store, italian, (one, program), corpus, config)
    written = [work.write_down(store, italian, plan, one, corpus) for _ in range(2)]
    assert [each.new for each in written] == [8, 0]
    assert 300e6 < written[0].memory_bytes < 3e9
    _, answers = work.answers_of(store, italian, written[0])
    _, rows = material.load(store, plan)
    texts = [answers[clip].text for clip in rows["id"]]
    assert total(count_errors(list(rows["text"]), texts, "it")).wer < 0.6, texts
