"""The page in Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_client.testing import FakeServer, Fault
from asr_gateway.openai import formats
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running, uploads
from tests.support.recordings import FOLDER

pytestmark = pytest.mark.conformance

ONE = FOLDER / "go-forward-ten-meters.wav"
TWO = FOLDER / "cards-001-ten-of-clubs.wav"
CONFIDENCES = (0.98, 0.82, 0.63, 0.31)
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.fixture
def varied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake server's confidences are all 1: here they take turns."""
    plain = formats.verbose

    def verbose(*arguments: Any) -> dict[str, Any]:
        body = plain(*arguments)
        for number, word in enumerate(body["words"]):
            word["confidence"] = CONFIDENCES[number % len(CONFIDENCES)]
        return body

    monkeypatch.setattr(formats, "verbose", verbose)


def choose(page: Any, *files: Path) -> None:
    page.set_input_files("#files", [str(file) for file in files])


def transcribed(page: Any, *files: Path) -> Any:
    """Open the page and transcribe; the cards, newest first."""
    page.goto("/")
    choose(page, *files)
    page.locator(".card audio").nth(len(files) - 1).wait_for()
    return page.locator(".card")


def words_of(card: Any) -> list[str]:
    return card.locator(".transcript .word").all_text_contents()


def test_words_appear_by_confidence_and_a_click_plays_from_there(
    page: Any, fake: FakeServer, varied: None
):
    fake.text = "one two three four"
    card = transcribed(page, ONE).first
    assert words_of(card) == ["one", "two", "three", "four"]
    classes = [word.get_attribute("class") for word in card.locator(".transcript .word").all()]
    assert classes == ["word c3", "word c2", "word c1", "word c0"]
    word = card.get_by_role("button", name="three", exact=True)
    start_s = float(word.get_attribute("title").split()[0])
    assert "63 % confidence" in word.get_attribute("title")
    assert start_s > 0.5
    word.click()
    # Played in real time: the marks reach the word itself, then the next.
    card.locator(".word.now", has_text="three").wait_for()
    card.locator(".word.now", has_text="four").wait_for()
    assert card.locator("audio").evaluate("audio => audio.currentTime") >= start_s


def test_dropped_files_are_transcribed(page: Any, fake: FakeServer):
    page.goto("/")
    transfer = page.evaluate_handle(
        """([name, data]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [ONE.name, base64.b64encode(ONE.read_bytes()).decode()],
    )
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer})
    assert page.locator("body.dragging").count() == 1
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    page.locator(".card audio").wait_for()
    assert page.locator("body.dragging").count() == 0
    assert uploads(fake)[-1].audio == ONE.read_bytes()
    assert page.get_by_role("status").text_content() == f"{ONE.name} is transcribed: 3 words."


def test_the_keyboard_alone(page: Any):
    card = transcribed(page, ONE).first
    page.locator("h1").click()
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.id"))
        if page.evaluate("() => document.activeElement.classList.contains('word')"):
            break
    assert [each for each in seen if each][:4] == ["files", "language", "keywords", "view"]
    for key, word in (
        ("ArrowRight", "of"),
        ("End", "clubs"),
        ("ArrowLeft", "of"),
        ("Home", "seven"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("() => document.activeElement.textContent") == word
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    card.locator(".word.now", has_text="of").wait_for()
    # The words are one stop: the next is the first download.
    page.keyboard.press("Tab")
    label = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert label == f"Download {ONE.name} as txt"


def test_the_options_reach_the_server(page: Any, fake: FakeServer):
    page.goto("/")
    page.get_by_label("Keywords").fill("clubs, ten of hearts ,")
    choose(page, ONE)
    page.locator(".card audio").wait_for()
    options = json.loads(uploads(fake)[-1].options)
    assert options["hotwords"] == ["clubs", "ten of hearts"]
    page.get_by_label("Language").fill("xx")
    choose(page, ONE)
    page.get_by_text("The language 'xx' is no code of ISO 639-1.").first.wait_for()


def test_a_failure_is_shown_and_can_be_tried_again(page: Any, fake: FakeServer):
    page.goto("/")
    fake.fail(Fault.CORRUPT_AUDIO)
    choose(page, ONE)
    failed = page.locator(".card .error")
    failed.wait_for()
    assert "audio" in failed.text_content().lower()
    assert ONE.name in page.get_by_role("status").text_content()
    page.get_by_role("button", name="Try again").click()
    page.locator(".card audio").wait_for()


def test_a_file_that_is_too_large(chromium: Any, fake: FakeServer, tmp_path: Path):
    large = tmp_path / "large.wav"
    large.write_bytes(ONE.read_bytes() + bytes(60_000_000))
    with running(fake.url, max_upload_bytes=100_000) as gateway:
        context = chromium.new_context(base_url=gateway.url)
        page = context.new_page()
        page.goto("/")
        choose(page, large)
        page.locator(".card .error", has_text="too large").wait_for()
        context.close()


def test_removing_a_card_stops_its_recognition(page: Any, fake: FakeServer):
    page.goto("/")
    page.locator("#service", has_text="Model fake").wait_for()
    fake.hung = True
    choose(page, ONE)
    wait_until(lambda: bool(uploads(fake)))
    page.get_by_role("button", name=f"Remove {ONE.name}").click()
    wait_until(lambda: uploads(fake)[-1].ended_early.is_set())
    fake.hung = False
    assert page.locator(".card").count() == 0


TEXTS = [
    "one",
    "a b c d e f g " * 40,
    "Übermut & <b>fett</b> " * 12,
    "w" * 120 + " short " + "漢字 " * 50,
]


@pytest.mark.parametrize("text", TEXTS, ids=["short", "long", "markup", "wide"])
def test_downloads_are_the_gateways_own_formats(
    page: Any, gateway: RunningGateway, fake: FakeServer, text: str
):
    fake.text = text.strip()
    card = transcribed(page, ONE).first
    for format, suffix in (("text", "txt"), ("srt", "srt"), ("vtt", "vtt")):
        with page.expect_download() as started:
            card.get_by_role("button", name=f"Download {ONE.name} as {suffix}").click()
        assert started.value.suggested_filename == f"{ONE.stem}.{suffix}"
        saved = Path(started.value.path()).read_bytes().decode()
        answer = gateway.http.post(
            "/v1/audio/transcriptions",
            files={"file": ONE.read_bytes()},
            data={"model": "whisper-1", "response_format": format},
        )
        assert saved == answer.text
    with page.expect_download() as started:
        card.get_by_role("button", name=f"Download {ONE.name} as json").click()
    saved = json.loads(Path(started.value.path()).read_bytes())
    assert saved["text"] == fake.text
    assert [word["word"] for word in saved["words"]] == fake.text.split()


def test_how_transcripts_are_shown(page: Any, varied: None):
    cards = transcribed(page, ONE, TWO)
    page.get_by_label("Show as").select_option("srt")
    for card in cards.all():
        card.locator("pre", has_text="1\n00:00:00,000 --> ").wait_for()
        assert not card.locator(".transcript").is_visible()
    page.get_by_label("Show as").select_option("words")
    assert cards.first.locator(".transcript").is_visible()
    assert not cards.first.locator("pre").is_visible()


def test_a_name_with_markup_is_text(page: Any, tmp_path: Path):
    file = tmp_path / "<img src=x onerror=alert(1)>.wav"
    file.write_bytes(ONE.read_bytes())
    card = transcribed(page, file).first
    assert card.locator("h3").text_content() == file.name
    assert page.locator("img").count() == 0


# ---- Keys ----------------------------------------------------------------------------------------


@pytest.fixture
def keyed(fake: FakeServer, tmp_path: Path) -> Iterator[RunningGateway]:
    file = tmp_path / "keys.json"
    digest = hashlib.sha256(b"right").hexdigest()
    file.write_text(json.dumps({"keys": [{"name": "alice", "sha256": digest}]}))
    file.chmod(0o600)
    with running(fake.url, keys=str(file)) as started:
        yield started


def test_the_key_is_asked_for_and_kept_in_the_tab_alone(chromium: Any, keyed: RunningGateway):
    context = chromium.new_context(base_url=keyed.url)
    page = context.new_page()
    page.goto("/")
    field = page.get_by_label("API key")
    field.wait_for()
    assert page.evaluate("() => document.activeElement.id") == "key"
    field.fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    page.locator("#key-why", has_text="wrong or has expired").wait_for()
    field.fill("right")
    field.press("Enter")
    page.locator("#service", has_text="Model fake").wait_for()
    assert not field.is_visible()
    choose(page, ONE)
    page.locator(".card audio").wait_for()
    kept = "() => [Object.values(sessionStorage), localStorage.length, document.cookie]"
    assert page.evaluate(kept) == [["right"], 0, ""]
    assert "right" not in page.url
    other = context.new_page()
    other.goto("/")
    other.get_by_label("API key").wait_for()
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_label("API key").wait_for()
    assert page.evaluate(kept) == [[], 0, ""]
    context.close()


# ---- Jobs ----------------------------------------------------------------------------------------


class Jobs:
    """The endpoints of /v1/jobs in front of the gateway, as the design has them."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.posted: list[str] = []
        self.with_words = True

    def add(self, status: str, **more: Any) -> dict[str, Any]:
        job = {
            "id": f"job_{len(self.jobs)}",
            "status": status,
            "created_at": 1796036112.4,
            "started_at": None,
            "ended_at": None,
            "audio_s": None,
            "progress_s": 0.0,
            "position": None,
            "error": None,
            "webhook": None,
            **more,
        }
        self.jobs = {job["id"]: job, **self.jobs}
        return job

    def answer(self, route: Any) -> None:
        request = route.request
        path = request.url.partition("/v1/jobs")[2].partition("?")[0]
        if request.method == "POST" and not path:
            self.posted.append(request.headers["content-type"])
            route.fulfill(status=202, json=self.add("queued", position=1))
        elif request.method == "POST" and path.endswith("/cancel"):
            job = self.jobs[path.split("/")[1]]
            job["status"] = "cancelled"
            route.fulfill(json=job)
        elif request.method == "DELETE":
            del self.jobs[path[1:]]
            route.fulfill(status=204)
        elif path.endswith("/result"):
            self._result(route, request.url.rpartition("format=")[2])
        else:
            self._list(route)

    def _result(self, route: Any, format: str) -> None:
        if format != "verbose_json":
            route.fulfill(body=f"the {format} of the gateway")
            return
        body: dict[str, Any] = {"text": "long", "duration": 1.0, "language": "english"}
        times = {"start": 0.1, "end": 0.4}
        body["segments"] = [{"text": "long", "avg_logprob": -0.5, **times}]
        if self.with_words:
            body["words"] = [{"word": "long", "confidence": 0.6, **times}]
        route.fulfill(json=body)

    def _list(self, route: Any) -> None:
        after = re.search(r"after=(\w+)", route.request.url)
        limit = int(re.search(r"limit=(\d+)", route.request.url)[1])  # type: ignore[index]
        ids = list(self.jobs)
        start = ids.index(after[1]) + 1 if after else 0
        data = [self.jobs[each] for each in ids[start : start + limit]]
        route.fulfill(json={"data": data, "has_more": start + limit < len(ids)})


@pytest.fixture
def jobs(page: Any) -> Jobs:
    made = Jobs()
    page.route(re.compile("/v1/jobs"), made.answer)
    return made


def test_without_jobs_nothing_is_shown_of_them(page: Any):
    page.route(re.compile("/v1/jobs"), lambda route: route.fulfill(status=404, json={}))
    transcribed(page, ONE)
    assert not page.locator("#jobs").is_visible()
    assert not page.get_by_label("Send as a job").is_visible()


def test_a_recording_as_a_job(page: Any, jobs: Jobs, fake: FakeServer):
    page.goto("/")
    page.get_by_label("Send as a job").check()
    choose(page, ONE)
    row = page.locator(".job")
    row.get_by_text("queued, place 1").wait_for()
    assert jobs.posted[0].startswith("multipart/form-data")
    assert uploads(fake) == []
    (job,) = jobs.jobs.values()
    job.update(status="running", audio_s=100.0, progress_s=25.0)
    bar = row.get_by_role("progressbar", name=f"Progress of {ONE.name}")
    bar.wait_for()
    assert bar.evaluate("bar => bar.value") == 0.25
    job.update(status="succeeded", progress_s=100.0)
    row.get_by_role("button", name=f"Show: {ONE.name}").click()
    card = page.locator(".card", has=page.locator("audio"))
    card.locator(".transcript .word.c1", has_text="long").click()
    assert page.get_by_role("status").text_content() == f"{ONE.name}: succeeded"


def test_jobs_are_cancelled_and_deleted(page: Any, jobs: Jobs):
    jobs.add("failed", error={"code": "corrupt_audio", "message": "The audio is corrupt."})
    jobs.add("queued", position=3)
    page.goto("/")
    queued = page.locator(".job", has_text="queued, place 3")
    queued.get_by_role("button", name="Cancel: job_1").click()
    page.locator(".job", has_text="cancelled").wait_for()
    assert page.get_by_role("button", name="Cancel: job_1").count() == 0
    page.get_by_text("The audio is corrupt.").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    for each in ("job_0", "job_1"):
        page.get_by_role("button", name=f"Delete: {each}").click()
        page.locator(".job", has_text=each).wait_for(state="detached")
    assert jobs.jobs == {}
    assert page.get_by_text("There are no jobs.").is_visible()


def test_a_job_of_another_day_cannot_be_played(page: Any, jobs: Jobs):
    jobs.add("succeeded", audio_s=1.0)
    page.goto("/")
    page.get_by_role("button", name="Show: job_0").click()
    page.locator(".transcript .word").click()
    page.get_by_text("This page does not have the recording").wait_for()


@pytest.mark.parametrize("with_words", [True, False], ids=["words", "segments"])
def test_a_jobs_formats_are_those_that_the_gateway_keeps(page: Any, jobs: Jobs, with_words: bool):
    jobs.with_words = with_words
    jobs.add("succeeded", audio_s=1.0)
    page.goto("/")
    page.get_by_role("button", name="Show: job_0").click()
    # Without words the segments stand in for them: exp(-0.5) is 61 %.
    page.locator(".transcript .word.c1", has_text="long").wait_for()
    page.get_by_label("Show as").select_option("srt")
    page.locator("pre", has_text="the srt of the gateway").wait_for()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download job_0 as txt").click()
    assert Path(started.value.path()).read_text() == "the text of the gateway"


def test_older_jobs(page: Any, jobs: Jobs):
    for _ in range(45):
        jobs.add("succeeded", audio_s=1.0)
    page.goto("/")
    for shown in (20, 40, 45):
        page.locator(".job").nth(shown - 1).wait_for()
        assert page.locator(".job").count() == shown
        if shown < 45:
            page.get_by_role("button", name="Older jobs").click()
    page.get_by_role("button", name="Older jobs").wait_for(state="hidden")


# ---- How it looks --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, jobs: Jobs, varied: None, scheme: str):
    from axe_playwright_python.sync_playwright import Axe

    jobs.add("running", audio_s=10.0, progress_s=2.0)
    jobs.add("failed", error={"code": "corrupt_audio", "message": "The audio is corrupt."})
    page.emulate_media(color_scheme=scheme)
    transcribed(page, ONE)
    choose(page, FOLDER / "transcripts.tsv")
    page.locator(".card .error").wait_for()
    page.locator(".job").nth(1).wait_for()
    found = Axe().run(page, options=WCAG)
    assert found.violations_count == 0, found.generate_report()
    assert {"color-contrast", "label"} <= {each["id"] for each in found.response["passes"]}


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(page: Any, fake: FakeServer, jobs: Jobs, width: int):
    fake.text = "seven " * 30 + "x" * 80
    jobs.add("queued", position=3)
    page.set_viewport_size({"width": width, "height": 700})
    transcribed(page, ONE)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.get_by_label("Show as").select_option("json")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_the_api_page_works_without_the_internet(page: Any):
    page.goto("/docs")
    page.locator("#operations-openai-list_models_v1_models_get").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table", has_text="whisper-1").wait_for()
