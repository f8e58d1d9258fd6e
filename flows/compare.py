"""Two models on the same clips or rows: which is better, beyond chance, where, and what each costs."""

from __future__ import annotations

from prefect import flow

from dagsverk.speech.compared.config import CompareConfig, Contender
from dagsverk.speech.config import CorpusConfig
from dagsverk.tabular.compared import CompareRowsConfig, TableContender
from flows.speech import LanguageCode
from flows.tabular import SystemName
from tasks import compare as tasks
from tasks.runs import one_at_a_time, speech_run_name
from tasks.speech import language_name
from tasks.tabular import newest_rows

IN_USE, BEFORE, CLIPS = Contender(), Contender(kind="before"), CompareConfig()
CHAMPION, FIRST_VERSION = TableContender(), TableContender(kind="version", version=1)
ROWS = CompareRowsConfig()


@flow(name="speech-compare", flow_run_name=speech_run_name)
def speech_compare(
    language: LanguageCode,
    first: Contender = IN_USE,
    second: Contender = BEFORE,
    corpus: CorpusConfig = CorpusConfig(),
    config: CompareConfig = CLIPS,
) -> str:
    """Two models that write down speech, on the same clips -> a report: which is better, beyond chance.

    It changes no model. A repeat asks for no clip again that was written down.

    Args:
        language: Whisper's code, such as sv; rm_as_it teaches rm under the token of it.
        first: A version of the store, a published model, or any program that answers OpenAI's route.
        second: The same; first minus second is tested.
        corpus: Where the recordings are: those of the test clips, or a corpus of its own.
        config: On which clips, and how exactly.
    """
    with one_at_a_time(f"compare-{language_name(language)}", "speech"):
        clips = tasks.choose_clips(language, first, second, corpus, config)
        written = [tasks.write_down(language, clips, contender, corpus) for contender in (first, second)]
        return tasks.conclude(language, clips, written, (first, second), corpus, config)


@flow(name="tabular-compare", flow_run_name="tabular-compare {system}")
def tabular_compare(
    system: SystemName,
    first: TableContender = CHAMPION,
    second: TableContender = FIRST_VERSION,
    config: CompareRowsConfig = ROWS,
) -> str:
    """Two models of a table, on rows that neither has learnt -> a report: which is better, beyond chance.

    It changes no model and writes no table.

    Args:
        system: Which system.
        first: A version of the store, or somebody else's predictions of the same rows.
        second: The same; first minus second is tested.
        config: On which rows, and how exactly.
    """
    return tasks.compare_rows(system, newest_rows(system), first, second, config)
