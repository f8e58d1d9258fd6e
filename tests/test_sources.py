"""Raw rows are read whole from wherever they are, or refused with a sentence."""

import functools
import http.server
import threading

import pandas as pd
import pytest

from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.sources import EMBEDDED, read_source
from dagsverk.tabular.system import load_system

SYSTEM = load_system("iris")
HEADER = "flower_id,sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
ROW = "1,5.1,3.5,1.4,0.2,setosa\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="rows.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_without_a_source_the_embedded_facts_are_read():
    assert read_source(SYSTEM).name == read_source(SYSTEM, EMBEDDED).name == EMBEDDED


def test_a_csv_and_a_parquet_file_give_the_same_rows(write, tmp_path):
    from_csv = read_source(SYSTEM, write(HEADER + ROW)).rows
    pd.read_csv(tmp_path / "rows.csv").to_parquet(tmp_path / "rows.parquet")
    from_parquet = read_source(SYSTEM, str(tmp_path / "rows.parquet")).rows
    assert from_csv.astype(str).equals(from_parquet.astype(str))


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    assert read_source(SYSTEM, write("\ufeff" + HEADER + ROW)).rows.columns[0] == "flower_id"


def test_lines_are_numbered_as_an_editor_shows_them(write):
    raw = read_source(SYSTEM, write(HEADER + "\n" + ROW + "2,5.1\n" + ROW))
    assert list(raw.rows.index) == [3, 5]
    assert raw.malformed == {4: "2 fields"}


@pytest.mark.parametrize(
    "content, name, complaint",
    [
        ("", "rows.csv", "is empty"),
        ("\n\n", "rows.csv", "holds no table"),
        (HEADER, "rows.csv", "a header and no rows"),
        (HEADER + '1,5.1,3.5,1.4,0.2,"seto', "rows.csv", "cut short"),
        (HEADER.encode() + b"\x81", "rows.csv", "neither UTF-8 nor UTF-16 nor Windows-1252"),
        ("a,a\n1,2\n", "rows.csv", "same name: a"),
        (b"PAR1 and then nothing", "rows.parquet", "cut short"),
        ("a,b\n1,2\n", "rows.xlsx", "is a spreadsheet, want CSV or Parquet; save it as CSV"),
    ],
)
def test_a_file_that_is_no_whole_table_is_refused_with_its_reason(write, content, name, complaint):
    with pytest.raises(SourceError, match=complaint):
        read_source(SYSTEM, write(content, name))


@pytest.mark.parametrize(
    "source, complaint",
    [
        ("nowhere.csv", "no file 'nowhere.csv'"),
        ("ftp://example.org/rows.csv", "want a path, http"),
        ("file:///etc/rows.csv", "want a path, http"),
        ("http://127.0.0.1:9/rows.csv", "private address"),
        ("http://[::1]/rows.csv", "private address"),
        ("http://169.254.169.254/latest/rows.csv", "private address"),
    ],
)
def test_an_address_that_is_not_for_flows_is_refused(source, complaint):
    with pytest.raises(SourceError, match=complaint):
        read_source(SYSTEM, source)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A real web server on the loopback address, which is allowed for once."""
    monkeypatch.setenv("DAGSVERK_ALLOW_PRIVATE_URLS", "1")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Keep the test's output clean."""

        def do_GET(self):
            if self.path.startswith("/short"):  # promises more than it sends
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(HEADER.encode())
            else:
                super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_url_is_read(site, write):
    write(HEADER + ROW)
    raw = read_source(SYSTEM, f"{site}/rows.csv")
    assert len(raw.rows) == 1
    assert raw.name == f"{site}/rows.csv"


@pytest.mark.parametrize("path, complaint", [("short.csv", "cannot read"), ("absent.csv", "answered 404")])
def test_a_download_that_fails_or_is_cut_short_is_refused(site, path, complaint):
    with pytest.raises(SourceError, match=complaint):
        read_source(SYSTEM, f"{site}/{path}")


@pytest.mark.parametrize("address", ["http://user:secret@127.0.0.1/rows.csv", "s3://b/rows.csv?sig=secret"])
def test_a_key_in_an_address_is_refused_and_not_shown(address):
    with pytest.raises(SourceError, match="holds a user, password or query") as caught:
        read_source(SYSTEM, address)
    assert "secret" not in str(caught.value)
