"""What a copy refuses, how it names what is wrong, and what the command makes of it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from copied_store import everything, fill, quiet
from deltalake import DeltaTable
from store_backends import BACKENDS, TABLE, rows

from dagsverk.commands import main, parser
from dagsverk.store import Conflict, Store, StoreError, open_store
from dagsverk.store.embedded import Embedded
from dagsverk.store.files import LocalFiles
from dagsverk.store.moving.copying import copy
from dagsverk.store.moving.journal import RESERVED

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "move-a-store.md"


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return fill(open_store(str(tmp_path / "from")), tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "to"))


# ------------------------------------------------------------------ what is refused


def a_table(store: Store) -> None:
    store.ensure(TABLE)


def a_model(store: Store) -> None:
    folder = Path(store.url).parent / "own"
    folder.mkdir()
    (folder / "own.bin").write_bytes(b"own")
    store.save_model("own", folder, metrics={})


def an_artefact(store: Store) -> None:
    store.put("own/artefact", b"own")


@pytest.mark.parametrize("write", [a_table, a_model, an_artefact])
def test_a_target_that_holds_something_else_is_refused_untouched(
    source: Store, target: Store, write: Callable[[Store], None]
) -> None:
    write(target)
    before = everything(Path(target.url))
    with pytest.raises(Conflict, match=r"holds the .*(rows|own).* and is no copy"):
        copy(source, target, quiet)
    assert everything(Path(target.url)) == before


def test_the_copy_of_another_store_is_refused(source: Store, target: Store, tmp_path: Path) -> None:
    copy(source, target, quiet)
    with pytest.raises(Conflict, match="is a copy of"):
        copy(open_store(str(tmp_path / "another")), target, quiet)


def a_row(store: Store) -> None:
    store.upsert(TABLE, rows(["own"]))


def a_promotion(store: Store) -> None:
    store.promote("m", 2, reason="own", expected=3)


def a_replaced_artefact(store: Store) -> None:
    store.put("status/day.json", b"own", overwrite=True)


@pytest.mark.parametrize("write", [a_row, a_model, a_promotion, an_artefact, a_replaced_artefact])
def test_a_copy_that_was_written_to_since_is_refused_untouched(
    source: Store, target: Store, write: Callable[[Store], None]
) -> None:
    copy(source, target, quiet)
    write(target)
    source.put("status/day.json", b"replaced here too", overwrite=True)
    before = everything(Path(target.url))
    with pytest.raises(Conflict, match="since it was copied; copy into an empty place"):
        copy(source, target, quiet)
    assert everything(Path(target.url)) == before


def test_a_changed_model_file_in_the_source_is_named_and_not_registered(source: Store, target: Store) -> None:
    uploads = Path(source.url, "models/m/uploads").rglob("weights.bin")
    second = next(path for path in uploads if path.read_bytes() == bytes([1]) * 1000)
    second.write_bytes(b"changed")
    with pytest.raises(StoreError, match=r"model 'm' version 2 .*'weights\.bin'"):
        copy(source, target, quiet)
    assert [model.version for model in target.models("m")] == [1] and target.champion("m") is None


class Forgetful(Embedded):
    """A store that keeps other bytes than it was given."""

    def put_file(self, path: str, source: Path) -> str:
        changed = source.with_name("changed")
        changed.write_bytes(source.read_bytes()[:-1])
        return super().put_file(path, changed)


def test_an_artefact_that_does_not_arrive_as_it_was_read_is_named(source: Store, tmp_path: Path) -> None:
    forgetful = Forgetful(LocalFiles(tmp_path / "forgetful"))
    with pytest.raises(StoreError, match=r"artefact '.*' did not come to .*forgetful as it was read"):
        copy(source, forgetful, quiet)


def test_an_artefact_that_was_changed_in_the_target_is_named_when_read_back(
    source: Store, target: Store
) -> None:
    copy(source, target, quiet)
    target.put("top", b"x", overwrite=True)
    copy(source, target, quiet)  # by names alone it is there
    with pytest.raises(StoreError, match=r"artefact 'top' in .* is another one"):
        copy(source, target, quiet, read_back=True)


def test_rows_that_differ_are_found(source: Store, target: Store) -> None:
    copy(source, target, quiet)
    journal = json.loads(target.get(f"{RESERVED}/journal.json"))
    journal["checked"] = {}
    target.put(f"{RESERVED}/journal.json", json.dumps(journal).encode(), overwrite=True)
    table = DeltaTable(f"{target.url}/tables/rows_1")
    file = Path(target.url, "tables/rows_1", table.file_uris()[0].rsplit("/", 1)[-1])
    kept = pa.parquet.read_table(file)
    pa.parquet.write_table(kept.set_column(2, "value", pa.array([9.0] * len(kept))), file)
    with pytest.raises(StoreError, match=r"table rows version 1 as of .* differ"):
        copy(source, target, quiet)


# ------------------------------------------------------------------ the command


def test_the_command_tells_what_it_copied_and_then_that_nothing_was_missing(
    source: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["store", "copy", source.url, f"file://{tmp_path}/to"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for line in (
        "artefacts   speech: 3 files, 3 copied",
        "table       rows 1: 3 commits, 3 copied",
        "table       empty 1: 0 commits, 0 copied",
        "model       m: 3 versions, 3 copied, 3.0 kB",
        "model       m: 2 promotions, 2 copied",
        "copied 5 artefacts, 5 commits, 3 versions, 2 promotions (",
    ):
        assert line in printed
    assert main([*command, "--read-back"]) == 0
    printed = capsys.readouterr().out
    assert "nothing was missing" in printed and "artefacts   all 5 read back, equal" in printed


def test_a_source_that_is_no_store_is_refused_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "copy", str(tmp_path / "absent"), str(tmp_path / "to")]) == 1
    assert list(tmp_path.iterdir()) == []
    printed = capsys.readouterr()
    assert printed.err.startswith("dagsverk: there is no store at ") and printed.err.count("\n") == 1


def test_an_empty_source_is_refused_as_a_wrong_address(
    target: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "copy", target.url, str(tmp_path / "elsewhere")]) == 1
    assert "is empty; check the address" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_an_absent_source_in_s3_is_refused_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = BACKENDS["s3"](tmp_path).url
    assert main(["store", "copy", f"{url}/absent", str(tmp_path / "to")]) == 1
    assert "there is no store at s3://" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("target", ["from", "from/inside", ".", "from/../from"])
def test_a_store_is_not_copied_into_itself(
    source: Store, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(tmp_path)
    assert main(["store", "copy", source.url, str(tmp_path / target)]) == 1
    assert "name " in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_ctrl_c_says_that_the_same_command_goes_on(source: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagsverk", "store", "copy", source.url, str(tmp_path / "to")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        printed = process.stderr.read()
        assert process.wait() in (130, 0)  # 0: it was faster than the signal
    assert process.returncode == 0 or printed.endswith("and the same command goes on from there\n")
    assert main(command[3:]) == 0


def test_the_command_starts_without_what_a_store_needs() -> None:
    code = (
        "import sys\nfrom dagsverk.commands import main\n"
        "try:\n    main(['store', 'copy', '--help'])\n"
        "except SystemExit:\n    print({'pyarrow', 'pandas', 'deltalake', 'prefect'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()" and "--read-back" in done.stdout


def test_a_command_that_is_not_known_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["store"], ["store", "copy", "x"], ["nonsense"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert "usage: dagsverk" in capsys.readouterr().err


def test_every_command_of_the_how_to_is_understood() -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    commands = [shlex.split(line) for line in joined.splitlines() if line.startswith("dagsverk ")]
    assert len(commands) >= 3
    for words in commands:
        assert parser().parse_args(words[1:]).source
