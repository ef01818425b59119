"""Slow and malformed connections to a server: they are closed in time."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn (the extra app) is not installed")
from ddspx.app import _connection  # noqa: E402

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
TIMEOUT_S = 0.3


async def echo(scope, receive, send):
    """Waits for the body, and for some time longer if the path says so."""
    import asyncio

    body, more = b"", True
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/long":
        await asyncio.sleep(4 * TIMEOUT_S)
    if scope["path"] != "/stream":
        size = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [size]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port():
    patch = pytest.MonkeyPatch()
    patch.setattr(_connection, "TIMEOUT_S", TIMEOUT_S)
    patch.setattr(_connection, "_LOOK_S", 0.05)
    patch.setattr(_connection, "_SLOWEST", 1000)
    patch.setattr(_connection, "_MOST_CONNECTIONS", 8)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            echo, http=_connection.TimedConnection, ws="none", lifespan="off", log_level="critical"
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=10)
    patch.undo()
    assert not thread.is_alive()


@contextmanager
def connected(port, sent=b""):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        yield connection


def until_closed(connection):
    """All that comes, and the seconds until the other side closes."""
    start, received = time.monotonic(), b""
    try:
        while block := connection.recv(1 << 16):
            received += block
    except ConnectionError:
        pass
    return received, time.monotonic() - start


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"GET / HT",
        HEAD,
        POST + b"Content-Length: 9\r\n\r\nabc",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        HEAD + b"\r\nGET /",
        POST.replace(b"/ ", b"/stream ") + b"Content-Length: 9\r\n\r\nabc",
    ],
    ids="nothing line head body chunk second answered".split(),
)
def test_a_connection_that_sends_nothing_is_closed(port, half):
    # Before the other side's clock begins.
    start = time.monotonic()
    with connected(port, half) as connection:
        until_closed(connection)
    assert 0.9 * TIMEOUT_S < time.monotonic() - start < 20 * TIMEOUT_S


def test_a_request_that_arrives_too_slowly_is_closed(port):
    with connected(port, HEAD) as connection, pytest.raises(ConnectionError):
        for _ in range(200):
            connection.sendall(b"a")
            time.sleep(0.05)


def test_a_steady_upload_is_not_closed(port):
    """A thousand bytes are a second: 3,000 in 1.2 s are in time, after the 0.3 s of patience."""
    with connected(port, POST + b"Connection: close\r\nContent-Length: 3000\r\n\r\n") as connection:
        for _ in range(12):
            connection.sendall(bytes(250))
            time.sleep(0.1)
        received, _ = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 200") and received.endswith(bytes(3000))


def test_a_slow_answer_is_not_closed(port):
    with connected(
        port, HEAD.replace(b"/ ", b"/long ") + b"Connection: close\r\n\r\n"
    ) as connection:
        received, seconds = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 200") and seconds > 3 * TIMEOUT_S


def test_a_reused_connection_stays_open(port):
    with connected(port) as connection:
        for _ in range(8):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            time.sleep(TIMEOUT_S / 3)


def test_idle_connections_are_closed_to_make_room(port):
    """Many times the connections that there may be, and somebody who asks for something."""
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(40)]
    try:
        with connected(port, HEAD + b"Connection: close\r\n\r\n") as connection:
            assert until_closed(connection)[0].startswith(b"HTTP/1.1 200")
    finally:
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("noise", [b"\xff\xfe\r\n\r\n", b"zz\r\nab\r\n"])
def test_invalid_http_during_an_answer_ends_the_connection(port, noise, capfd, caplog):
    begun = POST.replace(b"/ ", b"/stream ") + b"Transfer-Encoding: chunked\r\n\r\n"
    with connected(port, begun) as connection:
        assert b"200" in connection.recv(1 << 16)
        connection.sendall(noise)
        until_closed(connection)
    assert "Traceback" not in capfd.readouterr().err and caplog.records == []
