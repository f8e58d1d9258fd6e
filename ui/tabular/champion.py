"""The model in use, on the page: what it scored, what it was chosen from, class by class."""

from __future__ import annotations

from collections.abc import Mapping

from dagsverk.report.making import address
from dagsverk.store import Model
from dagsverk.tabular.measures import REPORTED, WORDS
from dagsverk.tabular.system import System
from dagsverk.words import interval
from ui import parts
from ui.parts import Head, Html
from ui.tabular.desk import View, day_command
from ui.versions import versions

MODEL_CLASSES = {
    "hist_gradient_boosting": "gradient boosting of histograms",
    "knn": "k-nearest neighbours",
    "lda": "linear discriminant analysis",
    "logistic": "logistic regression",
    "xgboost": "XGBoost",
}
MOST_PROMOTIONS = 5  # listed
ABOUT_ONE_CLASS = ("average_precision", "recall", "precision", "f1")
GAP = Html('<div style="height:14px"></div>')


def champion(view: View) -> Html:
    """The model in use, why it is, and how the other model classes did on the same folds."""
    model = view.champion
    if model is None:
        words = f"A day of {view.system.title} trains every model class and promotes the best:"
        return parts.card("Champion", "", parts.empty("No champion yet", words, day_command(view.system)))
    pairs: list[tuple[object, object]] = [("Version", f"{model.version}{kind_of(model)}")]
    pairs += [("Trained", parts.moment(model.created)), *_metrics(model, view.system)]
    if naming := model.info.get("naming"):
        pairs.append(("Predicted class", str(naming).replace("`", "")))
    pairs.append(("Report", parts.link("all of this version", address(model.name, model.version))))
    pairs.append(("Versions", versions(view.versions, model)))
    if view.training:
        pairs.append(("Last decision", _sentence(view.training.reason)))
    newest_first = list(view.promotions)[: -MOST_PROMOTIONS - 1 : -1]
    lines = (f"Version {p['version']} on {str(p['promoted_at'])[:10]}: {p['reason']}" for p in newest_first)
    pairs.append(("Promotions", parts.join(*(parts.element("div", line) for line in lines))))
    broken = (
        parts.note("Its files cannot be trusted.", view.card_problem, bad=True) if view.card_problem else ""
    )
    return parts.card(
        "Champion", "", broken, parts.facts(pairs), _compared(model), _per_class(model, view.system)
    )


def kind_of(model: Model) -> str:
    """The model class in words, with a comma before it; nothing when it is not known."""
    name = model.info.get("model_class")
    return f", {_class_words(str(name))}" if name else ""


def _class_words(name: str) -> str:
    return MODEL_CLASSES.get(name, name.replace("_", " "))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _metrics(model: Model, system: System) -> list[tuple[str, str]]:
    positive = str(model.info.get("positive") or "")
    about = f" (of {system.label.words(positive)})" if positive else ""
    return [
        (
            f"{_sentence(WORDS[name])}{about if name in ABOUT_ONE_CLASS else ''}",
            f"{model.metrics[name]:.3f}, cross-validated",
        )
        for name in REPORTED
        if name in model.metrics
    ]


def _compared(model: Model) -> Html:
    """All model classes of the training that made the champion, on the same folds."""
    compared = model.info.get("compared") or []
    if not compared:
        return Html("")
    names = list(dict.fromkeys((str(model.info.get("measure") or "log_loss"), "log_loss", "accuracy")))
    heads = [Head(title="Model class"), *(Head(title=_sentence(WORDS[name]), numeric=True) for name in names)]
    rows = [
        [_class_words(row["model_class"]), *(_interval(row.get(name)) for name in names)] for row in compared
    ]
    caption = "Its training: all classes on the same folds, mean and 95% interval"
    return parts.join(GAP, parts.table(caption, heads, rows))


def _per_class(model: Model, system: System) -> Html:
    """How each outcome was recognised in the cross-validation: accuracy alone hides the rare ones."""
    classes = model.info.get("per_class") or []
    if not classes:
        return Html("")
    names = ("recall", "precision", "average_precision")
    heads = [Head(title=system.label.description), Head(title="Rows", numeric=True)]
    heads += [Head(title=_sentence(WORDS[name]), numeric=True) for name in names]
    rows = [
        [system.label.words(row["name"]), f"{row['rows']:,}", *(_interval(row.get(name)) for name in names)]
        for row in classes
    ]
    return parts.join(GAP, parts.table("Class by class, cross-validated, with 95% intervals", heads, rows))


def _interval(spread: Mapping[str, float] | None) -> str:
    return interval(spread["mean"], spread["low"], spread["high"]) if spread else "–"
