"""The emulator asked directly, without the SDK."""

import contextlib
import threading

import requests

PROJECT = "/hopsworks-api/api/project/119"


@contextlib.contextmanager
def plain_client(emulator):
    with requests.Session() as session:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        session.verify = str(emulator.certificate)
        session.headers["Authorization"] = f"ApiKey {emulator.api_key}"
        session.base = f"https://{emulator.host}:{emulator.port}{PROJECT}"
        yield session


def make_folder(web, path):
    return web.post(f"{web.base}/dataset/{path}", params={"action": "create"})


def upload(web, folder, name, content, number=1, chunks=1):
    form = {
        "flowIdentifier": f"{len(content)}_{name}",
        "flowFilename": name,
        "flowChunkNumber": number,
        "flowTotalChunks": chunks,
    }
    return web.post(f"{web.base}/dataset/upload/{folder}", data=form, files={"file": (name, content)})


def names_in(web, folder, **query):
    answer = web.get(f"{web.base}/dataset/{folder}", params={"action": "listing", **query}).json()
    return [item["attributes"]["name"] for item in answer["items"]]


def together(calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
