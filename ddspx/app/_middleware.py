"""What stands between the page's server and whoever else can reach it.

A server on 127.0.0.1 is reached by every program of the machine, and by every web page that its
browsers show. Of requests this one answers only those that its own page makes: gradio itself
would fetch addresses that a request names, read files for it, describe itself, and end in a trace
where a request is odd.
"""

import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ddspx._text import printable
from ddspx.app._requests import UPLOAD, Events, is_of_the_page, status_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# The values of a few controls and the names of two files.
_LARGEST_BODY = 1 << 20
# A file that is too large is gradio's to refuse, which says so; here the rest of an upload ends.
_LARGEST_UPLOAD = 110 << 20
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
    anything elsewhere, a body that the page cannot have sent; with 404 and 405, what the page
    does not ask for; and with 400, whatever the application fails at.

    Args:
      app: the application.
      folder: the only one whose files may be named.
      port: where the application is served on 127.0.0.1.
      events: what can happen on the page.
    """

    def __init__(self, app: App, *, folder: Path, port: int, events: Events) -> None:
        self._app, self._folder, self._events = app, folder.resolve(), events
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, or passes on what is none."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            raise ValueError(f"the page has no use for a request of type {scope['type']}.")
        if (refusal := self._refusal(scope)) is not None:
            return await _refuse(send, 403, refusal)
        status = status_of(scope["method"], scope["path"])
        if status != 200:
            return await _refuse(send, status, "This page has no such thing.")
        if scope["path"] == UPLOAD:
            kind = dict(scope["headers"]).get(b"content-type", b"")
            if not kind.lower().startswith(b"multipart/form-data"):
                return await _refuse(send, 403, "This is no upload.")
        elif scope["method"] == "POST":
            body = await _whole_body(receive)
            if body is None:
                return None
            if (refusal := self._refusal_of(scope["path"], body)) is not None:
                return await _refuse(send, 403, refusal)
            receive = _giving(body, receive)
        return await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Lets the application answer, and says in a line what it fails at."""
        # Pages are read on their way, and compressing for the same machine is no use.
        headers = [item for item in scope["headers"] if item[0].lower() != b"accept-encoding"]
        exchange, failure = _Exchange(receive, send), ""
        try:
            await self._app({**scope, "headers": headers}, exchange.receive, exchange.send)
        except Exception as error:
            failure = f": {type(error).__name__}"
        # Who has gone away in the middle has done nothing odd.
        if exchange.is_left or (exchange.is_answered and not failure):
            return
        what = printable(f"{scope['method']} {scope['path'][:80]}{failure}")
        print(f"ddspx app: a request was not understood ({what}).", file=sys.stderr)
        if not exchange.is_answered:
            await _refuse(send, 400, "The request was not understood.")

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

    def _refusal_of(self, path: str, body: bytes) -> str | None:
        """Why a body is not passed on."""
        if len(body) > _LARGEST_BODY:
            return "The request is too large."
        try:
            value = json.loads(body)
            named = list(_paths(value))
        except (ValueError, RecursionError):
            return "The request cannot be read."
        if not all(map(self._is_inside, named)):
            return "There is no such file."
        if not is_of_the_page(path, value, self._events):
            return "This page asks for nothing of the kind."
        return None

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


async def _whole_body(receive: Receive) -> bytes | None:
    """The body of a request, or more of it than is read; None if its sender goes away."""
    body, is_complete = b"", False
    while not is_complete and len(body) <= _LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        is_complete = not message.get("more_body", False)
    return body


def _giving(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was received already."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return again


class _Exchange:
    """A request and its answer, and how far they are."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, _cleaning(send)
        self.is_answered = self.is_left = self._is_failure = False
        self._size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > _LARGEST_UPLOAD:
            raise ValueError("the upload is too large")
        self.is_left = self.is_left or message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_failure = message["status"] == 500
        if not self._is_failure:
            self.is_answered = True
            await self._send(message)


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


async def _refuse(send: Send, status: int, sentence: str) -> None:
    head = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": sentence.encode()})
