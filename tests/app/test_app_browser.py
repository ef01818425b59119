"""The page as somebody uses it: in headless Chromium, with a real recording."""

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from app_server import served
from bad_recordings import write_text
from conftest import SHARED_DATA
from toy_instrument import save_toy_instrument

from ddspx import io
from ddspx.app._controls import CONTROLS
from ddspx.features import track_pitch
from ddspx.instruments import pack_instrument, timbre_names

pytestmark = pytest.mark.slow

MELODY = Path(__file__).parents[2] / "examples" / "melody" / "melody.flac"
SAX = SHARED_DATA / "sources" / "sms_sax-phrase.flac"
RECORDING = SAX if SAX.is_file() else MELODY

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The microphone is a file.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
# The first transfer compiles.
PATIENCE_MS = 180_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright (the extra dev) is not installed"
    )
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no chromium; on Debian `apt-get install chromium` brings it")
    heard = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    soundfile.write(heard, io.read_audio(MELODY, sample_rate=48_000), 48_000, "PCM_16")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            args=[*ARGUMENTS, f"--use-file-for-fake-audio-capture={heard}"],
            viewport={"width": 1280, "height": 900},
        )
        yield context
        context.close()


@pytest.fixture
def page(browser, server):
    """The page, freshly opened; in the end, whether it asked anybody else for anything."""
    opened, asked, broken = browser.new_page(), [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.goto(server.address)
    opened.wait_for_selector("#play")
    yield opened
    opened.close()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("blob:", "data:"))}
    assert hosts == {f"127.0.0.1:{server.port}"}
    assert broken == []
    assert server.noted.read_text() == "", "the server spoke to somebody else"


def upload(page, path):
    page.set_input_files("#recording input[type=file]", path)
    page.wait_for_selector("#recording #waveform, #recording audio", state="attached")


def unfold(page):
    """Opens the controls."""
    page.click("#controls > .label-wrap")
    page.wait_for_selector("#control-adjust", state="visible")


def buttons(page):
    """Which of Play and Stop can be pressed."""
    return page.is_enabled("#play"), page.is_enabled("#stop")


def played(page, tmp_path):
    """Presses the button, waits, and saves what the page offers for download."""
    pictures = page.locator("#report img")
    before = pictures.get_attribute("src") if pictures.count() else ""
    page.click("#play")
    # The old report stays until the new one is there; its picture is then another one.
    page.wait_for_function(
        "before => document.querySelector('#message [role=alert]') ||"
        " (document.querySelector('#report img')?.src ?? before) !== before",
        arg=before,
        timeout=PATIENCE_MS,
    )
    assert page.locator("#message [role=alert]").all_inner_texts() == []
    page.wait_for_selector("#result a[download], #result [aria-label=Download]")
    with page.expect_download() as waiting:
        page.click("#result a[download], #result [aria-label=Download]")
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def set_control(page, field, value):
    number = page.locator(f"#control-{field} input[type=number]")
    number.fill(str(value))
    number.press("Tab")


def pitch_of(path):
    """Pitch in MIDI, NaN where there is none."""
    audio = io.read_audio(path, sample_rate=16_000)
    f0_hz, confidence = track_pitch(audio, sample_rate=16_000, hop_length=160)
    return np.where(confidence > 0.5, 69 + 12 * np.log2(f0_hz / 440), np.nan)


def test_a_recording_is_played_with_the_settings_of_the_controls(page, server, tmp_path):
    unfold(page)
    for control in CONTROLS:
        assert page.is_visible(f"#control-{control.field}"), control.field
    upload(page, RECORDING)
    page.click("#instrument input")
    page.get_by_role("option", name="Violin").click()
    assert "John Garner" in page.inner_text("#story")

    first = played(page, tmp_path)
    assert first.name == f"{RECORDING.stem} on violin.wav"
    audio, sample_rate = soundfile.read(first)
    original = io.read_audio(RECORDING, sample_rate=sample_rate)
    assert audio.size == original.size
    assert 0.05 < np.abs(audio).max() < 1
    heard, came_back = pitch_of(RECORDING), pitch_of(first)
    octaves = np.nanmedian(came_back - heard) / 12
    assert abs(octaves - round(octaves)) < 0.02
    away = np.abs(came_back - heard - 12 * round(octaves))
    assert np.nanmedian(away) < 0.3 and np.mean(np.isfinite(away)) > 0.5
    # It is not the recording itself.
    assert np.corrcoef(audio, original)[0, 1] < 0.9
    report = page.inner_text("#report")
    assert "Report" in report and "In tune" in report and "nan" not in report
    assert page.locator("#report img").evaluate("image => image.naturalWidth") > 1000
    assert server.files() == sorted([RECORDING.name, first.name])

    # A half-typed number must not show an error.
    set_control(page, "pitch_shift", 99)
    set_control(page, "pitch_shift", 1)
    page.wait_for_selector("#mark .remark")
    assert "This was made before your last change." in page.inner_text("#mark")
    second = played(page, tmp_path)
    page.wait_for_selector("#mark .remark", state="hidden")
    assert np.nanmedian(pitch_of(second) - came_back) == pytest.approx(12, abs=0.5)
    assert server.files() == sorted([RECORDING.name, second.name]), "the first result was kept"

    page.reload()
    page.wait_for_selector("#play")
    page.wait_for_timeout(2000)
    assert server.files() == [], "the page is closed, and its files are still there"


def test_the_example_shows_its_progress(page):
    page.click("#example")
    page.wait_for_selector("#recording #waveform")
    # gradio shows its progress over the result for as long as there is some.
    page.evaluate(
        "window.said = '';"
        " new MutationObserver(() => { said += document.querySelector('#result').innerText })"
        ".observe(document.querySelector('#result'),"
        " { subtree: true, childList: true, characterData: true })"
    )
    page.click("#play")
    page.wait_for_selector("#report img, #message [role=alert]", timeout=PATIENCE_MS)
    said = page.evaluate("said")
    assert re.search(r"(Listening|Tuning|Playing|Drawing)[^-]* - \d+(\.\d+)?%", said), said


def test_the_sound_appears_before_the_report_and_stop_ends_the_work(page, server):
    assert buttons(page) == (True, False)
    upload(page, RECORDING)
    page.click("#play")
    page.wait_for_selector(
        "#result a[download], #result [aria-label=Download]", timeout=PATIENCE_MS
    )
    assert page.locator("#report img").count() == 0, "the report was there as early"
    page.wait_for_selector("#report img", timeout=PATIENCE_MS)
    page.wait_for_selector("#stop:disabled")
    assert buttons(page) == (True, False)
    there = server.files()

    page.click("#play")
    page.wait_for_selector("#stop:enabled")
    assert buttons(page) == (False, True)
    page.click("#stop")
    page.wait_for_selector("#message .remark")
    assert page.inner_text("#message") == "Stopped."
    page.wait_for_selector("#play:enabled")
    page.wait_for_selector("#stop:disabled")
    # The work on the host has stopped too, and the previous result is still there.
    page.wait_for_timeout(1500)
    assert server.files() == there
    assert page.locator("#result a[download], #result [aria-label=Download]").count() > 0


def test_an_uploaded_instrument_is_played(page, tmp_path, server):
    write_text(tmp_path / "text.zip")
    page.set_input_files("input[type=file][accept*=zip]", tmp_path / "text.zip")
    page.wait_for_selector("#message [role=alert]")
    assert page.inner_text("#message").startswith("text.zip is not a readable zip archive")
    model = save_toy_instrument(tmp_path / "toy")
    page.set_input_files(
        "input[type=file][accept*=zip]", pack_instrument(model, tmp_path / "harp.zip")
    )
    page.wait_for_function(
        "document.querySelector('#instrument input').value === 'Harp (yours)'", timeout=PATIENCE_MS
    )
    assert page.inner_text("#message").strip() == ""
    page.wait_for_function("document.querySelector('#story').innerText.includes('trained on')")
    page.click("#example")
    page.wait_for_selector("#recording #waveform")
    path = played(page, tmp_path)
    assert path.name == "example on harp.wav" and soundfile.info(path).duration > 5


def test_a_sound_of_ones_own_is_an_instrument(page, server):
    if not timbre_names():
        pytest.skip("the model of any instrument is not in this copy of ddspx")
    page.click("#own-sound > .label-wrap")
    page.set_input_files("#sound input[type=file]", MELODY)
    page.wait_for_function(
        "document.querySelector('#instrument input').value === 'Melody (your sound)'",
        timeout=PATIENCE_MS,
    )
    page.wait_for_function("document.querySelector('#story').innerText.includes('as heard in')")
    assert page.inner_text("#message").strip() == ""
    assert "weights.safetensors" in server.files()
    page.locator("#sound").get_by_role("button", name="Clear").first.click()
    page.wait_for_function(
        "!document.querySelector('#instrument input').value.includes('your sound')"
    )
    assert "weights.safetensors" not in server.files()


def test_a_sung_note_is_recorded(page, tmp_path):
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(4000)
    page.get_by_role("button", name="Stop").first.click()
    page.wait_for_timeout(1500)
    path = played(page, tmp_path)
    assert 3 < soundfile.info(path).duration < 6
    assert np.mean(np.isfinite(pitch_of(path))) > 0.5


def test_a_file_without_sound_gives_an_error_sentence(page, tmp_path, server):
    write_text(tmp_path / "text.wav")
    upload(page, tmp_path / "text.wav")
    page.wait_for_selector("#message [role=alert]")
    said = page.inner_text("#message")
    assert said.startswith("text.wav cannot be read as audio") and said.endswith(".")
    page.click("#play")
    page.wait_for_timeout(1000)
    page.wait_for_selector("#message [role=alert]")
    assert "Traceback" not in page.inner_text("body") and "Error" not in page.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_fits_the_window(page, width, scheme):
    """All components fit the window: in two columns if it is wide enough, otherwise in one."""
    unfold(page)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    left, right = page.locator("#recording").bounding_box(), page.locator("#result").bounding_box()
    assert (left["x"] + left["width"] <= right["x"]) == (width > 1000)
    for control in CONTROLS:
        box = page.locator(f"#control-{control.field}").bounding_box()
        assert 150 < box["width"] and box["x"] + box["width"] <= width


def test_a_phone_shows_play_without_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    box = page.locator("#play").bounding_box()
    assert box["y"] + box["height"] < 844
    for control in CONTROLS:
        assert not page.is_visible(f"#control-{control.field}")
