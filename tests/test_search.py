"""A search for settings: what it draws, what it may see, and that nothing kills it for good."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from fitted_models import system_and_rows

from dagsverk import studies
from dagsverk.tabular import search, search_result
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.evaluation import Partition
from dagsverk.tabular.recipes import DEFAULTS, recipe
from dagsverk.tabular.searched_words import search_words
from dagsverk.tabular.searching import SearchConfig
from dagsverk.tabular.spaces import SPACES

IRIS, FLOWERS = system_and_rows("iris")
FLOWERS = FLOWERS.assign(origin="historic")
QUICK = SearchConfig(model_classes=("knn", "lda"), trials=5, outer_folds=3, outer_repeats=1, inner_folds=3)
CHILD = """
import os, signal, sys
sys.path.insert(0, "tests/support")
from fitted_models import system_and_rows
from dagsverk.tabular import search
from dagsverk.tabular.evaluation import Partition
from dagsverk.tabular.searching import SearchConfig
system, rows = system_and_rows("iris")
config = SearchConfig(model_classes=("knn", "lda"), trials=5, outer_folds=3, outer_repeats=1, inner_folds=3)
scored, left = Partition.metrics, int(sys.argv[1])
def metrics(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return scored(*arguments)
Partition.metrics = metrics
search.trial(search.search_of(system, rows.assign(origin="historic"), config, 0), 4)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path))
    return tmp_path


def searched(part=0, config=QUICK, rows=FLOWERS):
    return search.search_of(IRIS, rows, config, part)


def all_of(made, count=5):
    search.trial(made, count - 1)
    return [(d.recipe, d.state, d.value) for d in search.trials(made, count)]


def test_every_default_lies_in_its_space_and_every_space_is_of_parameters_that_the_class_has():
    assert set(SPACES) == set(DEFAULTS)
    for model_class, space in SPACES.items():
        recipe(model_class, **{name: DEFAULTS[model_class][name] for name in space})
        assert all(
            each._contains(each.to_internal_repr(DEFAULTS[model_class][name])) for name, each in space.items()
        )


def test_the_defaults_are_the_first_trials_and_are_never_given_up():
    assert [made for made, _, _ in all_of(searched())][:2] == [recipe("knn"), recipe("lda")]
    assert all(value is not None for _, _, value in all_of(searched())[:2])


def test_no_search_of_an_outer_fold_sees_a_row_that_the_fold_tests():
    made = searched(1)
    tested = set(made.rows.iloc[made.outer.splits[1][1]]["row_id"])
    seen = made.rows.iloc[np.sort(made.outer.splits[1][0])]
    assert len(seen) + len(tested) == len(made.rows)
    assert not tested & set(seen["row_id"])
    assert sum(len(test) for _, test in made.inner.splits) == len(seen)


def test_a_search_killed_in_a_trial_goes_on_to_the_trials_it_would_have_had(cache, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", CHILD, "7"], check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    with searched().journal.open("ab") as journal:
        journal.write(b'{"op_code":6,"torn')  # and the machine in the middle of a line
    resumed = all_of(searched())
    assert search.deaths(searched()) == 1
    monkeypatch.setenv("DAGSVERK_CACHE", str(cache / "another"))
    assert all_of(searched()) == resumed
    assert search.deaths(searched()) == 0


def test_two_runs_at_once_share_the_trials_and_make_none_twice(monkeypatch):
    scored, fits = Partition.metrics, []
    monkeypatch.setattr(Partition, "metrics", lambda *given: fits.append(1) or scored(*given))
    runs = [threading.Thread(target=all_of, args=(searched(),)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(fits) == sum(each.fits for each in search.trials(searched(), 5))


def test_more_trials_go_on_from_those_that_are_done():
    before = all_of(searched())
    assert all_of(searched(config=replace(QUICK, trials=8)), 8)[:5] == before


def test_other_rows_or_folds_are_another_search_and_the_order_of_rows_is_none():
    names = {searched(rows=FLOWERS.sample(frac=1, random_state=1)).name, searched().name}
    assert len(names) == 1
    changed = FLOWERS.copy()
    changed.loc[0, IRIS.inputs[0]] += 0.1
    others = {searched(rows=changed).name, searched(config=replace(QUICK, inner_folds=4)).name}
    assert len(others | names) == 3


def test_a_trial_that_cannot_be_fitted_is_counted_with_its_reason_and_the_search_goes_on(monkeypatch):
    scored = Partition.metrics

    def metrics(self, fold, made, seed):
        if made.model_class == "knn" and made != recipe("knn"):
            raise RuntimeError("no neighbours today")
        return scored(self, fold, made, seed)

    monkeypatch.setattr(Partition, "metrics", metrics)
    for part in range(4):
        search.trial(searched(part), 4)
    report = search_result.conclude(IRIS, FLOWERS, QUICK, 3, str)
    assert (report.cost.failed, report.cost.reasons) == (12, ("knn: no neighbours today",))
    assert not report.better
    assert "failed: knn: no neighbours today" in search_words(report)


def test_where_no_default_can_be_fitted_there_is_nothing_to_compare_with(monkeypatch):
    def metrics(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(Partition, "metrics", metrics)
    for part in range(4):
        search.trial(searched(part), 4)
    with pytest.raises(UntrainableRows, match=r"no default could be fitted .*no memory"):
        search_result.conclude(IRIS, FLOWERS, QUICK, 3, str)


def test_a_process_that_dies_again_and_again_sets_its_trial_aside(monkeypatch):
    made = searched()
    search.trial(made, 1)
    for _ in range(studies.MOST_DEATHS):
        with search._open(made) as study:
            search._draw(made, study, 2)  # and dies
    assert search.trials(made, 3)[2].reason == "its process died 5 times"
    assert len(all_of(made)) == 5


@pytest.mark.parametrize(
    "rows, complaint",
    [
        (FLOWERS[FLOWERS["species"] == "setosa"], "want"),
        (FLOWERS.groupby("species").head(2), "bring more"),
    ],
)
def test_too_few_rows_or_outcomes_are_refused_before_anything_is_fitted(rows, complaint):
    with pytest.raises(UntrainableRows, match=complaint):
        search.parts(IRIS, rows, QUICK)


def test_twelve_rows_are_searched_on_as_many_folds_as_they_allow():
    rows = FLOWERS.groupby("species").head(4)
    parts = search.parts(IRIS, rows, QUICK)
    for part in range(parts):
        search.trial(searched(part, rows=rows), 4)
    report = search_result.conclude(IRIS, rows, QUICK, 3, str)
    assert (report.rows, report.outer_folds, len(report.choices)) == (12, 3, parts - 1)


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"trials": 5}, "more than the 5 model classes"),
        ({"model_classes": ()}, "each once"),
        ({"model_classes": ("knn", "knn")}, "each once"),
        ({"outer_folds": 1}, "from 2 to 20"),
        ({"seed": -1}, "from 0"),
    ],
)
def test_a_config_of_other_form_is_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        SearchConfig(**wrong)


@pytest.mark.parametrize("gain, verdict", [(0.1, "are better"), (-0.1, "are worse"), (0.0, "No better")])
def test_the_verdict_follows_the_gain_on_rows_that_were_not_seen(monkeypatch, gain, verdict):
    """Inside, drawn settings always look better; on the outer folds they are as they are."""
    outer = search.outer_partition(IRIS, searched().rows, QUICK).splits

    def metrics(self, fold, made, _seed):
        inside = len(self._data.codes) < len(FLOWERS)
        drawn = made.model_class == "knn" and made != recipe("knn")
        return {
            "log_loss": 0.5 - drawn * (0.2 if inside else gain) + fold / 100,
            "accuracy": 0.9 - drawn * 0.1,
        }

    monkeypatch.setattr(Partition, "metrics", metrics)
    for part in range(len(outer) + 1):
        search.trial(searched(part), 4)
    report = search_result.conclude(IRIS, FLOWERS, QUICK, 3, str)
    assert verdict in report.verdict
    assert report.better == (gain > 0)
    assert ("But accuracy is worse: -0.1" in report.verdict) == report.better
    assert report.gain["log_loss"].mean == pytest.approx(gain)
