"""A proxy as people put one before the pages: below a path, with what it adds to a request."""

import contextlib
import socket
import threading

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@contextlib.contextmanager
def proxying(pages, path, *, strip=True, host=True, added=()):
    """Address of a proxy that answers below `path` (and nowhere else) with what the pages answer.

    Args: strip: whether the path is taken away before the pages are asked; host: whether the Host that the
        browser asked is passed on, else it is in X-Forwarded-Host; added: more headers.
    """
    client = httpx.AsyncClient(base_url=pages, timeout=60)

    async def passed_on(request: Request):
        if not request.url.path.startswith(f"{path}/"):
            return PlainTextResponse("not mine", status_code=404)
        target = request.url.path.removeprefix(path) if strip else request.url.path
        headers = [pair for pair in request.headers.raw if pair[0] != b"connection"]
        if not host:
            headers = [(b"x-forwarded-host" if name == b"host" else name, value) for name, value in headers]
        url = httpx.URL(target, query=request.url.query.encode())
        body = await request.body()
        asked = client.build_request(request.method, url, headers=[*headers, *added], content=body)
        answer = await client.send(asked, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name not in HOPS}
        content = answer.aiter_raw() if request.method != "HEAD" else iter(())
        return StreamingResponse(content, answer.status_code, kept)

    methods = ["GET", "HEAD", "POST"]
    app = Starlette(routes=[Route("/{rest:path}", passed_on, methods=methods)])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)
