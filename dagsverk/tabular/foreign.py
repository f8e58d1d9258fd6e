"""Kinds of files that hold tables and are not read: each by its name, so that the next move is plain."""

from __future__ import annotations

SPREADSHEET, PAGE, JSON, ARFF = "a spreadsheet", "a web page", "JSON", "ARFF"
SUFFIXES = {
    SPREADSHEET: ("xlsx", "xlsm", "xlsb", "xls", "ods", "numbers"),
    PAGE: ("html", "htm"),
    JSON: ("json", "jsonl", "ndjson"),
    ARFF: ("arff",),
    "a file of Arrow": ("feather", "arrow", "ipc"),
    "a file of a statistics program": ("sav", "dta", "sas7bdat", "xpt", "rds", "rda", "rdata"),
    "a file of one program or library": ("pkl", "pickle", "npy", "npz", "h5", "hdf5", "orc", "avro", "mat"),
    "a data base": ("db", "sqlite", "sqlite3", "mdb", "accdb"),
    "an archive": ("tar", "tgz", "7z", "rar"),
    "a document": ("pdf", "doc", "docx"),
}
STARTS = {
    SPREADSHEET: (b"\xd0\xcf\x11\xe0",),
    PAGE: (b"<!doctype html", b"<html"),
    "XML": (b"<?xml",),
    JSON: (b"{", b"[{", b"[["),
    ARFF: (b"@relation",),
    "a file of Arrow": (b"arrow1", b"fea1"),
    "a data base": (b"sqlite format 3",),
    "a document": (b"%pdf",),
}


def by_suffix(suffix: str) -> str:
    """What a file of this suffix (with its dot, in small letters) is; "" where it may be a table."""
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix.removeprefix(".") in suffixes), "")


def by_content(data: bytes) -> str:
    """What a file that begins so is; "" where it may be a table."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    lines = [line for line in start.splitlines() if not line.startswith(b"%")]  # comments of ARFF
    starts = (start, lines[0].lstrip() if lines else b"")
    return next((kind for kind, begin in STARTS.items() if any(one.startswith(begin) for one in starts)), "")
