"""What callers see when processes die, and when the server stops."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from asr_client import AsrError, Client, RetryPolicy, Transcript
from tests.support import recordings
from tests.support.server import metrics_page
from tests.support.server.long_recordings import long_recording
from tools.local_server import LocalServer, local_server

pytestmark = pytest.mark.server

CLIP = recordings.wav(recordings.pcm("go-forward-ten-meters.wav"))
NO_RETRY = RetryPolicy(max_attempts=1)


@pytest.fixture
def server_log(tmp_path: Path) -> Iterator[Path]:
    """The server's log; printed when the test ends."""
    path = tmp_path / "server.log"
    yield path
    sys.stderr.write(path.read_text(encoding="utf-8", errors="replace"))


@pytest.fixture
def fragile_server(server_log: Path) -> Iterator[LocalServer]:
    """A server of the test's own, which it may break."""
    with server_log.open("wb") as log, local_server("--frontends=2", log=log) as server:
        yield server


@pytest.fixture
def client(fragile_server: LocalServer) -> Iterator[Client]:
    with Client(fragile_server.url, timeout_s=200, retry=NO_RETRY) as client:
        yield client


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.05)


def forwards(server: LocalServer) -> float:
    return metrics_page.value(server.metrics(), "asr_forward_windows_count")


def heard_s(server: LocalServer) -> float:
    return metrics_page.value(server.metrics(), "asr_audio_seconds_total")


def test_a_dead_acoustic_model_costs_latency_and_no_work(
    fragile_server: LocalServer, client: Client
):
    lecture_audio, _ = long_recording(2400)
    audio, _ = long_recording(200)
    whole = client.transcribe(audio).text
    clip = client.transcribe(CLIP).text
    (stub,) = fragile_server.stubs("wav2vec2")
    before_s = heard_s(fragile_server)
    with ThreadPoolExecutor(9) as pool:
        lecture = pool.submit(client.transcribe, lecture_audio)
        wait_until(lambda: heard_s(fragile_server) > before_s + 1200, "half of the lecture")
        before = forwards(fragile_server)
        long = pool.submit(client.transcribe, audio)
        wait_until(lambda: forwards(fragile_server) > before + 2, "more windows")
        stub.kill()
        short = [pool.submit(client.transcribe, CLIP) for _ in range(7)]
        wait_until(lambda: fragile_server.health()[0] != 200, "not ready")
        status = asr_status(fragile_server)
        assert status.returncode != 0
        assert "healing" in status.stdout
        assert [one.result().text for one in short] == [clip] * 7
        assert long.result().text == whole
        words = lecture.result().words
    # No window of the lecture is missing, each of which has at least 10 s...
    times_s = [0.0, *(word.start_s for word in words), lecture.result().duration_s]
    assert max(later - earlier for earlier, later in itertools.pairwise(times_s)) < 10
    # ...and only the few that were in flight were computed twice.
    assert heard_s(fragile_server) - before_s < 1.1 * (2400 + 200)
    wait_until(lambda: fragile_server.health()[0] == 200, "ready again")
    assert asr_status(fragile_server).returncode == 0
    (fresh,) = fragile_server.stubs("wav2vec2")
    assert fresh.pid != stub.pid


def asr_status(server: LocalServer) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("asr")),
            "status",
            f"--url={server.url}",
            f"--health-url=http://127.0.0.1:{server.health_port}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_dead_front_fails_its_own_calls_only(fragile_server: LocalServer, client: Client):
    clip = client.transcribe(CLIP).text
    victim, survivor = fragile_server.stubs("transcribe")
    victim.kill()
    outcomes: list[str] = []
    wait_until(lambda: fragile_server.health()[1].get("state") == "healing", "healing")
    # The living front keeps its traffic.
    assert fragile_server.health()[0] == 200
    while fragile_server.health()[1].get("state") != "ready":
        try:
            outcomes.append(client.transcribe(CLIP, timeout_s=20).text)
        except AsrError as error:
            assert "not healthy" in error.server_message
            outcomes.append("failed")
    # The living front answers all that reaches it.
    assert set(outcomes) - {"failed"} == {clip}
    # Healed: every call is answered, as many as there are fronts and more.
    assert [client.transcribe(CLIP).text for _ in range(8)] == [clip] * 8
    fresh = {stub.pid for stub in fragile_server.stubs("transcribe")}
    assert victim.pid not in fresh
    assert len(fresh - {survivor.pid}) == 2
    # The surviving old front is idle, and does not delay a stop.
    assert fragile_server.stop() == 0


def test_the_sdk_s_retries_hide_a_dead_front(fragile_server: LocalServer):
    with Client(fragile_server.url, timeout_s=200) as client, ThreadPoolExecutor(4) as pool:
        clip = client.transcribe(CLIP).text
        fragile_server.stubs("transcribe")[0].kill()
        texts = [one.text for one in pool.map(client.transcribe, [CLIP] * 16)]
    assert texts == [clip] * 16


def test_a_stop_lets_files_in_work_finish_and_turns_new_ones_away(
    fragile_server: LocalServer, client: Client
):
    audio, _ = long_recording(240)
    whole = client.transcribe(audio).text
    before = forwards(fragile_server)
    with ThreadPoolExecutor(4) as pool:
        files = [pool.submit(client.transcribe, audio) for _ in range(3)]
        wait_until(lambda: forwards(fragile_server) > before + 2, "the files' first windows")
        fragile_server.process.terminate()
        wait_until(lambda: _is_turned_away(client), "new calls turned away")
        assert not all(file.done() for file in files)
        assert fragile_server.health()[1]["state"] == "draining"
        assert [_text(file) for file in files] == [whole] * 3
    assert fragile_server.process.wait(60) == 0
    assert not list(Path("/dev/shm").glob(f"*{fragile_server.process.pid}*"))


def _is_turned_away(client: Client) -> bool:
    try:
        client.transcribe(CLIP)
    except AsrError as error:
        assert type(error).__name__ == "ServerDraining", error
        return True
    return False


def _text(file: Future[Transcript]) -> str:
    return file.result().text
