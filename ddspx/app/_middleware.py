"""Middleware that refuses every request which the page itself does not make.

Every program on the machine can reach a server on 127.0.0.1, and so can every web page that a
browser on it shows. gradio alone would fetch URLs and read files that a request names, describe
its API, and print a stack trace for a malformed request.
"""

import re
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ddspx import io
from ddspx._text import printable
from ddspx.app._requests import UPLOAD, Events, is_of_the_page, status_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# A body holds only the values of a few controls and the names of two files.
_LARGEST_BODY = 1 << 20
# gradio refuses a file above 100 MB with a message. This limit, slightly larger, ends an upload
# that continues all the same.
_LARGEST_UPLOAD = 110 << 20
# The browser also loads nothing from other hosts, and does not show the page in a frame of another.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Tags that name another host are removed: gradio 5 preconnects to a host of fonts, which the policy
# does not prevent, and loads a script.
_ELSEWHERE = re.compile(rb"<(link|script)\b[^>]*https?://[^>]*>(\s*</script>)?", re.IGNORECASE)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class RequestFilter:
    """An ASGI application that passes the page's own requests on to another application.

    All other requests are refused with a sentence. The status is 403 for another host name (DNS
    rebinding), another page's origin, a file outside the folder, a URL of another host, and a body
    that the page cannot have sent. It is 404 or 405 for a path or a method that the page does not
    use, and 400 for a request at which the application fails.

    Args:
      app: the application.
      folder: the only folder whose files a request may name.
      port: the application's port on 127.0.0.1.
      events: the page's events.
    """

    def __init__(self, app: App, *, folder: Path, port: int, events: Events) -> None:
        self._app, self._folder, self._events = app, folder.resolve(), events
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers or passes on one request; events of the server's lifespan are passed on."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            raise ValueError(f"the page does not use requests of type {scope['type']}.")
        if (refusal := self._refusal(scope)) is not None:
            return await _refuse(send, 403, refusal)
        status = status_of(scope["method"], scope["path"])
        if status != 200:
            return await _refuse(send, status, "There is no such address on this page.")
        if scope["path"] == UPLOAD:
            kind = dict(scope["headers"]).get(b"content-type", b"")
            if not kind.lower().startswith(b"multipart/form-data"):
                return await _refuse(send, 403, "This request is not an upload.")
        elif scope["method"] == "POST":
            body = await _whole_body(receive)
            if body is None:
                return None
            if (refusal := self._refusal_of(scope["path"], body)) is not None:
                return await _refuse(send, 403, refusal)
            receive = _giving(body, receive)
        return await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Lets the application answer, and prints a line if it fails."""
        # The answer must not be compressed, because HTML is edited on its way; on the same machine
        # compression would not help anyway.
        headers = [item for item in scope["headers"] if item[0].lower() != b"accept-encoding"]
        exchange, failure = _Exchange(receive, send), ""
        try:
            await self._app({**scope, "headers": headers}, exchange.receive, exchange.send)
        except Exception as error:
            failure = f": {type(error).__name__}"
        # A client that has disconnected is no failure.
        if exchange.is_left or (exchange.is_answered and not failure):
            return
        request = printable(f"{scope['method']} {scope['path'][:80]}{failure}")
        print(f"ddspx app: a request was not understood ({request}).", file=sys.stderr)
        if not exchange.is_answered:
            await _refuse(send, 400, "The request was not understood.")

    def _refusal(self, scope: Message) -> str | None:
        """Returns why a request is refused because of its path or headers, or None."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (host := headers.get(b"host", "")) not in self._hosts:
            return f"This page is not served at {host or 'a host without a name'}."
        origin = headers.get(b"origin", f"http://{host}")
        if origin.removeprefix("http://") not in self._hosts:
            return f"The page at {origin} may not use this server."
        path = scope["path"]
        if "/proxy=" in path:
            return "This page fetches nothing from other hosts."
        for mark in ("/file=", "/file/"):
            if mark in path and not self._is_inside(path.partition(mark)[2]):
                return "There is no such file."
        return None

    def _refusal_of(self, path: str, body: bytes) -> str | None:
        """Returns why a request is refused because of its body, or None."""
        if len(body) > _LARGEST_BODY:
            return "The request is too large."
        try:
            value = io.parse_json(body)
        except ValueError:
            return "The request cannot be read."
        if not all(map(self._is_inside, _paths(value))):
            return "There is no such file."
        if not is_of_the_page(path, value, self._events):
            return "This page makes no such request."
        return None

    def _is_inside(self, name: object) -> bool:
        """Tells whether a name is the path of a file or folder inside the folder."""
        try:
            path = Path(name) if isinstance(name, str) else None
            return (
                path is not None and path.is_absolute() and (self._folder in path.resolve().parents)
            )
        # The name contains a zero byte or is too long.
        except (ValueError, OSError):
            return False


def _paths(value: Any) -> Iterator[object]:
    """Yields all file names in a body: the values of every key `path`, however deep."""
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
    """Reads the body of a request, up to just above the limit; None if the client disconnects."""
    body, is_complete = b"", False
    while not is_complete and len(body) <= _LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        is_complete = not message.get("more_body", False)
    return body


def _giving(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` whose first message is a body that has been received already."""
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
    """Wraps `send`: it adds the headers, and removes tags that name other hosts from HTML."""
    pending: list[Message] = []

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            if any(kind.startswith(b"text/html") for kind in kinds):
                pending.append(message)
                return
        elif pending:
            pending.append(message)
            if message.get("more_body", False):
                return
            start, *parts = pending
            pending.clear()
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
