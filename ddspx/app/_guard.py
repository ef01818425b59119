"""What stands between the page's server and whoever else can reach it.

A server on 127.0.0.1 is reached by every program of the machine, and by every web page that its
browsers show. Of requests this one answers only those that its own page makes: gradio itself
would fetch addresses that a request names, and read files for it.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# The values of a few controls and the names of two files.
_LARGEST_BODY = 1 << 20
# The browser is told too: it loads nothing from elsewhere, and shows the page in no frame.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'"
)
# What would make a browser speak to somebody else before any policy is asked: gradio 5 has it get
# ready for a font, and load a script.
_ELSEWHERE = re.compile(rb"<(link|script)\b[^>]*https?://[^>]*>(\s*</script>)?", re.IGNORECASE)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Guard:
    """An ASGI application that lets through to another what its page asks for.

    Refused with a sentence and status 403: a host that is not this one's (another name for
    127.0.0.1), an origin that is another page's, a file outside the folder, an address of
    anything elsewhere.

    Args:
      app: the application.
      folder: the only one whose files may be named.
      port: where the application is served on 127.0.0.1.
    """

    def __init__(self, app: App, *, folder: Path, port: int) -> None:
        self._app, self._folder = app, folder.resolve()
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, or passes on what is none."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            raise ValueError(f"the page has no use for a request of type {scope['type']}.")
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            body, receive = await _whole_body(scope, receive)
            refusal = self._refusal_of(body)
        if refusal is not None:
            return await _refuse(send, refusal)
        # Pages are read on their way, and compressing for the same machine is no use.
        headers = [item for item in scope["headers"] if item[0].lower() != b"accept-encoding"]
        await self._app({**scope, "headers": headers}, receive, _cleaning(send))

    def _refusal(self, scope: Message) -> str | None:
        """Why a request is not answered, as far as its head shows."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (host := headers.get(b"host", "")) not in self._hosts:
            return f"This page is not at {host or 'a host without a name'}."
        origin = headers.get(b"origin", f"http://{host}")
        if origin.removeprefix("http://") not in self._hosts:
            return f"The page at {origin} has no business here."
        path = scope["path"]
        if "/proxy=" in path:
            return "This page fetches nothing from elsewhere."
        for mark in ("/file=", "/file/"):
            if mark in path and not self._is_inside(path.partition(mark)[2]):
                return "There is no such file."
        return None

    def _refusal_of(self, body: bytes | None) -> str | None:
        """Why a body is not read (None: it is an upload, which the application reads)."""
        if not body:
            return None
        if len(body) > _LARGEST_BODY:
            return "The request is too large."
        try:
            named = list(_paths(json.loads(body)))
        except (ValueError, RecursionError):
            return "The request cannot be read."
        return None if all(map(self._is_inside, named)) else "There is no such file."

    def _is_inside(self, name: object) -> bool:
        """Whether this is the name of something in the folder."""
        try:
            path = Path(name) if isinstance(name, str) else None
            return (
                path is not None and path.is_absolute() and (self._folder in path.resolve().parents)
            )
        # Names that are none: with a zero in them, or too long.
        except (ValueError, OSError):
            return False


def _paths(value: Any) -> Iterator[object]:
    """Whatever a request names as a file: what is called a path, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path" and item is not None:
                yield item
            else:
                yield from _paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item)


async def _whole_body(scope: Message, receive: Receive) -> tuple[bytes | None, Receive]:
    """The body of a request, and a `receive` that gives it again; None for an upload."""
    kind = dict(scope["headers"]).get(b"content-type", b"")
    if scope["path"].rstrip("/").endswith("/upload") and kind.startswith(b"multipart/form-data"):
        return None, receive
    body, is_complete = b"", False
    while not is_complete and len(body) <= _LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        is_complete = not message.get("more_body", False)
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return body, again


def _cleaning(send: Send) -> Send:
    """Sends an answer with our headers, and a page without its links elsewhere."""
    held: list[Message] = []

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            if any(kind.startswith(b"text/html") for kind in kinds):
                held.append(message)
                return
        elif held:
            held.append(message)
            if message.get("more_body", False):
                return
            start, *parts = held
            held.clear()
            page = _ELSEWHERE.sub(b"", b"".join(part.get("body", b"") for part in parts))
            headers = [item for item in start["headers"] if item[0].lower() != b"content-length"]
            size = (b"content-length", str(len(page)).encode())
            await send({**start, "headers": [*headers, size]})
            message = {"type": "http.response.body", "body": page}
        await send(message)

    return sending


async def _refuse(send: Send, sentence: str) -> None:
    head = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": head})
    await send({"type": "http.response.body", "body": sentence.encode()})
