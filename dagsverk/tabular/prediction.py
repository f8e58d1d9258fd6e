"""The champion at work: rows not yet predicted -> predictions; one row -> a prediction and what moved it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from dagsverk.records import read_file
from dagsverk.store.protocol import Model, ModelRegistry, NotFound
from dagsverk.tabular.explanation import Explanation, explain
from dagsverk.tabular.features import model_inputs
from dagsverk.tabular.models import Classifier, InvalidModel, load
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import identity, predictions_table


@dataclass(frozen=True)
class Champion:
    """A model in use, with the rows that its explanations compare with."""

    system: System
    model: Model
    classifier: Classifier
    background: pd.DataFrame  # inputs as entered, shape (rows, inputs)
    card: str = ""  # Markdown

    @property
    def version(self) -> int:
        return self.model.version

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Prediction, its probability, and probabilities (a list, in the order of `System.classes`).

        Where a threshold was chosen in training, the prediction follows it, and need not be the likeliest.

        Args: rows: at least the inputs, as stored or from `features.check_inputs`, shape (rows, ...).
        Returns: shape (rows, 3), with the rows' own index.
        """
        probabilities = self.classifier.predict_proba(model_inputs(self.system, rows))
        best = self.classifier.named(probabilities)
        columns = {
            "prediction": pd.Series([self.system.classes[k] for k in best], rows.index, dtype=object),
            "probability": pd.Series(probabilities[np.arange(len(best)), best], rows.index),
            "probabilities": pd.Series(list(probabilities.tolist()), rows.index, dtype=object),
        }
        return pd.DataFrame(columns)

    def explain(self, row: pd.DataFrame, outcome: str | None = None) -> Explanation:
        """What moved the probability of the predicted class, or of `outcome`, for one row of inputs."""
        return explain(self.system, self.classifier, row, self.background, outcome)


def load_champion(system: System, store: ModelRegistry) -> Champion:
    """The system's champion, its files checked against their hashes.

    Reads the registry and all files on each call: keep the result by (name, version).
    Raises: NotFound before the first promotion; StoreError for changed files; InvalidModel.
    """
    model = store.champion(system.name)
    if model is None:
        raise NotFound(_no_champion(system, store))
    with TemporaryDirectory(prefix="dagsverk-") as folder:
        return read_champion(system, model, store.download(model, Path(folder) / "model"))


def _no_champion(system: System, store: ModelRegistry) -> str:
    """Why there is none: nothing was trained yet, or the gate has refused what was."""
    if made := store.models(system.name):
        newest = max(made, key=lambda model: model.version)
        return f"no champion of {system.name}; version {newest.version}: {newest.info['decision']['reason']}"
    return f"no champion of {system.name} yet; train one: prefect deployment run day/{system.name}"


def read_champion(system: System, model: Model, folder: Path) -> Champion:
    """A champion from its downloaded folder. Raises InvalidModel when a file is missing or damaged."""
    try:
        rows = read_file(folder / "background.json")
        background = pd.DataFrame(rows)[list(system.inputs)]
        card = (folder / "card.md").read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        raise InvalidModel(f"{folder} is not a whole model folder: {error}; train a new model") from error
    for column in system.columns:
        if column.kind != "category":  # a column of nothing but null would be of no type
            background[column.name] = pd.to_numeric(background[column.name])
    return Champion(system, model, load(system, folder), background, card)


def pending(features: pd.DataFrame, predictions: pd.DataFrame, model_version: int) -> pd.DataFrame:
    """Rows that this version has not predicted: features without those whose identity has a prediction.

    Args: features, predictions: layouts of the two tables (at least row_id, event_time, model_version).
    """
    done = identity(predictions[predictions["model_version"] == model_version])
    missing: pd.DataFrame = features[~identity(features).isin(done)]
    return missing.reset_index(drop=True)


def predict_rows(
    champion: Champion, rows: pd.DataFrame, seen: pd.MultiIndex, now: dt.datetime
) -> pd.DataFrame:
    """Predictions in the layout of the predictions table, one per row.

    Args: seen: identities of the rows that the champion was fitted on.
        now: when the predictions are made; with a time zone.
    Raises: ValueError for a moment without a time zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"predicted_at needs a time zone, got {now.isoformat()}")
    predictions = champion.predict(rows).assign(
        row_id=rows["row_id"],
        model_version=champion.version,
        event_time=rows["event_time"],
        predicted_at=pd.Timestamp(now).tz_convert("UTC").tz_localize(None),
        seen_in_training=identity(rows).isin(seen),
    )
    names = predictions_table(champion.system).schema.names
    layout: pd.DataFrame = predictions[names]
    return layout.reset_index(drop=True)
