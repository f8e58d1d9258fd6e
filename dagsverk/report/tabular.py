"""The report of a tabular version, from its record and its files."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagsverk import markup, words
from dagsverk.markup import Head, Html, Tile
from dagsverk.records import read_file
from dagsverk.report import common, figures, helps
from dagsverk.report.common import NOT_RECORDED, Step, Subject
from dagsverk.store import NotFound, Store, StoreError, Unavailable
from dagsverk.suggesting import tabular as suggesting
from dagsverk.tabular.expected import Reliability
from dagsverk.tabular.measures import REPORTED, WORDS
from dagsverk.tabular.reports import ComparedClass, Interval
from dagsverk.tabular.scores import ClassScores, Scores
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import predictions_table

READ = ("scores.json", "lineage.json")


def content(store: Store, subject: Subject) -> list[object]:
    """The report's pieces."""
    files = _files(store, subject)
    scores = subject.notes.parsed(files.get("scores.json"), list[Scores], "the scores of its files") or []
    chosen = _chosen(subject, scores)
    whole = subject
    if isinstance(files.get("lineage.json"), Mapping):  # says more than the record: the code, the rows
        lineage = {**files["lineage.json"], **subject.lineage}
        info = {**subject.info, "lineage": lineage}
        whole = _with(subject, info)
    compared = whole.notes.parsed(whole.info.get("compared"), list[ComparedClass], "the classes compared")
    return [
        _tiles(whole, chosen),
        common.GAP,
        Html('<div class="dv-grid">'),
        common.decision_card(whole),
        _scores(whole, compared or []),
        _reliability(whole),
        _classes(whole),
        _groups(chosen),
        _cost(whole, compared or [], chosen, _predicted(store, whole)),
        *_helps(store, whole),
        common.way(_lineage(whole, chosen)),
        common.settings_card(_settings(chosen), whole.lineage.get("code")),
        common.files_card(whole.model),
        Html("</div>"),
    ]


def _with(subject: Subject, info: Mapping[str, Any]) -> Subject:
    model = type(subject.model)(**{**vars(subject.model), "info": info})
    return Subject(model=model, promotions=subject.promotions, notes=subject.notes)


def _files(store: Store, subject: Subject) -> dict[str, Any]:
    """JSON of its files, which are checked as they are when it predicts; {} where they cannot be had."""
    with tempfile.TemporaryDirectory(prefix="dagsverk-report-") as folder:
        try:
            files = store.download(subject.model, Path(folder) / "model")
            return {name: read_file(files / name) for name in READ if (files / name).is_file()}
        except Unavailable:
            raise
        except (StoreError, ValueError) as error:
            subject.notes.sentences.append(f"its files: {markup.short(error, 300)}")
            return {}


def _chosen(subject: Subject, scores: Sequence[Scores]) -> Scores | None:
    """Of all classes that were scored, the one that the version is of."""
    own = [one for one in scores if one.model_class == subject.info.get("model_class")]
    loss = subject.model.metrics.get("log_loss", 0.0)
    exact = [one for one in own if "log_loss" in one.metrics and abs(one.log_loss - loss) < 1e-9]
    return next(iter(exact or own), None)


def _interval(spread: Interval | None) -> str:
    return words.interval(spread.mean, spread.low, spread.high) if spread else "–"


def _tiles(subject: Subject, chosen: Scores | None) -> Html:
    measure = str(subject.info.get("measure") or "log_loss")
    shown = list(dict.fromkeys((measure, "accuracy", "log_loss")))[:2]
    tiles = []
    for name in shown:
        value, spread = subject.model.metrics.get(name), chosen.metrics.get(name) if chosen else None
        ends = f"95% interval {spread.low:.3f} to {spread.high:.3f}, " if spread else ""
        label = WORDS.get(name, name)
        figure = NOT_RECORDED if value is None else f"{value:.3f}"
        tiles.append(Tile(label=label[:1].upper() + label[1:], figure=figure, note=f"{ends}cross-validated"))
    rows = f"{chosen.rows:,}" if chosen else common.recorded(subject.lineage.get("rows_fitted_on"))
    tiles.append(Tile(label="Rows", figure=rows, note="real rows, each scored once per repeat"))
    return markup.tiles([*tiles, common.use_tile(subject)])


def _scores(subject: Subject, compared: Sequence[ComparedClass]) -> Html:
    if not compared:
        listed = [(WORDS.get(name, name), f"{value:.4g}") for name, value in subject.model.metrics.items()]
        nothing = f"The classes that were compared are {NOT_RECORDED}."
        return markup.card("Scores", nothing, markup.facts(listed))
    measure = str(subject.info.get("measure") or "log_loss")
    baseline = subject.info.get("baseline")
    kept = baseline if isinstance(baseline, Mapping) else {}
    names = [name for name in REPORTED if any(getattr(one, name, None) is not None for one in compared)]
    heads = [Head(title="Model class"), *(Head(title=WORDS[name], numeric=True) for name in names)]
    rows = [[_class(one), *(_interval(getattr(one, name, None)) for name in names)] for one in compared]
    if kept:
        always = ("–" if common.number(kept.get(name)) is None else f"{kept[name]:.3f}" for name in names)
        rows.append(["always the commonest class", *always])
    drawn = [
        figures.Whisker(name=_class(one), value=spread.mean, low=spread.low, high=spread.high,
                        look="sea" if i == 0 else "grey")
        for i, one in enumerate(compared)
        if (spread := getattr(one, measure, None)) is not None
    ]  # fmt: skip
    chart = figures.whiskers(
        drawn, lambda value: f"{value:.3f}", f"{WORDS.get(measure, measure)}, by which it was chosen",
        from_zero=False,
    )  # fmt: skip
    note = "All model classes on the same folds of real rows: means with their 95% intervals, best first."
    return markup.card("Scores", note, chart, markup.table("Cross-validated", heads, rows))


def _class(one: ComparedClass) -> str:
    return f"{words.spaced(one.model_class)}{', calibrated' if one.calibrated else ''}"


def _reliability(subject: Subject) -> Html:
    bins = subject.notes.parsed(subject.info.get("reliability"), list[Reliability], "its reliability")
    title = "Probabilities and what came of them"
    if not bins:
        return markup.card(title, "", markup.element("p", f"Its reliability is {NOT_RECORDED}."))
    points = [(one.probability, one.right / one.rows) for one in bins if one.rows]
    ends = (min(x for x, _ in points), 1.0) if points else (0.0, 1.0)
    chart = figures.lines(
        [
            figures.Line(name="as promised", points=[(x, x) for x in ends], look="grey dash"),
            figures.Line(name="in cross-validation", points=points),
        ],
        x_title="probability given to the predicted class", y_title="share that was right",
        say_x=_percent, say_y=_percent,
    )  # fmt: skip
    heads = [Head(title="Up to"), *(Head(title=t, numeric=True) for t in ("Mean", "Rows", "Right"))]
    rows = [
        (_percent(one.upto), _percent(one.probability), f"{one.rows:.0f}",
         _percent(one.right / one.rows) if one.rows else "–")
        for one in bins
    ]  # fmt: skip
    note = "Rows of like probability in cross-validation: the nearer the line, the truer its probabilities."
    return markup.card(title, note, chart, markup.table("By probability", heads, rows), width="w6")


def _percent(share: float) -> str:
    return markup.percent(share, 0)


def _classes(subject: Subject) -> Html:
    classes = subject.notes.parsed(subject.info.get("per_class"), list[ClassScores], "its classes")
    naming = str(subject.info.get("naming") or "").replace("`", "")
    if not classes:
        return markup.card(
            "Class by class", naming, markup.element("p", f"{NOT_RECORDED.capitalize()}."), width="w6"
        )
    names = ("recall", "precision", "average_precision")
    heads = [
        Head(title="Class"),
        *(Head(title=t, numeric=True) for t in ("Rows", *(WORDS[n] for n in names))),
    ]
    rows = [
        (one.name, f"{one.rows:,}", *(_interval(getattr(one, name)) for name in names)) for one in classes
    ]
    table = markup.table("Cross-validated, with 95% intervals", heads, rows)
    return markup.card("Class by class", naming, table, width="w6")


def _groups(chosen: Scores | None) -> Html:
    if chosen is None or not chosen.groups:
        why = NOT_RECORDED if chosen is None else "none of 30 rows or more"
        return markup.card("Groups", "", markup.element("p", f"Groups: {why}."), width="w6")
    rows = [
        (", ".join(f"{name} {value}" for name, value in group.values.items()), f"{group.rows:,}",
         f"{group.accuracy:.2f}")
        for group in chosen.groups
    ]  # fmt: skip
    heads = [Head(title="Group"), Head(title="Rows", numeric=True), Head(title="Accuracy", numeric=True)]
    note = "Where it is weakest, among groups of 30 rows or more."
    return markup.card("Groups", note, markup.table("Cross-validated", heads, rows), width="w6")


def _helps(store: Store, subject: Subject) -> list[Html]:
    """Nothing for a name that is no system any more."""
    try:
        system = load_system(subject.model.name)
    except ValueError:
        return []
    return [helps.card(subject, lambda: suggesting.suggestions(store, system))]


def _predicted(store: Store, subject: Subject) -> str:
    """How many rows it has predicted until now."""
    try:
        table = predictions_table(load_system(subject.model.name))
        return f"{store.count(table, {'model_version': subject.model.version}):,}"
    except Unavailable:
        raise
    except NotFound:
        return "0"
    except (StoreError, ValueError):
        return NOT_RECORDED


def _cost(subject: Subject, compared: Sequence[ComparedClass], chosen: Scores | None, predicted: str) -> Html:
    fits = chosen.folds * chosen.repeats if chosen else None
    kept = subject.lineage.get("made")
    made = kept if isinstance(kept, Mapping) else {}
    pairs = [
        ("Rows fitted on", common.recorded(subject.lineage.get("rows_fitted_on"))),
        ("Rows scored", f"{chosen.rows:,}" if chosen else NOT_RECORDED),
        ("Model classes", str(len(compared)) if compared else NOT_RECORDED),
        ("Fits of each", f"{fits}: {chosen.repeats} × {chosen.folds} folds" if chosen else NOT_RECORDED),
        ("Seconds, of all classes and of the decision", common.recorded(made.get("seconds"))),
        ("Rows predicted until now", predicted),
        ("Computed on", common.recorded(made.get("machine"))),
        ("Prefect run", common.recorded(made.get("flow_run"))),
    ]
    return markup.card("Cost", "", markup.facts(pairs), width="w6")


def _settings(chosen: Scores | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    protocol = {name: getattr(chosen, name) for name in ("folds", "repeats", "seed", "measure", "positive")}
    return {"protocol": protocol, "parameters": dict(chosen.parameters) or {"parameters": "the defaults"}}


def _lineage(subject: Subject, chosen: Scores | None) -> list[Step]:
    kept, info = subject.lineage, subject.info
    table = f"{kept['table']}, version {kept.get('table_version')}" if kept.get("table") else ""
    commit = kept.get("data_commit")
    origins = kept.get("origins")
    rows = f"label {common.recorded(kept.get('label'))}, rows of origin "
    rows += ", ".join(map(str, origins)) if isinstance(origins, list) and origins else NOT_RECORDED
    return [
        Step(title="Table", id=table, words="" if table else NOT_RECORDED),
        Step(title="Data commit", id=common.recorded(commit) if commit else "", words=_committed(commit)),
        Step(title="Rows and folds", id=chosen.folds_id if chosen else "", words=rows),
        Step(
            title="Training",
            id=str(info.get("training_key") or ""),
            words=f"{words.spaced(str(info.get('model_class') or 'model class ' + NOT_RECORDED))}; "
            f"{common.recorded(kept.get('rows_fitted_on'))} rows fitted on; "
            f"code {common.recorded(kept.get('code'))}",
        ),
        common.registered(subject),
        common.decided(subject),
        common.served(subject),
    ]


def _committed(commit: Any) -> str:
    """When a commit was made: its id is the time in ms."""
    at_ms = common.number(commit)
    if at_ms is None:
        return NOT_RECORDED
    try:
        return f"of {markup.moment(dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC))}"
    except (OverflowError, ValueError, OSError):
        return ""
