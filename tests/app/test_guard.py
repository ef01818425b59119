"""What the page's server answers, and what it does not, on the wire."""

import asyncio
import json

import pytest

from ddspx.app._guard import Guard

PORT = 7860


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
    """Sends a request through the guard: status, headers and body of the answer."""

    def request(path="/", *, method="GET", body=(b"",), host=f"127.0.0.1:{PORT}", **headers):
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

        asyncio.run(Guard(echo, folder=folder, port=PORT)(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    return request


def json_body(value):
    return {"method": "POST", "body": (json.dumps(value).encode(),)}


def test_the_page_itself_is_answered(ask):
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


def test_nothing_is_fetched(ask):
    assert ask("/gradio_api/proxy=http://example.org")[0] == 403


@pytest.mark.parametrize("name", ["/etc/passwd", "http://example.org/a.wav", "a.wav", 7, ["a"]])
def test_a_request_names_only_files_of_the_folder(ask, name):
    request = {"data": [{"a": [{"path": name, "meta": {}}]}], "fn_index": 1}
    assert ask("/gradio_api/queue/join", **json_body(request))[0] == 403


def test_a_request_arrives_as_it_was_sent(ask, folder):
    request = {"data": [{"path": f"{folder}/a.wav"}, {"path": None}, 0.5], "session_hash": "x"}
    whole = json.dumps(request).encode()
    status, _, body = ask(method="POST", body=(whole[:10], whole[10:]))
    assert (status, body) == (200, b"echo " + whole)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_cannot_be_read_is_refused(ask, body):
    assert ask(method="POST", body=(body,))[0] == 403


def test_a_request_without_end_is_refused(ask):
    part = b" " * (1 << 19)
    assert ask(method="POST", body=(part,) * 100)[0] == 403


def test_an_upload_is_the_applications(ask):
    upload = {"method": "POST", "body": (b"{", b"no json"), "content_type": "multipart/form-data"}
    assert ask("/gradio_api/upload", **upload)[:3:2] == (200, b"echo {no json")
    assert ask("/gradio_api/queue/join", **upload)[0] == 403


def test_browsers_are_told_to_load_nothing_from_elsewhere(ask):
    for path in ("/", "/file=/etc/passwd"):
        policy = ask(path)[1][b"content-security-policy"].decode()
        assert "http" not in policy and "*" not in policy
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy


def test_a_page_is_sent_without_its_links_elsewhere(folder):
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
    asyncio.run(Guard(app, folder=folder, port=PORT)(scope, None, send))
    start, body = sent
    assert body["body"] == wanted
    sizes = [value for name, value in start["headers"] if name == b"content-length"]
    assert sizes == [str(len(wanted)).encode()]
