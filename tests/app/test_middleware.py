"""The requests that the page's server answers and refuses, and the exact answers."""

import asyncio
import json

import pytest

from ddspx.app import _middleware
from ddspx.app._middleware import RequestFilter

PORT = 7860
JOIN = "/gradio_api/queue/join"
# Two events: the first sends no value, the second sends a file and two values.
EVENTS = {1: [], 2: [True, False, False]}


async def echo(scope, receive, send):
    """Answers with the body it was sent."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"echo")]})
    await send({"type": "http.response.body", "body": b"echo " + body})


@pytest.fixture
def ask(folder):
    """Sends a request through the filter: status, headers and body of the answer."""

    def request(
        path="/", *, method="GET", body=(b"",), host=f"127.0.0.1:{PORT}", app=echo, **headers
    ):
        sent = []
        parts = [
            {"type": "http.request", "body": part, "more_body": i < len(body) - 1}
            for i, part in enumerate(body)
        ]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [
                (b"host", host.encode()),
                *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()),
            ],
        }

        async def receive():
            return parts.pop(0)

        async def send(message):
            sent.append(message)

        filtered = RequestFilter(app, folder=folder, port=PORT, events=EVENTS)
        asyncio.run(filtered(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    return request


def json_body(value):
    return {"method": "POST", "body": (json.dumps(value).encode(),)}


def file_at(path, **fields):
    """A file, as the page names it."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}} | fields


def click(*values, **fields):
    """Returns the body that the page sends for its second event."""
    return {"data": list(values), "fn_index": 2, "trigger_id": 4, "session_hash": "x"} | fields


@pytest.fixture
def sound(folder):
    (folder / "a.wav").touch()
    return folder / "a.wav"


def test_requests_of_the_page_are_answered(ask):
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}"):
        status, headers, body = ask(host=host, origin=f"http://{host}")
        assert (status, body) == (200, b"echo ")
        assert headers[b"server"] == b"echo"


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "127.0.0.1:80", "example.org:7860", "0.0.0.0:7860"]
)
def test_another_name_for_this_machine_is_refused(ask, host):
    assert ask(host=host)[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://example.org", "https://127.0.0.1:7860", "http://127.0.0.1:8000", "null"]
)
def test_another_page_is_refused(ask, origin):
    status, _, body = ask("/upload", method="POST", origin=origin)
    assert status == 403 and not body.startswith(b"echo")


def test_only_files_of_the_folder_are_given_out(ask, folder, tmp_path):
    (tmp_path / "secret").touch()
    (folder / "link").symlink_to(tmp_path / "secret")
    for mark in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
        assert ask(f"{mark}{folder}/a/result.wav")[0] == 200
        for name in (
            "/etc/passwd",
            "etc/passwd",
            "../../etc/passwd",
            f"{folder}/../secret",
            f"{folder}/a/../../secret",
            f"{folder}",
            f"{folder}-other/a.wav",
            f"{folder}/link",
            "http://example.org/a.wav",
            "//example.org/a.wav",
            "a\0b",
            "/" + "a" * 5000,
        ):
            status, _, body = ask(f"{mark}{name}")
            assert status == 403 and body == b"There is no such file.", name


def test_proxy_requests_are_refused(ask):
    assert ask("/gradio_api/proxy=http://example.org")[0] == 403


@pytest.mark.parametrize("name", ["/etc/passwd", "http://example.org/a.wav", "a.wav", 7, ["a"]])
def test_a_request_that_names_a_file_outside_the_folder_is_refused(ask, name):
    for value in (file_at(name), {"a": [file_at(name)]}):
        assert ask(JOIN, **json_body(click(value, 1, "a")))[0] == 403


def test_a_request_arrives_as_it_was_sent(ask, sound):
    request = click(file_at(sound, size=0, orig_name="b.wav", url=None), 0.5, "major")
    whole = json.dumps(request | {"event_data": None}).encode()
    status, _, body = ask(JOIN, method="POST", body=(whole[:10], whole[10:]))
    assert (status, body) == (200, b"echo " + whole)
    for request in (
        click(None, None, True),
        {"data": [], "fn_index": 1, "trigger_id": None, "session_hash": "x"},
    ):
        assert ask(JOIN, **json_body(request))[0] == 200
    cancel = {"event_id": "e", "session_hash": "x", "fn_index": 2}
    assert ask("/gradio_api/cancel", **json_body(cancel))[0] == 200
    assert ask("/gradio_api/reset", **json_body({"event_id": "e"}))[0] == 200


@pytest.mark.parametrize(
    "strange",
    [
        5,
        None,
        [],
        {},
        click(None, 1, "a", fn_index=3),
        click(None, 1, "a", fn_index=-1),
        click(None, 1, "a", fn_index=True),
        click(None, 1, "a", fn_index="2"),
        click(None, 1, "a", fn_index=10**30),
        click(None, 1, "a", trigger_id="x"),
        click(None, 1, "a", trigger_id=10**30),
        click(None, 1, "a", session_hash=None),
        click(None, 1, "a", session_hash={"a": 1}),
        click(None, 1, "a", event_data={"a": 1}),
        click(None, 1, "a", batched=True),
        click(None, 1, "a", data="abc"),
        click(None, 1),
        click(None, 1, "a", 1),
        click("text", 1, "a"),
        click(None, [1], "a"),
        click(None, {"a": 1}, "a"),
        click(None, 1e300, "a"),
        click(None, float("nan"), "a"),
        click(None, 1, "a" * 5000),
    ],
    ids=repr,
)
def test_a_body_that_the_page_cannot_send_is_refused(ask, strange):
    for path in (JOIN, "/gradio_api/cancel", "/gradio_api/reset"):
        status, _, body = ask(path, **json_body(strange))
        assert status == 403 and not body.startswith(b"echo")


def test_an_invalid_file_is_refused(ask, sound, folder):
    for value in (
        file_at(folder / "gone.wav"),
        file_at(folder / "a\0b"),
        file_at(folder / "\ud800.wav"),
        file_at(folder / ("a" * 5000)),
        file_at(sound, size="large"),
        file_at(sound, meta=None),
        file_at(sound, is_stream="maybe"),
        file_at(sound, is_secret=True),
        {"path": None, "meta": {"_type": "gradio.FileData"}},
        {"meta": {"_type": "gradio.FileData"}},
    ):
        assert ask(JOIN, **json_body(click(value, 1, "a")))[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        *("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/monitoring", "/login"),
        *(f"/gradio_api/{name}" for name in ("info", "openapi.json", "run/play", "call/play")),
        *("/gradio_api/upload_progress", "/gradio_api/stream/x", "/gradio_api/vibe-edit"),
        *(
            "/gradio_api/heartbeat/a/b",
            "/gradio_api/heartbeat/",
            "/static/",
            "/static/" + "a" * 300,
        ),
        *("", "*", "//", "/a", "/\0", "/config/", "/\n", "/gradio_api/queue/join/"),
    ],
)
def test_paths_that_the_page_does_not_use_are_not_found(ask, path):
    for method in ("GET", "POST", "HEAD", "BREW"):
        status, _, body = ask(path, method=method)
        assert status == 404 and not body.startswith(b"echo")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"])
def test_other_methods_are_refused(ask, method):
    for path in ("/", "/config", JOIN, "/gradio_api/upload", "/gradio_api/heartbeat/abc"):
        assert ask(path, method=method)[0] == 405
    assert ask(JOIN)[0] == ask("/", method="POST")[0] == 405
    assert ask("/", method="HEAD")[0] == 200


@pytest.mark.parametrize("answer", ["none", "raises", "fails", "fails and raises"])
def test_an_error_of_the_application_is_printed_as_one_line(ask, answer, capsys):
    async def app(scope, receive, send):
        if answer.startswith("fails"):
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Traceback"})
        if answer.endswith("raises"):
            raise KeyError("secret")

    status, _, body = ask("/static/\x1b[31m", app=app)
    assert (status, body) == (400, b"The request was not understood.")
    said = capsys.readouterr().err
    assert said.startswith("ddspx app: a request was not understood (GET /static/\\x1b[31m")
    assert len(said.splitlines()) == 1 and "secret" not in said
    assert ("KeyError" in said) == answer.endswith("raises")


def test_a_client_that_disconnects_is_not_reported(folder, capsys):
    """In the middle of a body that the filter reads, and of one that the application does."""
    sent = []

    async def app(scope, receive, send):
        await receive()
        raise ConnectionError

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    filtered = RequestFilter(app, folder=folder, port=PORT, events=EVENTS)
    form = (b"content-type", b"multipart/form-data; boundary=a")
    for path in (JOIN, "/gradio_api/upload"):
        headers = [(b"host", f"localhost:{PORT}".encode()), form]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        asyncio.run(filtered(scope, receive, send))
    assert sent == [] and capsys.readouterr().err == ""


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(ask, body):
    assert ask(JOIN, method="POST", body=(body,))[0] == 403


def test_a_request_without_end_is_refused(ask):
    part = b" " * (1 << 19)
    assert ask(JOIN, method="POST", body=(part,) * 100)[0] == 403


def test_an_upload_is_passed_on_to_the_application(ask):
    upload = {"method": "POST", "body": (b"{", b"no json"), "content_type": "multipart/form-data"}
    assert ask("/gradio_api/upload", **upload)[:3:2] == (200, b"echo {no json")
    assert ask(JOIN, **upload)[0] == 403
    for kind in ("text/plain", "application/json", ""):
        assert ask("/gradio_api/upload", **(upload | {"content_type": kind}))[0] == 403


def test_an_upload_without_end_is_refused(ask, monkeypatch, capsys):
    """In files or in anything else."""
    monkeypatch.setattr(_middleware, "_LARGEST_UPLOAD", 1000)
    form = {"method": "POST", "content_type": "multipart/form-data; boundary=a"}
    assert ask("/gradio_api/upload", body=(bytes(100),) * 10, **form)[0] == 200
    assert ask("/gradio_api/upload", body=(bytes(100),) * 11, **form)[0] == 400
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_policy_for_browsers_allows_nothing_from_other_hosts(ask):
    for path in ("/", "/file=/etc/passwd"):
        policy = ask(path)[1][b"content-security-policy"].decode()
        assert "http" not in policy and "*" not in policy
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy


def test_links_to_other_hosts_are_removed_from_the_page(folder):
    page = (
        b'<head><link rel="preconnect"\n href="https://fonts.example.org" crossorigin />'
        b'<link rel="stylesheet" href="./assets/a.css"><SCRIPT src="http://example.org/a.js" async>'
        b'</SCRIPT><script>say("https://example.org")</script></head>'
    )
    wanted = (
        b'<head><link rel="stylesheet" href="./assets/a.css">'
        b'<script>say("https://example.org")</script></head>'
    )
    sent = []

    async def receive():
        raise AssertionError("nothing was sent")

    async def app(scope, receive, send):
        assert b"accept-encoding" not in dict(scope["headers"])
        size = (b"content-length", str(len(page)).encode())
        kind = (b"content-type", b"text/html; charset=utf-8")
        await send({"type": "http.response.start", "status": 200, "headers": [kind, size]})
        await send({"type": "http.response.body", "body": page[:30], "more_body": True})
        await send({"type": "http.response.body", "body": page[30:]})

    async def send(message):
        sent.append(message)

    headers = [(b"host", f"localhost:{PORT}".encode()), (b"accept-encoding", b"gzip")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    asyncio.run(RequestFilter(app, folder=folder, port=PORT, events=EVENTS)(scope, receive, send))
    start, body = sent
    assert body["body"] == wanted
    sizes = [value for name, value in start["headers"] if name == b"content-length"]
    assert sizes == [str(len(wanted)).encode()]
