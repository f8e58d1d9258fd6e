"""Run a command with its store on a server: `python tests/support/store_servers.py s3 -- make up`.

s3                   an S3 server (moto)
hopsworks-emulator   the same, and the emulator of Hopsworks in front of it

What they hold is listed at the end, and gone with them. The exit status is the command's. Ctrl-C ends the
command, then the server.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from s3_server import KEYS, make_bucket, s3_server

BUCKET = "dagsverk"
PREFIX = "demo"


@contextmanager
def s3(_: str) -> Iterator[dict[str, str]]:
    """Variables of a store on the S3 server."""
    yield {"DAGSVERK_STORE": f"s3://{BUCKET}/{PREFIX}"}


@contextmanager
def hopsworks_emulator(address: str) -> Iterator[dict[str, str]]:
    """Variables of a store on the emulator, which keeps its tables on the S3 server."""
    import emulator_process

    os.environ.update(_aws(address))  # it hands these keys out
    with (
        tempfile.TemporaryDirectory(prefix="dagsverk-emulator-") as folder,
        emulator_process.hopsworks_emulator(Path(folder), bucket=BUCKET, project="dagsverk") as emulator,
    ):
        yield {**emulator.variables(), "DAGSVERK_STORE": f"{emulator.url}?data_source=lake"}
        files = [path for path in Path(folder).rglob("Projects/dagsverk/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"in the project dagsverk:\n  {len(files):19d} files{size / 1e6:13.1f} MB", flush=True)


SERVERS: dict[str, Callable[[str], AbstractContextManager[dict[str, str]]]] = {
    "s3": s3,
    "hopsworks-emulator": hopsworks_emulator,
}


def main(argv: Sequence[str]) -> int:
    mark = argv.index("--") if "--" in argv else len(argv)
    arguments, command = parse(argv[:mark]), list(argv[mark + 1 :])
    if not command:
        print("store_servers: name a command after --", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave by the same door as with Ctrl-C
    try:
        with s3_server() as address:
            make_bucket(address, BUCKET)
            with SERVERS[arguments.server](address) as variables:
                print(f"store: {variables['DAGSVERK_STORE']}, S3 server at {address}", flush=True)
                status = run(command, {**os.environ, **_aws(address), **variables})
            print(contents(address), flush=True)
    except KeyboardInterrupt:
        return 130
    return status


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s SERVER -- COMMAND",
    )
    parser.add_argument("server", choices=list(SERVERS))
    return parser.parse_args(argv)


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """The command's exit status. An interruption is passed on, and its end awaited."""
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # a second one where the terminal has sent it already
        return process.wait()


def contents(address: str) -> str:
    """Objects and MB in the bucket by top folder."""
    import s3fs

    client = s3fs.S3FileSystem(endpoint_url=address, use_listings_cache=False, **_keys())
    sizes = defaultdict[str, list[int]](list)
    for path, entry in client.find(BUCKET, detail=True).items():
        below = path.removeprefix(f"{BUCKET}/").removeprefix(f"{PREFIX}/")
        sizes[below.split("/")[0] if "/" in below else "(top)"].append(entry["size"])
    lines = [
        f"  {name:<12}{len(all_):7d} objects{sum(all_) / 1e6:10.1f} MB"
        for name, all_ in sorted(sizes.items())
    ]
    return "\n".join([f"in the bucket {BUCKET}:", *(lines or ["  nothing"])])


def _aws(address: str) -> dict[str, str]:
    return {**KEYS, "AWS_ENDPOINT_URL": address}


def _keys() -> dict[str, str]:
    return {"key": KEYS["AWS_ACCESS_KEY_ID"], "secret": KEYS["AWS_SECRET_ACCESS_KEY"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
