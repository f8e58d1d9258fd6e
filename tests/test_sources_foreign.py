"""Tables as other people write them: they are taken as they come, and what was guessed is said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_tables import HEADER, ROW, said, taken

from dagsverk.tabular.errors import SourceError

KAGGLE = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked\n"
KAGGLE_ROWS = '1,0,3,"Berg, Mr. Ole ""Olle""",male,22,1,0,A/5 21,7.25,,S\n'
KAGGLE_ROWS += '2,1,1,"Dahl, Ms.",female,38.5,1,0,PC 1,71.2833,C85,C\n'


@pytest.fixture
def take(tmp_path):
    return lambda content, name="rows.csv", system="titanic": taken(tmp_path / name, content, system)


def row(checked, at=0):
    return checked.rows.iloc[at]


# ------------------------------------------------------------------ names of columns


def test_the_training_table_of_kaggle_is_taken_as_it_comes(take):
    checked = take(KAGGLE + KAGGLE_ROWS)
    assert checked.rows["row_id"].tolist() == ["titanic-1", "titanic-2"]
    assert row(checked, 1)[["survived", "sex", "age", "fare"]].tolist() == [
        "survived",
        "female",
        38.5,
        71.2833,
    ]
    assert "'PassengerId' as passenger_id" in said(checked)
    assert "left out: Name, Ticket, Cabin" in said(checked)


def test_the_test_table_of_kaggle_has_rows_without_an_outcome(take):
    checked = take("PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Embarked\n892,3,male,34.5,0,0,7.8292,Q\n")
    assert checked.rows["survived"].isna().all()
    assert "no outcome yet" in said(checked)


def test_the_table_of_seaborn_keeps_every_passenger_although_it_names_none(take):
    header = "survived,pclass,sex,age,sibsp,parch,fare,embarked,"
    header += "class,who,adult_male,deck,embark_town,alive,alone\n"
    one = "0,3,male,22.0,1,0,7.25,S,Third,man,True,,Southampton,no,False\n"
    other = "1,1,female,38.0,1,0,71.2833,C,First,woman,False,C,Cherbourg,yes,False\n"
    checked = take(header + one + one + other)
    assert len(set(checked.rows["row_id"])) == 3
    assert "named by their content" in said(checked)
    again = take(header + other + one.replace("0,3", "1,3", 1) + one)
    assert set(again.rows["row_id"]) == set(checked.rows["row_id"])


def test_names_made_of_content_do_not_change_with_a_library(take):
    checked = take(HEADER.replace("passenger_id,", "") + ROW.removeprefix("1,"))
    assert row(checked)["row_id"] == "titanic-3df145681a6356d2-1"


def test_the_table_of_openml_is_taken_as_it_comes(take):
    header = '"pclass","survived","name","sex","age","sibsp","parch","ticket",'
    header += '"fare","cabin","embarked","boat","body","home.dest"\n'
    rows = '1,1,"Allen, Miss. E","female",29,0,0,"24160",211.3375,"B5","S","2",?,"St Louis, MO"\n'
    rows += (
        '3,0,"Storey, Mr. T","male",?,0,0,"3701",7.5,?,?,?,261,?\n"","","","","","","","","","","","","",""\n'
    )
    checked = take(header + rows)
    assert checked.rows_in == len(checked.rows) == 2
    assert "'?' in age (1), embarked (1)" in said(checked)


@pytest.mark.parametrize(
    "header",
    [
        "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm),target_name",
        "SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species",
        "Sepal.Length,Sepal.Width,Petal.Length,Petal.Width,Species",
        "sepal.length,sepal.width,petal.length,petal.width,variety",
        "SEPAL LENGTH,SEPAL WIDTH,PETAL LENGTH,PETAL WIDTH,CLASS",
    ],
)
@pytest.mark.parametrize("label", ["setosa", "Iris-setosa", "Setosa", "iris setosa"])
def test_iris_is_iris_whoever_wrote_it_down(take, header, label):
    checked = take(f"{header}\n5.1,3.5,1.4,0.2,{label}\n", system="iris")
    assert row(checked)[["sepal_length_cm", "species"]].tolist() == [5.1, "setosa"]
    assert ("no unit" in said(checked)) == ("cm" not in header.lower())


@pytest.mark.parametrize(
    "header, complaint",
    [
        (HEADER.replace("fare", "Fare,FARE"), "2 columns that mean fare: 'Fare', 'FARE'"),
        (HEADER.replace("sex", "sex,gender"), "2 columns that mean sex: 'sex', 'gender'"),
        (HEADER.replace("embarked", "embarkd"), r"embarked \(is it 'embarkd'\?\)"),
        (HEADER.replace("survived", "surviving"), r"survived \(is it 'surviving'\?\)"),
        (HEADER.replace("passenger_id", "passager_id"), r"passenger_id \(is it 'passager_id'\?\)"),
        (ROW, "values, not names"),
    ],
)
def test_a_header_of_two_meanings_or_with_a_slip_is_refused_by_name(take, header, complaint):
    with pytest.raises(SourceError, match=complaint):
        take(header + ROW)


# ------------------------------------------------------------------ marks, encodings


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("stated", [True, False])
def test_the_separator_is_seen_or_stated(take, separator, stated):
    text = (HEADER + ROW).replace(",", separator)
    checked = take(f"sep={separator}\n{text}" if stated else text)
    assert row(checked)["fare"] == 7.25
    assert ("separated by" in said(checked)) == (separator != ",")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_the_encoding_is_seen(take, encoding):
    checked = take((HEADER + ROW.replace("1,0,3", "Å-1,0,3")).encode(encoding))
    assert row(checked)["row_id"] == "titanic-Å-1"
    assert ("read as" in said(checked)) == (not encoding.startswith("utf-8"))


def test_lines_above_the_header_and_empty_ones_are_no_rows(take):
    checked = take("# passengers\n\nExported 2026-01-31,,,,,,,,\n" + HEADER + ROW + ",,,,,,,,\n\n")
    assert (checked.rows_in, len(checked.rows)) == (1, 1)
    assert "2 lines above the header left out (line 1: '# passengers')" in said(checked)


def test_columns_without_a_name_are_left_out_if_nothing_is_lost(take):
    rows = "".join(f"{n},{n + 9}{ROW[1:-1]},,\n" for n in range(3))
    checked = take("," + HEADER[:-1] + ",,\n" + rows)
    assert checked.rows["row_id"].tolist() == ["titanic-9", "titanic-10", "titanic-11"]
    assert "column 1 has no name and counts the rows" in said(checked)
    with pytest.raises(
        SourceError, match=r"column 1 of rows.csv has no name and holds values \('x' in line 2\)"
    ):
        take("," + HEADER + "x," + ROW)


def test_a_table_that_never_fits_its_header_says_so(take):
    with pytest.raises(
        SourceError, match=r"all 1 lines .* 9 names in line 1; the first is line 2 \(10 fields\)"
    ):
        take(HEADER + ROW.replace("7.25", "7,25"))


# ------------------------------------------------------------------ quotation marks


def test_a_lone_quotation_mark_costs_its_own_row(take):
    rows = [f"{n}{ROW[1:]}" for n in range(1, 8)]
    rows[1] = rows[1].replace("male", '"male')
    rows[4] = rows[4].replace(",S", ',S"')
    checked = take(HEADER + "".join(rows))
    assert (checked.rows_in, sorted(set(checked.rejects["line"]))) == (7, [3, 6])


def test_a_cell_of_several_lines_is_one_cell(take):
    checked = take(KAGGLE + KAGGLE_ROWS.replace("Berg, Mr.", "Berg,\r\nMr."))
    assert checked.rows_in == len(checked.rows) == 2
    with pytest.raises(SourceError, match=r"in the middle of a quoted cell \(line 4\); is it cut short"):
        take(KAGGLE + KAGGLE_ROWS + '3,0,1,"open')


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from('ab1",;\n\r\t ')), min_size=1, max_size=12))
def test_every_line_is_a_row_or_has_a_reason(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    good = [f"g{n}{ROW[1:]}" for n in range(len(lines))]
    text = HEADER + "".join(a + b + "\n" for a, b in zip(good, lines, strict=True))
    checked = taken(path, text)
    assert len(checked.rows) + checked.rejects["line"].nunique() == checked.rows_in
    names = set(checked.rows["row_id"])
    good_ones = sum(f"titanic-g{n}" in names for n in range(len(lines)))
    assert good_ones + checked.rejects["line"].nunique() >= len(lines)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    "word", ["?", "n/a", "#N/A", "<NA>", "-", ".", "NULL", "nan", "None", "N/A", "--", "\\N"]
)
def test_words_for_nothing_are_nothing(take, word):
    checked = take(HEADER + ROW.replace("22", word).replace(",S", f",{word}"))
    assert row(checked)[["age", "embarked"]].isna().all()
    assert word in said(checked)


@pytest.mark.parametrize(
    "no, yes",
    [("0.0", "1.0"), ("False", "True"), ("no", " YES"), ("died", "Survived"), ("N", "y"), ("0", "'1'")],
)
def test_an_outcome_is_understood_however_it_is_spelt(take, no, yes):
    checked = take(HEADER + ROW.replace("1,0,", f"1,{no},", 1) + ROW.replace("1,0,", f"2,{yes},", 1))
    assert checked.rows["survived"].tolist() == ["died", "survived"]


@pytest.mark.parametrize(
    "ids, names",
    [
        (["9000.0", "9001.0"], ["9000", "9001"]),
        (["007", "7"], ["007", "7"]),
        (["1e5", "100000"], ["1e5", "100000"]),
        ([str(2**60 + 1), str(2**60)], [str(2**60 + 1), str(2**60)]),
        (["1.0", "1.10"], ["1.0", "1.10"]),
        (["A\u030a", "B"], ["Å", "B"]),
        (["\u200b5", "6\u00a0"], ["5", "6"]),
    ],
)
def test_an_identity_is_kept_to_the_letter_but_for_the_decimals_that_programs_add(take, ids, names):
    checked = take(HEADER + "".join(f"{one}{ROW[1:]}" for one in ids))
    assert checked.rows["row_id"].tolist() == [f"titanic-{name}" for name in names]


def wide(**column):
    """A table with tabs, its rows alike but for one column and the identity."""
    ((name, values),) = column.items()
    usual = dict(zip(HEADER.strip().split(","), ROW.strip().split(","), strict=True))
    rows = [{**usual, "passenger_id": str(n), name: value} for n, value in enumerate(values)]
    return "\n".join(
        "\t".join(line) for line in [HEADER.strip().split(","), *(list(r.values()) for r in rows)]
    )


@pytest.mark.parametrize(
    "ages, values",
    [
        (["7,25", "1,125"], [7.25, 1.125]),  # the clear one shows how the other is meant
        (["7.25", "1.125"], [7.25, 1.125]),
        (["0,125", "22"], [0.125, 22]),
        (["22 years", "1e1"], [22, 10]),
        (["\u22120", "2,5e1"], [0, 25]),
    ],
)
def test_a_number_of_one_meaning_is_read(take, ages, values):
    checked = take(wide(age=ages))
    assert checked.rows["age"].tolist() == values


@pytest.mark.parametrize(
    "fares, complaint",
    [
        (["1,234"], "a number of one meaning: 1234 or 1.234"),
        (["7.25", "1,234"], "a number of one meaning: 1234 or 1.234"),
        (["7,25", "7.5", "1,234"], "a number of one meaning: 1234 or 1.234"),
        (["7,25", "1.234"], "a number of one meaning: 1234 or 1.234"),
        (["1.234,5", "1.234"], "at most 600"),
        (["1,234.5", "1,234"], "at most 600"),
        (["1 234"], "at most 600"),
        (["7;25"], "a number"),
        (["£7"], "a number"),
        (["1_0"], "a number"),
        (["0x1F"], "a number"),
    ],
)
def test_a_number_of_two_meanings_is_set_aside_with_both(take, fares, complaint):
    checked = take(wide(fare=fares))
    last = checked.rejects[checked.rejects["line"] == len(fares) + 1]
    assert last["check"].tolist() == [complaint]
