"""The model card: what a model is, what it was made of, how good it is and where it is weak, in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from dagsverk import words
from dagsverk.promotion import Decision
from dagsverk.tabular.measures import REPORTED, THRESHOLD_FOR, WORDS
from dagsverk.tabular.models import Classifier
from dagsverk.tabular.reports import Interval
from dagsverk.tabular.scores import Group, Scores
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.thresholds import threshold_of
from dagsverk.version import code_version

HARDLY = 0.1  # recall below which a class is said to be hardly ever recognised
LIBRARIES = ("dagsverk", "scikit-learn", "skops", "numpy", "pandas")

INTERVALS = (
    "Means over the folds with 95 % intervals: a t interval whose variance is corrected for folds that share "
    "training rows (Nadeau & Bengio 2003); for the expected calibration error (ECE, 15 bins of the predicted "
    "class's probability, all folds pooled) a basic bootstrap of the rows. AUC with more than two classes is "
    "the mean of each against the rest. The hold-out is one seeded, stratified 80/20 split, as the "
    "original systems reported (theirs was not stratified): one such split is mostly luck, so nothing is "
    "chosen by it. Balanced accuracy is the mean recall of the classes; precision counts as 0 in a fold that "
    "never names the class."
)


def model_card(
    system: System,
    classifier: Classifier,
    *,
    chosen: Scores,
    scores: Sequence[Scores],
    decision: Decision,
    lineage: Mapping[str, Any],
) -> str:
    """The card's Markdown. `chosen` are the classifier's own scores, `scores` those of all classes."""
    sections = [
        f"# {system.title}: {classifier.recipe.model_class}",
        f"{system.description} For one {system.row_name} the model gives a probability for each of: "
        f"{', '.join(system.label.words(name) for name in system.classes)}.",
        "## Decision\n\n" + words.decision(decision.reason, decision.warnings, decision.rule),
        "## Data\n\n" + _data(system, chosen, lineage),
        "## Scores\n\n" + _protocol(chosen) + "\n\n" + _table(scores, chosen) + "\n\n" + INTERVALS,
        "## Classes\n\n" + _classes(classifier, chosen),
        "## Limits\n\n" + _limits(system, chosen.groups),
        "## Calibration\n\n" + _calibration(classifier, chosen),
        "## Made with\n\n" + _made_with(classifier, lineage),
        "## Use\n\n" + _use(system),
    ]
    return "\n\n".join(sections) + "\n"


def _data(system: System, chosen: Scores, lineage: Mapping[str, Any]) -> str:
    inputs = words.table(
        ("input", "kind", "limits", "may be missing"),
        (
            (f"`{c.name}` {c.description}", c.kind, _range(c), "no" if c.required else "yes")
            for c in system.columns
        ),
    )
    derived = (
        f"\n\nDerived from them: {', '.join(f'`{name}`' for name in system.derived)}."
        if system.derived
        else ""
    )
    doubled = f"{chosen.twice.words} " if chosen.twice and chosen.twice.words else ""
    rows = f"{chosen.rows} real rows scored. {doubled}{system.licence}"
    return f"{rows}\n\n{words.facts(lineage)}\n\n{inputs}{derived}"


def _range(column: Column) -> str:
    if column.categories:
        return ", ".join(column.categories)
    ends = ["" if end is None else f"{end:g}" for end in (column.minimum, column.maximum)]
    return f"{ends[0]} to {ends[1]} {column.unit}".strip()


def _protocol(chosen: Scores) -> str:
    return (
        f"Stratified cross-validation, {chosen.repeats} × {chosen.folds} folds{_fewer(chosen)}, seed "
        f"{chosen.seed}, on real rows only; imputing, scaling, the model, its calibration and its threshold "
        "are fitted inside each fold."
    )


def _fewer(chosen: Scores) -> str:
    rarest = min(chosen.per_class, key=lambda c: c.rows, default=None)
    if rarest is None or rarest.rows > chosen.folds:
        return ""
    return f" (no more, because `{rarest.name}` has {rarest.rows} rows)"


def _table(scores: Sequence[Scores], chosen: Scores) -> str:
    names = [name for name in REPORTED if name in chosen.metrics]  # scores of before have fewer
    header = ("model", *(WORDS[name] for name in names), "hold-out accuracy", "hold-out log-loss")
    models = [
        (
            f"**{_name(s)}**" if s == chosen else _name(s),
            *(_interval(s.metrics[name]) if name in s.metrics else "" for name in names),
            *(f"{s.holdout[name]:.3f}" if name in s.holdout else "" for name in ("accuracy", "log_loss")),
        )
        for s in sorted(scores, key=lambda s: s.loss)
    ]
    baseline = ("commonest class", *(f"{chosen.baseline[name]:.3f}" for name in names), "", "")
    return words.table(header, [*models, baseline])


def naming(classifier: Classifier, positive: str) -> str:
    """How the predicted class comes from the probabilities, in a sentence or two."""
    tuning, classes = classifier.tuning, classifier.classes
    if tuning.weights is None:
        how = "The class with the greatest probability is predicted."
        if tuning.measure:
            how = f"{how} No other rule was better for the {WORDS[THRESHOLD_FOR[tuning.measure]]}."
    elif len(classes) == 2:
        place = classes.index(positive) if positive else 1
        how = (
            f"`{classes[place]}` is predicted from a probability of "
            f"{threshold_of(tuning.weights, place):.3g} on"
        )
    else:
        weights = ", ".join(f"`{c}` {w:.3g}" for c, w in zip(classes, tuning.weights, strict=True))
        how = f"Predicted is the class whose probability times its weight is greatest: {weights}"
    if tuning.weights is not None:
        how += (
            f": best for the {WORDS[THRESHOLD_FOR[tuning.measure]]} of rows that the model was not fitted "
            "on, inside the training rows."
        )
    if tuning.balanced:
        how += " In fitting, rows weigh so that each class counts the same: that was better, too."
    return how


def _classes(classifier: Classifier, chosen: Scores) -> str:
    about = f"the class `{chosen.positive}`" if chosen.positive else "the mean over all classes"
    sentence = (
        f"{naming(classifier, chosen.positive)} Models are chosen by {WORDS[chosen.measure]}; above, recall, "
        f"precision, F1 and average precision are of {about}."
    )
    if not chosen.per_class:
        return sentence
    rows = (
        (f"`{c.name}`", str(c.rows), *map(_interval, (c.recall, c.precision, c.average_precision)))
        for c in chosen.per_class
    )
    header = ("class", "rows", "recall", "precision", "average precision")
    return f"{sentence}{_unseen(chosen)}\n\n{words.table(header, rows)}"


def _unseen(chosen: Scores) -> str:
    """Classes that are hardly ever recognised: the accuracy does not show it."""
    missed = [f"`{c.name}`" for c in chosen.per_class if c.recall.mean < HARDLY]
    if not missed:
        return ""
    advice = (
        ""
        if chosen.measure in THRESHOLD_FOR
        else (
            '; who must find them sets `measure="average_precision"`, `"f1"` or `"balanced_accuracy"` in the '
            "system file, and a threshold is chosen"
        )
    )
    return f" Hardly ever recognised: {', '.join(missed)}{advice}."


def _interval(metric: Interval) -> str:
    return words.interval(metric.mean, metric.low, metric.high)


def _name(scores: Scores) -> str:
    return f"{scores.model_class}, calibrated" if scores.calibrated else scores.model_class


def _limits(system: System, groups: Sequence[Group]) -> str:
    use = (
        f"Made of {system.title} rows and good for their like only: it knows nothing outside the ranges "
        "above, and an association is not a cause."
    )
    if not groups:
        return use
    rows = (
        (
            ", ".join(f"{name} {value}" for name, value in group.values.items()),
            str(group.rows),
            f"{group.accuracy:.2f}",
        )
        for group in groups
    )
    return (
        f"{use} Its weakest groups of 30 rows or more:\n\n{words.table(('group', 'rows', 'accuracy'), rows)}"
    )


def _calibration(classifier: Classifier, chosen: Scores) -> str:
    if classifier.calibration is None:
        return (
            "None. Fitted on the very outcomes that it is scored on, one would lower the log-loss by "
            f"{chosen.calibration_gain:.4f}; it is applied only where it lowers the log-loss of other rows."
        )
    kind = "A sigmoid on the log-odds" if len(classifier.classes) == 2 else "A temperature"
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in classifier.calibration.to_dict().items())
    return f"{kind}, fitted on out-of-fold probabilities inside the training rows: {numbers}."


def _made_with(classifier: Classifier, lineage: Mapping[str, Any]) -> str:
    parameters = (
        ", ".join(f"{name} {value}" for name, value in classifier.recipe.parameters.items()) or "none"
    )
    from xgboost import __version__ as xgboost_version  # the package that holds it has two names

    libraries = f"{words.versions(LIBRARIES)}, xgboost {xgboost_version}"
    return (
        f"- Parameters: {parameters}\n- Code: {lineage.get('code', code_version())}\n"
        f"- Python {platform.python_version()}, {libraries}"
    )


def _use(system: System) -> str:
    return (
        "The files hold numbers and text only; none can run code when it is loaded.\n\n"
        "```python\n"
        "from dagsverk.store import open_store\n"
        "from dagsverk.tabular.prediction import load_champion\n"
        "from dagsverk.tabular.system import load_system\n\n"
        f'champion = load_champion(load_system("{system.name}"), open_store())\n'
        "champion.predict(rows)  # a data frame with the inputs above\n"
        "```"
    )
