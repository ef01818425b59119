"""The page's server, tested without a browser, with requests of other pages too."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from app_server import served
from toy_instrument import SAMPLE_RATE, tone

import ddspx
from ddspx import io
from ddspx.app import _serve, serve
from ddspx.cli import main

# Settings for other gradio apps, which must not open this one to other machines.
OPEN = {
    "GRADIO_ALLOWED_PATHS": "/etc",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_SHARE": "True",
    "GRADIO_ROOT_PATH": "/elsewhere",
    "GRADIO_ANALYTICS_ENABLED": "True",
    "GRADIO_MCP_SERVER": "True",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    with served(tmp_path_factory.mktemp("served"), **OPEN) as running:
        yield running


def ask(server, method, path, body=None, **headers):
    """Returns status and body of the answer to a request whose path is not normalized."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload(server, content, name="a.wav", **headers):
    body = (
        f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode() + content
    body += b"\r\n--edge--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    return ask(server, "POST", "/gradio_api/upload", body, **kind, **headers)


def join(server, data, **fields):
    """Returns the answer to an event of the page."""
    request = {"data": data, "fn_index": 0, "session_hash": "x"} | fields
    kind = {"Content-Type": "application/json"}
    return ask(server, "POST", "/gradio_api/queue/join", json.dumps(request), **kind)


def raw(server, request):
    """Returns the first line of the answer to bytes that are not a valid request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request.replace(b"HOST", b"Host: 127.0.0.1:%d" % server.port))
        return connection.recv(1 << 16).partition(b"\r\n")[0]


# Without a server


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(_serve, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs gradio; .*ddspx\[app\]"):
        serve()


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_invalid_port_is_refused(port, monkeypatch, capsys):
    monkeypatch.setattr(_serve, "find_spec", lambda name: True)
    assert main(["app", "--port", str(port)]) == 2
    assert "`port` must be from 0 to 65535" in capsys.readouterr().err


def test_the_port_of_another_program_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(_serve, "find_spec", lambda name: True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"`port` {port} cannot be used" in said and "choose another" in said


def test_the_environment_is_restored(monkeypatch):
    import os
    import tempfile

    monkeypatch.setenv("GRADIO_TEMP_DIR", "mine")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    before, usual = dict(os.environ), tempfile.tempdir
    with _serve._temporary_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert "GRADIO_SHARE" not in os.environ
        assert tempfile.gettempdir() == str(folder)
        (folder / "a.wav").touch()
    assert not folder.exists()
    assert dict(os.environ) == before and tempfile.tempdir == usual


# With one


@pytest.mark.slow
def test_the_page_loads_nothing_from_other_hosts(server):
    status, page = ask(server, "GET", "/")
    assert status == 200 and b"ddspx" in page
    # Not all that these do is a request that a browser shows: some only connect.
    assert re.findall(rb"<(?:link|script|img|iframe)\b[^>]*https?://[^>]*>", page) == []
    config = json.loads(ask(server, "GET", "/config")[1])
    assert not config.get("stylesheets") and not config["analytics_enabled"]
    assert b"googleapis" not in ask(server, "GET", "/theme.css")[1]
    assert not config.get("share_url") and "elsewhere" not in config["root"]


@pytest.mark.slow
def test_the_server_is_for_this_machine_alone(server):
    """Another address of the same machine is as far away as any."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


@pytest.mark.slow
def test_files_outside_the_folder_are_not_served(server):
    (server.temporary.parent / "secret.txt").write_text("root:secret")
    up = "/".join([".."] * 12)
    for start in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "assets/", "svelte/"):
        for name in (
            "/etc/passwd",
            f"{up}/etc/passwd",
            f"{server.temporary}/../secret.txt",
            f"{server.temporary}/%2e%2e/secret.txt",
            f"{up.replace('/', '%2f')}%2fetc%2fpasswd",
            "%252e%252e/%252e%252e/etc/passwd",
            "secret.txt",
            "http://127.0.0.1:1/",
        ):
            status, body = ask(server, "GET", f"/{start}{name}")
            assert status in (403, 404) and b"root:" not in body, f"{start}{name}"
    assert ask(server, "GET", "/gradio_api/proxy=http://127.0.0.1:1/")[0] == 403


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/etc/passwd", "http://example.org/a.wav"])
def test_a_file_outside_the_folder_is_not_accepted_as_an_upload(server, name):
    file = {"path": name, "meta": {"_type": "gradio.FileData"}}
    for number in range(10):
        assert join(server, [file], fn_index=number)[0] == 403


@pytest.mark.slow
def test_other_pages_are_refused(server):
    assert upload(server, b"sound", Origin="http://example.org")[0] == 403
    assert ask(server, "GET", "/", Host="example.org")[0] == 403


@pytest.mark.slow
def test_an_upload_is_written_into_the_folder_and_limited_in_size(server, tmp_path):
    io.write_audio(tmp_path / "a.wav", tone(0.2), sample_rate=SAMPLE_RATE)
    status, body = upload(server, (tmp_path / "a.wav").read_bytes(), name="../../../mine.wav")
    (path,) = json.loads(body)
    assert status == 200 and path.startswith(str(server.temporary.resolve()))
    assert ask(server, "GET", f"/gradio_api/file={path}")[0] == 200
    before = server.files()
    status, said = upload(server, bytes(101 << 20))
    assert status == 413 and b"maximum allowed size" in said
    assert server.files() == before, "what was too large was kept"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        *("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/monitoring", "/runs"),
        *("/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/app_id", "/gradio_api/user"),
        *(
            "/%ff",
            "/%",
            "/%00",
            "/static/" + "a" * 3000,
            "/gradio_api/heartbeat/%ff",
        ),
    ],
)
def test_only_the_page_is_served(server, path):
    for method in ("GET", "HEAD", "POST", "BREW"):
        assert ask(server, method, path)[0] == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHOST\r\n\r\n",
        b"GET / HTTP/1.1\r\nHOST\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHOST\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHOST\r\nContent-Length: -1\r\n\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids="tls no-host 0.9 latin huge nul negative chunk http2".split(),
)
def test_invalid_requests_are_refused(server, request_):
    assert re.match(rb"HTTP/1.1 4\d\d ", raw(server, request_))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rest"),
    [
        (b"multipart/form-data", b"x"),
        (b"multipart/form-data; boundary=" + b"a" * 5000, b"x"),
        (b"multipart/form-data; boundary=b", b"--a\r\n\r\nx\r\n--a--"),
        (b"multipart/form-data; boundary=a", b"--a\r\n\xff\xff\r\n\r\nx\r\n--a--"),
        (
            b"multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--a--\r\n',
        ),
        (
            b"multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; filename=".."; name="files"\r\n\r\n\r\n--a--',
        ),
        (b"application/json", b"{}"),
        (b"text/plain", b"x"),
    ],
    ids="no-boundary long other header no-name up json text".split(),
)
def test_invalid_uploads_are_refused(server, name, rest):
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHOST\r\nContent-Type: " + name
    size = b"\r\nContent-Length: %d\r\n\r\n" % len(rest)
    assert re.match(rb"HTTP/1.1 4\d\d ", raw(server, head + size + rest))


@pytest.mark.slow
def test_every_event_is_answered_or_refused(server):
    """Sends values of every kind for every event: each is refused, or answered by a sentence."""
    known = 0
    for number in range(40):
        for data in ([], [None], ["x"], [None] * 15, [None, "x", *["x"] * 13], [1e308] * 15):
            status, _ = join(server, data, fn_index=number)
            assert status in (200, 403)
            known += status == 200
    assert known > 20


@pytest.mark.slow
def test_no_request_of_these_tests_printed_a_stack_trace(server):
    """After all of the above."""
    said = (server.noted.parent / "stderr.txt").read_text()
    assert "Traceback" not in said and "Error:" not in said
    assert said.isascii() and "\x1b" not in said


@pytest.mark.slow
def test_no_request_of_these_tests_left_the_machine(server):
    """After all of the above."""
    assert server.noted.read_text() == ""


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_folder_is_deleted_with_the_server(ending, status, tmp_path):
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    with served(tmp_path) as server:
        assert upload(server, b"sound")[0] == 200
        assert server.files() == ["a.wav"]
        # A page that is open holds a connection, and is no error.
        head = b"GET /gradio_api/heartbeat/abc HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as page:
            page.sendall(head)
            assert page.recv(1 << 16).startswith(b"HTTP/1.1 200")
            server.process.send_signal(ending)
            assert server.process.wait(timeout=30) == status
    assert not any(server.temporary.iterdir())
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


@pytest.mark.slow
def test_an_invalid_model_is_refused_before_the_server_starts(tmp_path):
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    run = subprocess.run(
        [sys.executable, "-m", "ddspx.cli", "app", "kazoo", "--port", "0"],
        capture_output=True,
        text=True,
        env=OPEN | {"PATH": "", "PYTHONPATH": str(Path(ddspx.__file__).parents[1])},
    )
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("ddspx app: There is no model folder or instrument 'kazoo'")
    assert len(run.stderr.splitlines()) == 1
