"""The model classes: how each is built, fitted and asked, and files of it that cannot run code."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import sklearn
import skops.io
import xgboost
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from dagsverk.records import read_file, write_file
from dagsverk.tabular.calibration import Calibration, fit_calibration
from dagsverk.tabular.config import MODEL_CLASSES
from dagsverk.tabular.metrics import Floats, Integers
from dagsverk.tabular.recipes import Recipe, recipe
from dagsverk.tabular.system import System
from dagsverk.tabular.thresholds import balanced_weights, named
from dagsverk.tabular.tuning import Tuning, choose_balance, choose_tuning, tunes

__all__ = ["MODEL_CLASSES", "Classifier", "InvalidModel", "Recipe", "fit", "load", "recipe", "save"]

Strings: TypeAlias = NDArray[Any]  # class names, dtype object or str
Estimator: TypeAlias = Pipeline | HistGradientBoostingClassifier | xgboost.Booster

UNTUNED = Tuning()
# Inside its parallel calls (bins of histograms, neighbours) scikit-learn empties the process's filters of
# warnings for a moment: two at once would leave them empty, and every later call would warn.
_PARALLEL = threading.Lock()
INNER_FOLDS = 5  # of the cross-validation that calibrations are fitted on, and thresholds chosen
MANY_ROWS, FEW_FOLDS = 1_500, 3  # from so many rows on so few folds are enough for one or two numbers
RECIPE_FILE, SKOPS_FILE, XGBOOST_FILE = "recipe.json", "model.skops", "model.ubj"
FORMAT = 1

# What a model file may hold beyond skops' own list (plain scikit-learn and NumPy). It is kept here because
# a list inside the file would be the attacker's own.
TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)


class InvalidModel(ValueError):
    """A model file that is damaged, untrusted or belongs to other columns."""


@dataclass(frozen=True)
class Encoding:
    """Model inputs -> numbers, from declared categories alone, so that nothing is learned from rows."""

    columns: tuple[tuple[str, tuple[str, ...]], ...]  # name, its categories (none: a number)

    @classmethod
    def of(cls, system: System) -> Encoding:
        """Inputs as entered, then derived ones."""
        entered = [(column.name, column.categories) for column in system.columns]
        return cls((*entered, *((name, ()) for name in system.derived)))

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(len(categories) if len(categories) > 2 else 1 for _, categories in self.columns)

    def matrix(self, inputs: pd.DataFrame) -> Floats:
        """Shape (rows, width), whatever the order of the columns given; missing numbers stay NaN.

        A category of two is one 0/1 column (missing: NaN); of more, one column each (missing: all 0).
        Raises ValueError when a column is absent.
        """
        if absent := [name for name, _ in self.columns if name not in inputs.columns]:
            raise ValueError(f"the model wants inputs {', '.join(absent)}; found {', '.join(inputs.columns)}")
        parts = [_encode(inputs[name], categories) for name, categories in self.columns]
        matrix: Floats = np.concatenate(parts, axis=1)
        return matrix


def _encode(values: pd.Series[Any], categories: tuple[str, ...]) -> Floats:
    if not categories:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)[:, None]
    codes = np.asarray(pd.Categorical(values, categories=list(categories)).codes)
    if len(categories) == 2:
        return np.where(codes < 0, np.nan, codes)[:, None]
    one_hot: Floats = (codes[:, None] == np.arange(len(categories))).astype(np.float64)
    return one_hot


@dataclass(frozen=True)
class Classifier:
    """A fitted model. `predict_proba` is the same for every class of model."""

    recipe: Recipe
    encoding: Encoding
    classes: tuple[str, ...]
    estimator: Estimator
    calibration: Calibration | None = None
    tuning: Tuning = UNTUNED

    def predict_proba(self, inputs: pd.DataFrame) -> Floats:
        """Probabilities, shape (rows, classes), in the order of `System.classes`; each row sums to 1.

        Args: inputs: as from `features.model_inputs`.
        """
        if inputs.empty:
            return np.empty((0, len(self.classes)))
        raw = _ask(self.estimator, self.encoding.matrix(inputs), len(self.classes))
        return self.calibration.apply(raw) if self.calibration else raw

    def named(self, probabilities: Floats) -> Integers:
        """The class predicted for each row of these probabilities, by its index, shape (rows,)."""
        return named(probabilities, self.tuning.weights)


def fit(
    system: System,
    recipe: Recipe,
    inputs: pd.DataFrame,
    labels: Strings,
    seed: int = 42,
    *,
    calibrate: bool = False,
    tune: bool = True,
) -> Classifier:
    """Fit a model, and if asked its calibration, on rows with known outcomes.

    Where the system is judged by the classes named (`measures.THRESHOLD_FOR`), weights of the rows and a
    threshold are chosen as well. Calibration and choices come from a cross-validation inside these rows.

    Args: inputs: from `features.model_inputs`, shape (rows, inputs + derived).
        labels: class names, shape (rows,).
        calibrate: correct the probabilities.
        tune: False: choose nothing, whatever the system is judged by.
    Raises: ValueError for labels that are not classes of the system, or fewer than two classes.
    """
    codes = class_codes(system, labels)
    encoding = Encoding.of(system)
    matrix = encoding.matrix(inputs)
    out_of_fold = partial(_out_of_fold, recipe, matrix, codes, system, seed)
    tune = tune and tunes(system, codes)
    balanced, seen = False, np.empty(0)
    if tune:
        balanced, seen = choose_balance(system, recipe.model_class, codes, out_of_fold)
    elif calibrate:
        seen = out_of_fold(False)
    estimator = _fit(recipe, matrix, codes, system, seed, balanced)
    calibration = fit_calibration(seen, codes) if calibrate else None
    seen = calibration.apply(seen) if calibration else seen
    tuning = choose_tuning(system, balanced, seen, codes) if tune else Tuning()
    return Classifier(recipe, encoding, system.classes, estimator, calibration, tuning)


def class_codes(system: System, labels: Strings) -> Integers:
    """Class names -> their index in `System.classes`. Raises ValueError for a name that is no class."""
    codes = np.asarray(pd.Categorical(labels, categories=list(system.classes)).codes).astype(np.int64)
    if (codes < 0).any():
        strange = sorted({str(label) for label in np.asarray(labels, dtype=object)[codes < 0]})[:5]
        raise ValueError(f"{system.name}: want outcomes {', '.join(system.classes)}; found {strange}")
    return codes


def _out_of_fold(
    recipe: Recipe, matrix: Floats, codes: Integers, system: System, seed: int, balanced: bool
) -> Floats:
    """Probabilities of rows that their model was not fitted on, shape (rows, classes)."""
    smallest = int(np.unique(codes, return_counts=True)[1].min())
    if smallest < 2:
        raise ValueError(f"{system.name}: a calibration needs two rows of each outcome, found {smallest}")
    folds = INNER_FOLDS if len(codes) < MANY_ROWS else FEW_FOLDS
    parts = StratifiedKFold(min(folds, smallest), shuffle=True, random_state=seed)
    probabilities = np.empty((len(codes), len(system.classes)))
    for train, test in parts.split(matrix, codes):
        estimator = _fit(recipe, matrix[train], codes[train], system, seed, balanced)
        probabilities[test] = _ask(estimator, matrix[test], len(system.classes))
    return probabilities


def _fit(
    recipe: Recipe, matrix: Floats, codes: Integers, system: System, seed: int, balanced: bool
) -> Estimator:
    if len(np.unique(codes)) < 2:
        raise ValueError(f"{system.name}: want rows of two outcomes or more to learn from, found one or none")
    weights = balanced_weights(codes) if balanced else None
    if recipe.model_class == "xgboost":
        return _fit_xgboost(recipe, matrix, codes, weights, len(system.classes), seed)
    if recipe.model_class == "hist_gradient_boosting":  # knows what to do with what is missing
        return _fit_histograms(_scikit_learn(recipe, len(system.classes), seed), matrix, codes)
    # Empty columns are kept as 0, so that the width never depends on the fold.
    steps = [
        ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
        ("scale", StandardScaler()),
        ("classify", _scikit_learn(recipe, len(system.classes), seed)),
    ]
    if recipe.model_class == "knn":  # a small table has fewer neighbours than asked
        steps[-1][1].n_neighbors = min(steps[-1][1].n_neighbors, len(matrix))
    weighed = {} if weights is None else {"classify__sample_weight": weights}
    return Pipeline(steps).fit(matrix, codes, **weighed)


def _scikit_learn(recipe: Recipe, classes: int, seed: int) -> Any:
    parameters = dict(recipe.parameters)
    if recipe.model_class == "knn":
        return KNeighborsClassifier(**parameters, n_jobs=1)
    if recipe.model_class == "logistic":
        return LogisticRegression(**parameters, random_state=seed)
    if recipe.model_class == "lda":
        return LinearDiscriminantAnalysis(**parameters)
    if recipe.model_class == "hist_gradient_boosting":
        return HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=seed)
    trees_per_stage = classes if classes > 2 else 1
    parameters["n_estimators"] = max(1, parameters["n_estimators"] // trees_per_stage)
    return GradientBoostingClassifier(**parameters, random_state=seed)


def _fit_xgboost(
    recipe: Recipe, matrix: Floats, codes: Integers, weights: Floats | None, classes: int, seed: int
) -> xgboost.Booster:
    parameters = dict(recipe.parameters)
    rounds = parameters.pop("n_estimators")
    objective = {"objective": "multi:softprob", "num_class": classes}
    if classes == 2:
        objective = {"objective": "binary:logistic"}
    settings = {**parameters, **objective, "tree_method": "hist", "nthread": 1, "seed": seed}
    return xgboost.train(settings, xgboost.DMatrix(matrix, codes, weight=weights, nthread=1), rounds)


def _fit_histograms(
    estimator: HistGradientBoostingClassifier, matrix: Floats, codes: Integers
) -> HistGradientBoostingClassifier:
    """Only the binning, which is short, is one at a time."""
    bin_data = estimator._bin_data

    def alone(*arguments: Any, **named_arguments: Any) -> Any:
        with _PARALLEL:
            return bin_data(*arguments, **named_arguments)

    estimator._bin_data = alone
    try:
        with _one_thread():
            return estimator.fit(matrix, codes)
    finally:
        del estimator._bin_data  # the method is back; a file holds no function


def _one_thread() -> Any:
    """OpenMP's threads wait by turning: on a machine with other work two are far slower than one."""
    return _libraries().limit(limits=1, user_api="openmp")


_libraries = cache(ThreadpoolController)


def _ask(estimator: Estimator, matrix: Floats, classes: int) -> Floats:
    """Probabilities of all classes, also of those that the estimator never saw."""
    if isinstance(estimator, xgboost.Booster):
        raw = estimator.inplace_predict(matrix).astype(np.float64)
        both = np.column_stack([1 - raw, raw]) if classes == 2 else raw
        return np.asarray(both / both.sum(axis=1, keepdims=True))
    probabilities = np.zeros((len(matrix), classes))
    with _one_thread() if isinstance(estimator, HistGradientBoostingClassifier) else _PARALLEL:
        probabilities[:, estimator.classes_] = estimator.predict_proba(matrix)
    return probabilities


def save(classifier: Classifier, folder: Path) -> None:
    """Write the model's files into the folder, which is made if absent: no format here can run code."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(classifier.estimator, xgboost.Booster):
        name, data = XGBOOST_FILE, bytes(classifier.estimator.save_raw("ubj"))
    else:
        name, data = SKOPS_FILE, skops.io.dumps(classifier.estimator)
    (folder / name).write_bytes(data)
    description = {
        "format": FORMAT,
        "sha256": hashlib.sha256(data).hexdigest(),
        **classifier.recipe.to_dict(),
        "columns": [[name, list(categories)] for name, categories in classifier.encoding.columns],
        "classes": list(classifier.classes),
        "calibration": classifier.calibration.to_dict() if classifier.calibration else None,
        "tuning": classifier.tuning.to_dict(),
        "libraries": {"scikit-learn": sklearn.__version__, "xgboost": xgboost.__version__},
    }
    write_file(folder / RECIPE_FILE, description)


def load(system: System, folder: Path) -> Classifier:
    """Read a saved model. Raises InvalidModel: damaged, untrusted types, other columns or classes."""
    described = _read_recipe(folder / RECIPE_FILE)
    encoding = Encoding.of(system)
    wanted = [[name, list(categories)] for name, categories in encoding.columns]
    if described["columns"] != wanted or described["classes"] != list(system.classes):
        raise InvalidModel(
            f"{folder} holds a model of columns {described['columns']} and classes {described['classes']}; "
            f"{system.name} has {wanted} and {list(system.classes)} now: train a new model"
        )
    try:
        made = recipe(described["model_class"], **described["parameters"])
        numbers = described["calibration"]
        calibration = None if numbers is None else Calibration.from_dict(numbers)
        tuning = Tuning.from_dict(described.get("tuning"), len(system.classes))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InvalidModel(f"{folder / RECIPE_FILE} is not one of ours: {error}") from error
    path = folder / (XGBOOST_FILE if made.model_class == "xgboost" else SKOPS_FILE)
    data = _read_model(path, described["sha256"])
    estimator = _parse_xgboost(data, path) if path.name == XGBOOST_FILE else _parse_skops(data, path)
    _check_estimator(estimator, made, encoding, system, folder)
    return Classifier(made, encoding, system.classes, estimator, calibration, tuning)


def _read_recipe(path: Path) -> dict[str, Any]:
    wanted = {"format", "sha256", "model_class", "parameters", "columns", "classes", "calibration"}
    try:
        described = read_file(path)
    except (OSError, ValueError) as error:
        raise InvalidModel(f"cannot read {path}: {error}; train a new model") from error
    if not isinstance(described, dict) or not wanted <= set(described) or described["format"] != FORMAT:
        raise InvalidModel(f"{path} is not a recipe of format {FORMAT}; train a new model")
    return described


def _read_model(path: Path, sha256: str) -> bytes:
    """The file's bytes, once: what is checked is what is parsed. XGBoost's parser crashes on damaged ones."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"cannot read {path}: {error.strerror}; train a new model") from error
    if (actual := hashlib.sha256(data).hexdigest()) != sha256:
        raise InvalidModel(
            f"{path} was changed: SHA-256 {actual}, the recipe says {sha256}; train a new model"
        )
    return data


def _parse_xgboost(data: bytes, path: Path) -> xgboost.Booster:
    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(data))
    except xgboost.core.XGBoostError as error:
        raise InvalidModel(f"{path} is not a model of XGBoost; train a new model") from error
    return booster


def _parse_skops(data: bytes, path: Path) -> Any:
    try:
        untrusted = set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES)
        estimator = None if untrusted else skops.io.loads(data, trusted=TRUSTED_TYPES)
    except Exception as error:  # a damaged archive can fail anywhere in skops
        raise InvalidModel(f"cannot read {path} ({type(error).__name__}); train a new model") from error
    if untrusted:
        raise InvalidModel(f"{path} holds types that no model of ours has: {', '.join(sorted(untrusted))}")
    return estimator


def _check_estimator(
    estimator: Any, recipe: Recipe, encoding: Encoding, system: System, folder: Path
) -> None:
    """The file must hold the very kind of model that the recipe names."""
    if isinstance(estimator, xgboost.Booster):
        if estimator.num_features() != encoding.width:
            raise InvalidModel(
                f"{folder} wants {encoding.width} inputs, its model {estimator.num_features()}"
            )
        return
    made = type(_scikit_learn(recipe, len(system.classes), 0))
    alone = made is HistGradientBoostingClassifier
    wanted = [made] if alone else [SimpleImputer, StandardScaler, made]
    steps = (
        [type(step) for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [type(estimator)]
    )
    if steps != wanted or estimator.n_features_in_ != encoding.width:
        raise InvalidModel(f"{folder}: the recipe says {recipe.model_class}, the model file holds {steps}")
