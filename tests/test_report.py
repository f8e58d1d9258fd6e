"""Reports: one HTML file per version, whole, harmless, and honest about what is not recorded."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from speech_site import MARKUP as SPOKEN_MARKUP
from speech_site import RUN, spoken_store
from ui_site import filled_store, own_copy

from dagsverk.commands import main
from dagsverk.records import write_json
from dagsverk.report import common, document, figures
from dagsverk.report.making import NoReport, make_report
from dagsverk.store import open_store
from ui import look
from ui.app import build_app
from ui.tabular.desk import TabularDesk

VOID = {"meta", "link", "br", "img", "input", "line", "polyline", "path"}
OUTWARD = ("src", "href", "srcset", "action", "data", "poster", "background")
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script></style>'


def saved(store, room, name, **record):
    """A version of an old, or of another, program: of its record there is what is given."""
    folder = room / f"files-{len(store.models(name))}"
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_bytes(bytes([len(store.models(name))]))
    return store.save_model(name, folder, **{"metrics": {}, **record})


class Read(HTMLParser):
    """An HTML document as a browser builds it: elements in order, text, and whether all were closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.targets, self.handlers, self.open, self.words = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.targets += [value for name, value in attributes if name in OUTWARD]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(html):
    page = Read(html)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def tabular():
    return make_report(open_store(str(filled_store())), "titanic").html


@pytest.fixture(scope="module")
def spoken():
    return make_report(open_store(str(spoken_store())), "swedish").html


@pytest.fixture(params=["tabular", "spoken"])
def html(request):
    return request.getfixturevalue(request.param)


def test_a_report_is_whole_and_refers_to_nothing_outside_itself(html):
    page = read(html)
    assert page.targets == ["data:,"]
    assert not {"script", "iframe", "img", "object", "embed", "form", "base"} & set(page.tags)
    assert page.handlers == []
    assert "url(" not in html
    assert "@import" not in html
    assert f'content="{document.POLICY}"' in html
    assert "script-src" not in document.POLICY
    assert document.POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize("title", ["Decision", "Scores", "Groups", "Cost", "Lineage", "Settings", "Files"])
def test_every_report_has_the_part(html, title):
    assert f"<h2>{title}</h2>" in html


def test_a_tabular_report_leads_from_the_data_commit_to_what_is_served(tabular):
    store, words = open_store(str(filled_store())), read(tabular).text
    model = store.model("titanic", 1)
    way = words[words.index("From the data to what is served") :]
    steps = (
        str(model.info["lineage"]["data_commit"]),
        model.info["training_key"],
        "titanic, version 1",
        model.info["decision"]["reason"],
        f"in use since {common.moment(store.champions('titanic')[0]['promoted_at'])}",
    )
    places = [way.index(step) for step in steps]
    assert places == sorted(places)


def test_a_speech_report_leads_from_the_recordings_to_what_is_served(spoken):
    model, words = open_store(str(spoken_store())).model("whisper_swedish", 1), read(spoken).text
    way = words[words.index("From the data to what is served") :]
    lineage = model.info["lineage"]
    steps = (lineage["corpus_fingerprint"], lineage["set"], RUN, model.info["evaluation"], lineage["weights"])
    places = [way.index(step) for step in (*steps, "whisper_swedish, version 1", "in use since")]
    assert places == sorted(places)


def test_scores_of_a_report_are_those_of_the_record(tabular, spoken):
    model = open_store(str(filled_store())).model("titanic", 1)
    assert f"{model.metrics['log_loss']:.3f}" in tabular
    speech = open_store(str(spoken_store())).model("whisper_swedish", 1)
    assert f"{100 * speech.metrics['wer']:.1f}%" in spoken
    assert f"{100 * speech.metrics['base_wer']:.1f}%" in spoken


def test_names_from_the_data_are_text(spoken):
    assert SPOKEN_MARKUP not in spoken
    assert SPOKEN_MARKUP in read(spoken).text


def test_what_a_record_lacks_is_not_recorded_and_no_error(tmp_path):
    store = open_store(str(tmp_path / "store"))
    for name in ("titanic", "whisper_swedish", "something"):
        saved(store, tmp_path, name, description=HOSTILE)
        made = make_report(store, name, "1")
        words = read(made.html).text
        assert "not recorded" in words
        assert "never in use" in words
        assert HOSTILE in words
        assert not {"script", "img"} & set(Read(made.html).tags)


@pytest.mark.parametrize("name", ["titanic", "whisper_swedish"])
def test_a_damaged_part_is_named_and_the_rest_is_shown(tmp_path, name):
    good = open_store(str(filled_store() if name == "titanic" else spoken_store()))
    store = open_store(str(tmp_path / "store"))
    model = good.model(name, 1)
    for part, content in model.info.items():
        for damage in (7, [HOSTILE], {"x": HOSTILE}, HOSTILE):
            if isinstance(content, str | int | float | bool):
                continue
            info = {**model.info, part: damage}
            made = saved(store, tmp_path, name, metrics=model.metrics, info=info)
            page = read(make_report(store, name, str(made.version)).html)
            assert "Lineage" in page.text
            assert not {"script", "img"} & set(page.tags)
    assert "Not all of this version could be read" in page.text


def test_a_speech_report_without_its_evaluations_and_run_says_so(tmp_path):
    store = open_store(str(own_copy(spoken_store(), tmp_path)))
    before = store.model("whisper_swedish", 1)
    store.remove("speech/swedish/evaluations")
    store.remove("speech/swedish/runs")
    words = read(make_report(store, "whisper_swedish", "1").html).text
    assert "the report on this version: it is not in the store any more" in words
    assert f"{100 * before.metrics['wer']:.1f}%" in words  # which its own record has
    assert "The curve is not recorded" in words


def test_a_speech_version_of_before_has_a_report(tmp_path):
    """Its artefacts are as the writers of an older version made them: fields that came later are absent."""
    before = json.loads((Path(__file__).parent / "assets" / "speech_store_before.json").read_text("utf-8"))
    store = open_store(str(tmp_path / "store"))
    for path, content in before.items():
        write_json(store, path, content)
    verdict = next(content for path, content in before.items() if "/verdicts/" in path)
    info = {
        "run": verdict["run"],
        "step": verdict["step"],
        "evaluation": verdict["candidate"],
        "verdict": verdict,
    }
    saved(store, tmp_path, "whisper_swedish", info=info)
    words = read(make_report(store, "swedish").html).text
    assert "Not all of this version could be read" not in words
    assert verdict["run"] in words
    assert "Decision: not recorded" in words


def test_a_tampered_file_is_named(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    for path in folder.rglob("scores.json"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"0.", b"1."))
    words = read(make_report(open_store(str(folder)), "titanic", "1").html).text
    assert "Not all of this version could be read" in words
    assert "scores.json" in words


@pytest.mark.parametrize("damage", [{"metrics": {}}, {"groups": []}, {"folds": "many"}, {"parameters": None}])
def test_scores_of_which_a_part_is_absent_or_damaged_still_make_a_report(tmp_path, damage):
    good = open_store(str(filled_store()))
    model = good.model("titanic", 1)
    folder = good.download(model, tmp_path / "files")
    scores = json.loads((folder / "scores.json").read_text("utf-8"))
    (folder / "scores.json").write_text(json.dumps([{**one, **damage} for one in scores]), "utf-8")
    store = open_store(str(tmp_path / "store"))
    store.save_model("titanic", folder, metrics=model.metrics, info=model.info)
    page = read(make_report(store, "titanic").html)
    assert f"{model.metrics['log_loss']:.3f}" in page.text


def test_folders_and_addresses_are_named_by_their_last_part_only(tmp_path):
    store = open_store(str(tmp_path / "store"))
    lineage = {"source": "s3://secret-bucket/prefix/corpus", "base_model": "/srv/private/whisper"}
    settings = {"fine_tuning": {"model": "/srv/private/whisper"}}
    info = {"run": RUN, "base_model": "/srv/private/whisper", "lineage": lineage, "settings": settings}
    saved(store, tmp_path, "whisper_swedish", info=info, description="tuned from /srv/private/whisper")
    html = make_report(store, "sv").html
    assert "secret-bucket" not in html
    assert "private" not in html
    assert "whisper" in html


def test_use_is_told_by_the_promotions(tmp_path):
    store = open_store(str(tmp_path / "store"))
    for _ in range(3):
        saved(store, tmp_path, "titanic")
    store.promote("titanic", 1, reason="first", expected=None)
    store.promote("titanic", 2, reason="better", expected=1)
    words = [read(make_report(store, "titanic", str(n)).html).text for n in (1, 2, 3)]
    assert "not in use; it was from" in words[0]
    assert "in use since" in words[1]
    assert "never in use" in words[2]
    assert make_report(store, "titanic").version == 2  # the one in use, not the newest


def test_of_a_thousand_promotions_the_newest_are_listed(tmp_path):
    store = open_store(str(tmp_path / "store"))
    for version in (1, 2):
        saved(store, tmp_path, "titanic")
        store.promote("titanic", version, reason="x", expected=version - 1 or None)
    both = store.champions("titanic")
    subject = common.Subject(model=store.model("titanic", 2), promotions=[*both] * 500)
    step = common.served(subject)
    assert str(step.words).count("version ") == common.MOST_PROMOTIONS
    assert "1,000 promotions of this name; the newest 20 are listed" in str(step.words)


@pytest.mark.parametrize("version", ["0", "2", "-1", "1.0", "../1", "１", "99999999999999999999", "x" * 5000])
def test_a_version_that_is_none_is_refused_with_those_there_are(version):
    with pytest.raises(NoReport, match=r"titanic has no version .* it has 1$"):
        make_report(open_store(str(filled_store())), "titanic", version)


@pytest.mark.parametrize("name", ["", "..", "../titanic", "nobody", "titanic\0", "a/b", "<b>", "é" * 5000])
def test_a_model_that_is_none_is_refused_with_those_there_are(name):
    with pytest.raises(NoReport, match=r"no model is named .* iris, titanic$"):
        make_report(open_store(str(filled_store())), name)


@pytest.fixture(scope="module")
def client():
    return TestClient(build_app(TabularDesk(str(filled_store()))))


def test_the_pages_give_a_report_that_runs_nothing(client):
    answer = client.get("/report/titanic/1.html")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith(document.POLICY)
    assert answer.headers["content-disposition"] == 'inline; filename="titanic-1.html"'
    assert "titanic, version 1" in read(answer.text).text
    assert client.get("/report/titanic/latest.html").status_code == 200
    assert client.head("/report/titanic/1.html").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["titanic/2.html", "nobody/1.html", "titanic/1", "titanic", "", "titanic/1.html/x", "..%2ftitanic/1.html",
     "%2e%2e/1.html", "titanic/%2e%2e%2f1.html", "%3Cscript%3E/1.html", "titanic/<script>.html", ".x/1.html"],
)  # fmt: skip
def test_the_pages_say_that_there_is_no_such_report(client, path):
    answer = client.get(f"/report/{path}")
    assert answer.status_code == 404
    assert "<script" not in answer.text
    assert len(answer.text) > 20


def test_a_report_is_behind_the_prefix_of_a_proxy():
    app = build_app(TabularDesk(str(filled_store())), root_path="/dagsverk")
    assert TestClient(app).get("/dagsverk/report/titanic/1.html").status_code == 200


def test_a_store_that_cannot_be_opened_is_no_empty_report(tmp_path):
    (tmp_path / "file").write_text("not a store")
    answer = TestClient(build_app(TabularDesk(str(tmp_path / "file")))).get("/report/titanic/1.html")
    assert answer.status_code == 503


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", str(filled_store()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_file_named_by_the_version(room, capsys):
    assert main(["report", "titanic"]) == 0
    assert capsys.readouterr().out == "titanic version 1: titanic-1.html\n"
    assert "titanic, version 1" in read((room / "titanic-1.html").read_text(encoding="utf-8")).text
    assert [path.name for path in room.iterdir()] == ["titanic-1.html"]


def test_the_command_refuses_what_it_cannot_do(room, capsys):
    assert main(["report", "nobody"]) == 1
    assert "the store's models: iris, titanic" in capsys.readouterr().err
    assert main(["report", "titanic", "7"]) == 1
    assert "titanic has no version '7'; it has 1" in capsys.readouterr().err
    assert main(["report", "titanic", "--out", str(room)]) == 1
    assert "name a file in it" in capsys.readouterr().err
    assert main(["report", "titanic", "--out", str(room / "no" / "x.html")]) == 1
    assert list(room.iterdir()) == []


def test_the_colours_of_a_report_are_those_of_the_pages():
    pages, own = (path.read_text(encoding="utf-8") for path in (look.STYLE_SHEET, document.STYLE_SHEET))

    def palettes(css):
        lines = [line.strip() for line in css.splitlines()]
        return [line for line in lines if line.startswith(("--", "color-scheme"))]

    assert palettes(own) == palettes(pages)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 0.09, [0, 0.025, 0.05, 0.075, 0.1]),
        (0, 120, [0, 50, 100, 150]),
        (0, 0, [0, 0.25, 0.5, 0.75, 1]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (5, 5, [4.5, 4.75, 5, 5.25, 5.5]),
        (0, 1e-5, [0, 2.5e-6, 5e-6, 7.5e-6, 1e-5]),
    ],
)
def test_ticks_are_round_and_span_what_is_drawn(low, high, expected):
    assert figures.ticks(low, high) == pytest.approx(expected)


def test_a_long_curve_keeps_its_peaks():
    points = [(float(i), 1.0) for i in range(50_000)]
    points[31_415] = (31_415.0, 99.0)
    kept = figures.thinned(points)
    assert len(kept) <= figures.MOST_POINTS
    assert (31_415.0, 99.0) in kept
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_a_chart_of_nothing_and_of_no_numbers_is_empty():
    lines = [figures.Line(name="x", points=[(1.0, float("nan")), (2.0, float("inf"))])]
    assert figures.lines(lines, x_title="x", y_title="y", say_x=str, say_y=str) == ""
    rows = [figures.Whisker(name="x", value=value) for value in (None, float("nan"), float("inf"))]
    assert figures.whiskers(rows, str, "y") == ""
    endless = figures.Whisker(name="x", value=1.0, low=float("-inf"), high=float("nan"))
    assert "nan" not in figures.whiskers([endless], str, "y")
