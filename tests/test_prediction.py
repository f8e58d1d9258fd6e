"""Prediction: the champion from the store, and every row predicted once."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from fitted_models import fitted, made_up_scores, system_and_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.store import NotFound, Store, StoreError, open_store
from dagsverk.tabular.features import check_inputs
from dagsverk.tabular.gate import decide
from dagsverk.tabular.models import InvalidModel
from dagsverk.tabular.prediction import Champion, load_champion, pending, predict_rows, read_champion
from dagsverk.tabular.tables import features_table, identity, predictions_table
from dagsverk.tabular.training import write_model_folder

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """With a champion of Titanic."""
    system, rows = system_and_rows("titanic")
    scores = [made_up_scores([0.4, 0.5])]
    model = fitted("titanic", "xgboost")
    folder = write_model_folder(
        tmp_path_factory.mktemp("model"),
        system,
        model,
        scores=scores,
        decision=decide(scores[0], None),
        rows=rows,
        lineage={},
    )
    opened = open_store(str(tmp_path_factory.mktemp("store")))
    saved = opened.save_model("titanic", folder, metrics={"log_loss": 0.45})
    opened.promote("titanic", saved.version, reason="first", expected=None)
    return opened


@pytest.fixture(scope="module")
def champion(store) -> Champion:
    return load_champion(system_and_rows("titanic")[0], store)


def test_the_champion_of_the_store_predicts_as_the_model_that_was_saved(champion):
    _, rows = system_and_rows("titanic")
    predictions = champion.predict(rows)
    before = fitted("titanic", "xgboost").predict_proba(champion_inputs())
    np.testing.assert_allclose(np.array(predictions["probabilities"].tolist()), before, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(predictions["probability"], before.max(axis=1))
    assert (
        predictions["prediction"].tolist() == np.array(["died", "survived"])[before.argmax(axis=1)].tolist()
    )
    assert champion.card.startswith("# Titanic: xgboost")


def champion_inputs() -> pd.DataFrame:
    from fitted_models import inputs_of

    return inputs_of("titanic")


def test_a_row_that_a_person_entered_is_predicted_and_explained(champion):
    system, _ = system_and_rows("titanic")
    entered = {"pclass": 1, "sex": "female", "age": "", "sibsp": 0, "parch": 0, "fare": "80", "embarked": "C"}
    row = check_inputs(system, entered)
    (prediction,) = champion.predict(row).itertuples(index=False)
    explanation = champion.explain(row)
    assert prediction.prediction == explanation.outcome == "survived"
    assert prediction.probability == pytest.approx(explanation.probability)


def test_before_the_first_promotion_the_error_says_how_to_train(tmp_path):
    system, _ = system_and_rows("iris")
    with pytest.raises(NotFound, match="prefect deployment run day/iris"):
        load_champion(system, open_store(str(tmp_path / "store")))


def test_a_changed_model_file_in_the_store_is_refused(store, tmp_path):
    system, _ = system_and_rows("titanic")
    model = store.champion("titanic")
    assert model is not None
    folder = store.download(model, tmp_path / "model")
    again = open_store(str(tmp_path / "store"))
    saved = again.save_model("titanic", folder, metrics={"log_loss": 0.45})
    again.promote("titanic", saved.version, reason="first", expected=None)
    files = [path for path in (tmp_path / "store").rglob("model.ubj") if path.is_file()]
    assert len(files) == 1
    files[0].chmod(0o600)
    files[0].write_bytes(b"x" + files[0].read_bytes()[1:])
    with pytest.raises(StoreError, match=r"model\.ubj"):
        load_champion(system, again)


@pytest.mark.parametrize("gone", ["background.json", "card.md", "recipe.json", "model.ubj"])
def test_a_folder_that_is_not_whole_is_refused(gone, store, champion, tmp_path):
    system, _ = system_and_rows("titanic")
    folder = store.download(champion.model, tmp_path / "model")
    (folder / gone).unlink()
    with pytest.raises(InvalidModel, match="train a new model"):
        read_champion(system, champion.model, folder)


def test_predictions_fit_their_table_and_a_repeat_adds_nothing(store, champion):
    system, rows = system_and_rows("titanic")
    table = predictions_table(system)
    store.ensure(table)
    predictions = predict_rows(champion, rows, identity(rows[rows["row_id"] == "titanic-1"]), NOW)
    assert predictions.columns.tolist() == table.schema.names
    assert store.upsert(table, predictions).inserted == 891
    assert store.upsert(table, predictions).inserted == 0
    stored = store.read(table)
    assert stored["seen_in_training"].sum() == 1
    assert (stored["predicted_at"] == pd.Timestamp("2026-03-01 12:00")).all()
    assert pending(rows, stored, champion.version).empty
    assert len(pending(rows, stored, champion.version + 1)) == 891


def test_rows_read_back_from_the_store_are_predicted_alike(store, champion):
    system, rows = system_and_rows("titanic")
    store.ensure(features_table(system))
    store.upsert(features_table(system), rows)
    stored = store.read(features_table(system)).set_index("row_id").loc[rows["row_id"]].reset_index()
    np.testing.assert_array_equal(
        champion.predict(stored)["probability"], champion.predict(rows)["probability"]
    )


def test_no_rows_give_no_predictions_in_the_same_layout(champion):
    _, rows = system_and_rows("titanic")
    predictions = predict_rows(champion, rows.head(0), identity(rows.head(0)), NOW)
    assert predictions.empty
    assert predictions.columns.tolist() == predictions_table(champion.system).schema.names


def test_a_moment_without_a_zone_is_refused(champion):
    _, rows = system_and_rows("titanic")
    with pytest.raises(ValueError, match="time zone"):
        predict_rows(champion, rows, identity(rows.head(0)), NOW.replace(tzinfo=None))


def features_of(identities: list[tuple[str, int]]) -> pd.DataFrame:
    ids, days = zip(*identities, strict=True) if identities else ((), ())
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(pd.Series(days, dtype="int64"), unit="D")
    return pd.DataFrame({"row_id": pd.Series(ids, dtype=object), "event_time": times})


names = st.tuples(st.sampled_from("abcd"), st.integers(0, 2))


@settings(max_examples=40, deadline=None)
@given(
    features=st.lists(names, unique=True, max_size=8),
    done=st.lists(st.tuples(names, st.integers(1, 2)), max_size=8),
)
def test_pending_and_predicted_rows_are_all_rows_and_share_none(features, done):
    predictions = features_of([row for row, _ in done]).assign(model_version=[v for _, v in done])
    waiting = pending(features_of(features), predictions, 2)
    expected = [row for row in features if (row, 2) not in done]
    days = (waiting["event_time"] - pd.Timestamp("2026-01-01")).dt.days
    assert list(zip(waiting["row_id"], days, strict=True)) == expected


def test_a_time_zone_does_not_make_a_predicted_row_pending():
    features = features_of([("a", 0), ("b", 1)])
    predictions = features.head(1).assign(model_version=1)
    predictions["event_time"] = predictions["event_time"].dt.tz_localize("UTC")
    assert pending(features, predictions, 1)["row_id"].tolist() == ["b"]
