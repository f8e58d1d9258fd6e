"""Tables of texts: every row is a clip or is rejected with its line, and no text is another row's."""

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_clips import lay_out, wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.corpus import Listing, Tally
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.tables import parse_table
from dagsverk.speech.errors import CorpusError

LETTERS = "aå,;|\t\"' \n\r\0\u2028\x85\x0b\x1c"  # all that divides, quotes or ends something, somewhere
TEXTS = st.text(LETTERS, max_size=8)
FEW = settings(max_examples=60, deadline=None)


def parsed(content, name="metadata.csv", **named):
    tally = Tally()
    rows = list(parse_table(content if isinstance(content, bytes) else content.encode(), name, tally, named))
    assert tally.rows == len(rows) + len(tally.rejected)
    return rows, tally


def texts(content, name="metadata.csv"):
    return [row["text"] for _, row in parsed(content, name)[0]]


def lines_of(tally):
    return [fault.clip.removeprefix("metadata.csv ") for fault in tally.rejected]


def written(rows, **how):
    file = io.StringIO()
    csv.writer(file, **how).writerows(rows)
    return file.getvalue()


def one_end(cells):
    return [re.sub(r"[\r\n]+", "\n", cell) for cell in cells]


# ------------------------------------------------------------------ what writers write is read


@FEW
@given(
    st.lists(st.tuples(TEXTS, TEXTS), max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(
        [("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_a_table_that_a_library_wrote_is_read_as_it_was(rows, delimiter, how, code, ended):
    end, quoting = how
    table = [("file", "text", "speaker"), *((f"{i}.wav", *row) for i, row in enumerate(rows))]
    content = written(table, delimiter=delimiter, lineterminator=end, quoting=quoting)
    read, tally = parsed((content if ended else content.removesuffix(end)).encode(code))
    assert [one_end(row.values()) for _, row in read] == [one_end(row) for row in table[1:]]
    assert tally.rejected == []


@FEW
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6), st.booleans())
def test_json_lines_are_read_as_they_were_written(rows, escaped):
    lines = [{"file": f"{i}.wav", "text": text, "speaker": who} for i, (text, who) in enumerate(rows)]
    content = "\n".join(json.dumps(line, ensure_ascii=escaped) for line in lines)
    assert [row for _, row in parsed(content, "metadata.jsonl")[0]] == lines


LINES = st.lists(st.text('ab" ,', max_size=6), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(LINES, st.sampled_from(["file,text", "text,file", "file,text,speaker"]), st.sampled_from(",\t"))
def test_a_text_never_holds_what_another_line_says(said, header, delimiter):
    """Whatever quotes stand where: each line has a name of its own, and each ends as a row or is rejected."""
    cells = {"file": "{i}.wav", "text": "{i}x{text}x{i}", "speaker": "s{i}"}
    columns = header.split(",")
    said = [text.replace(",", " ") for text in said]
    lines = [
        delimiter.join(cells[name] for name in columns).format(i=i, text=text)
        for i, text in enumerate(said, start=2)
    ]
    lines = [line.replace(f"{i}x", "", 1).replace(f"x{i}", "") for i, line in enumerate(lines, start=2)]
    content = "\n".join([delimiter.join(columns), *lines]) + "\n"
    rows, tally = parsed(content, "metadata.csv" if delimiter == "," else "metadata.tsv")
    assert tally.rows == len(said)
    for line, row in rows:
        assert row["file"].strip(' "') == f"{line}.wav"
        assert row["text"].replace('"', "").strip() == said[line - 2].replace('"', "").strip()


# ------------------------------------------------------------------ what quotes mean


HEJ = [f"{i}.wav,hej nummer {i}" for i in range(12)]


@pytest.mark.parametrize(
    "line, said",
    [
        ('3.wav,"hej nummer 3', '"hej nummer 3'),
        ('3.wav,hej "nummer" 3', 'hej "nummer" 3'),
        ('3.wav,hej nummer 3"', 'hej nummer 3"'),
        ('3.wav,"hej" nummer 3', '"hej" nummer 3'),
        ('3.wav, "hej, nummer 3"', "hej, nummer 3"),
        ('"3.wav","hej ""nummer"" 3"', 'hej "nummer" 3'),
        ('"3.wav","hej "nummer" 3"', '"hej "nummer" 3"'),
        ('3.wav,"hej\nnummer 3"', "hej\nnummer 3"),
        ('3.wav,"hej,\n\nja, det är\nnummer 3"', "hej,\n\nja, det är\nnummer 3"),
        ("3.wav,hej nummer 3,,", "hej nummer 3"),
        ('3.wav,"', '"'),
    ],
)
def test_a_quote_in_one_row_is_that_rows_alone(line, said):
    rows, tally = parsed("\n".join(["file,text", *HEJ[:3], line, *HEJ[4:]]))
    assert [(row["file"], row["text"]) for _, row in rows] == [
        (f"{i}.wav", said if i == 3 else f"hej nummer {i}") for i in range(12)
    ]
    assert tally.rejected == []


@pytest.mark.parametrize(
    "line, count",
    [
        ('3.wav,"hej, "du"', 1),  # a quote that is not doubled, and a comma: where does the text end?
        ('3.wav,"hej, du', 1),
        ('3.wav,"hej ""du"" nu', 1),
        ('3.wav,"hej\nnummer 3', 2),  # it may be cut off
        ('3.wav,"hej"\nnummer 3"', 2),
        ("3.wav,hej\nnummer 3", 2),
        ("3.wav,hej\n\nnummer 3", 2),
        ("3.wav", 1),
        ("3.wav,hej,du", 1),
    ],
)
def test_a_row_whose_quotes_may_mean_two_things_is_rejected_and_no_other(line, count):
    rows, tally = parsed("\n".join(["file,text", *HEJ[:3], line, *HEJ[4:]]))
    assert [row["text"] for _, row in rows if row["file"] != "3.wav" and row["file"].endswith(".wav")] == [
        f"hej nummer {i}" for i in range(12) if i != 3
    ]
    assert lines_of(tally)[0] == "line 5"
    assert len(rows) + len(tally.rejected) == 11 + count


def test_an_open_quote_before_another_column_is_rejected_by_its_line():
    lines = [f"hej nummer {i},{i}.wav" for i in range(12)]
    lines[3], lines[4] = '"hej nummer 3,3.wav', 'hej nummer 4",4.wav'
    rows, tally = parsed("\n".join(["text,file", *lines]))
    assert (len(rows), lines_of(tally)) == (11, ["line 5"])
    assert rows[3][1] == {"text": 'hej nummer 4"', "file": "4.wav"}


def test_thousands_of_rows_between_two_lone_quotes_are_all_there():
    lines = [f"{i}.wav,hej {i}" for i in range(2000)]
    lines[700], lines[1999] = '700.wav,"hej 700', '1999.wav,hej 1999"'
    assert [text.strip('"') for text in texts("\n".join(["file,text", *lines]))] == [
        f"hej {i}" for i in range(2000)
    ]


def test_names_without_an_ending_are_told_from_words_by_their_neighbours():
    lines = [f"LJ001-{i:04},hej {i}" for i in range(9)]
    lines[5] = 'LJ001-0005,"hej 5'
    lines[7] = 'LJ001-0007,"hej\nja, då"'
    assert texts("\n".join(["file,text", *lines]))[5:8] == ['"hej 5', "hej 6", "hej\nja, då"]


@pytest.mark.parametrize(
    "cell, plain, quoted",
    [
        ('"Hej!"', '"Hej!"', "Hej!"),
        ('"Hej" sa hon', '"Hej" sa hon', '"Hej" sa hon'),
        ('hon sa "hej"', 'hon sa "hej"', 'hon sa "hej"'),
        ('"hej', '"hej', '"hej'),
    ],
)
def test_quotes_of_a_tsv_mean_themselves_unless_its_writer_quotes(cell, plain, quoted):
    lines = [f"{i}.wav\thej" for i in range(4)]
    literal = ["file\ttext", f"9.wav\t{cell}", *lines]
    assert texts("\n".join(literal), "metadata.tsv")[0] == plain
    by_pandas = [*literal, '5.wav\t"hon sa ""hej"""', '6.wav\t"med\ttabb"']
    assert texts("\n".join(by_pandas), "metadata.tsv")[0] == quoted
    assert texts("\n".join(by_pandas), "metadata.tsv")[-2:] == ['hon sa "hej"', "med\ttabb"]


# ------------------------------------------------------------------ headers, codes, JSON


@pytest.mark.parametrize(
    "content",
    [
        "file;text\n1.wav;hej, du, där\n",
        "sep=;\nfile;text\n1.wav;hej, du, där\n",
        '"sep=|"\r\nfile|text\r\n1.wav|hej, du, där\r\n',
        "\n\nfile\ttext\n1.wav\thej, du, där\n",
        "\ufefffile|text\n1.wav|hej, du, där",
        "File ; Text;;\n1.wav;hej, du, där;;\n;;;\n",
        '"file";"text"\n"1.wav";"hej, du, där"\n',
        "a,b|file|text\n|1.wav|hej, du, där\n",
    ],
)
def test_what_divides_the_cells_is_told_by_the_header(content):
    rows, tally = parsed(content)
    assert [{name.lower(): cell for name, cell in row.items()}["text"] for _, row in rows] == ["hej, du, där"]
    assert (tally.rows, tally.rejected) == (1, [])


@pytest.mark.parametrize(
    "header",
    [
        "file,text,text",
        "file,Text,text",
        "file,text ,text",
        "file,text,te\u200bxt",
        'file,"text",te\u0301xt,téxt',
    ],
)
def test_a_column_that_is_there_twice_is_refused(tmp_path, header):
    folder = lay_out({"metadata.csv": f"{header}\n1.wav,rätt,fel,x\n".encode(), "1.wav": wav()}, tmp_path)
    with pytest.raises(CorpusError, match=r"two columns .*which one counts"):
        open_corpus(CorpusConfig(source=str(folder)), "sv").listing()


@pytest.mark.parametrize(
    "content, message",
    [
        (
            "file,text\n1.wav,hej\n2.wav,smör\n".encode("cp1252"),
            r"line 3, byte 28\); in Windows-1252 .*'2.wav,smör'",
        ),
        ("file,text\n1.wav,smör\n".encode("utf-16-le"), "UTF-16 that does not say so"),
        ("file,text\n1.wav,smör\n".encode("utf-16")[:-1], "is damaged"),
        (b"PK\3\4\0\0\0", "NUL characters in its first line"),
    ],
)
def test_a_table_in_another_code_is_refused_with_what_it_may_be(content, message):
    with pytest.raises(CorpusError, match=message):
        parsed(content)


@pytest.mark.parametrize(
    "line, detail",
    [
        ('{"file": "1.wav", "text": "a", "text": "b"}', "'text' is there twice"),
        ('{"file": "1.wav", "Text": "a", "text ": "b"}', "'text ' is there twice"),
        ('{"file": "1.wav", "text": ["a"]}', "want a text or a number"),
        ('{"file": {"path": "1.wav"}, "text": "a"}', "want a text or a number"),
        ('{"file": "1.wav", "text": true}', "want a text or a number"),
        ('["1.wav", "a"]', "want a JSON object"),
        ('{"file": "1.wav", "te', "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_line_of_json_that_says_no_text_plainly_is_rejected(line, detail):
    rows, tally = parsed(f'{{"file": "0.wav", "text": 12, "more": [1, {{}}]}}\n\n{line}\n', "metadata.jsonl")
    assert [row["text"] for _, row in rows] == ["12"]
    assert [(one.clip, one.reason) for one in tally.rejected] == [("metadata.jsonl line 3", "malformed row")]
    assert detail in tally.rejected[0].detail


def test_a_listing_whose_rows_do_not_add_up_is_refused():
    with pytest.raises(CorpusError, match=r"3 rows were read, 2 are accounted for \(0 clips"):
        Listing(clips=[], rejected=[], fingerprint="", left_out={"other language": 2}, rows=3)
