"""Long recordings: complete, in constant memory, without delay for short ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from asr_client import Client, DeadlineExceeded
from tests.support import recordings
from tests.support.backend.cutting import cut_into_windows
from tests.support.server import metrics_page
from tests.support.server.long_recordings import long_recording
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

MIB = 2**20


@contextmanager
def peak_anonymous_memory(processes: list[psutil.Process]) -> Iterator[list[int]]:
    """The highest anonymous memory of any of the processes while the block runs, in bytes."""
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], *(anonymous_bytes(process) for process in processes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def anonymous_bytes(process: psutil.Process) -> int:
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def windows_of(utterances: Sequence[npt.NDArray[np.int16]]) -> list[npt.NDArray[np.float32]]:
    """The windows of a file of these utterances, cut in the silence after each."""
    samples = np.concatenate(utterances).astype(np.float32) / 32768
    return [window.samples for window in cut_into_windows([samples])]


def in_work(server: LocalServer) -> int:
    """Large recordings in flight: each is an unnamed file that its front has mapped."""
    maps = [Path(f"/proc/{front.pid}/maps") for front in server.stubs("transcribe")]
    return sum(page.read_text(encoding="utf-8").count("(deleted)") for page in maps)


def letters(*texts: str) -> str:
    return "".join(texts).replace(" ", "")


def test_ten_minutes_have_their_utterances_in_order_and_in_flat_memory(
    client: Client, server: LocalServer
):
    short, _ = long_recording(60)
    audio, utterances = long_recording(600)
    fronts = server.stubs("transcribe")
    with peak_anonymous_memory(fronts) as minute:
        for _ in fronts:
            client.transcribe(short)
    with peak_anonymous_memory(fronts) as ten_minutes:
        transcript = client.transcribe(audio)
    # A window alone gives the same result as within the file, so only the spaces at the cuts may
    # differ. An utterance alone is normalised differently than in its window: its words may differ.
    parts = [np.round(32768 * part).astype(np.int16) for part in windows_of(utterances)]
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(lambda clip: client.transcribe(recordings.wav(clip)).text, parts))
    assert len(parts) > 30
    assert letters(transcript.text) == letters(*alone)
    starts = [word.start_s for word in transcript.words]
    assert starts == sorted(starts)
    assert len(transcript.text.split()) == len(transcript.words)
    # Nine minutes more are 35 MiB as samples and 18 MiB as emissions, and neither is kept.
    assert ten_minutes[0] - minute[0] < 24 * MIB + 2 * len(audio)


def test_long_files_on_every_front_do_not_keep_a_clip_waiting(client: Client, server: LocalServer):
    audio, _ = long_recording(500)
    clip = recordings.wav(recordings.pcm("cards-004-five-five.wav"))
    alone = client.transcribe(clip).text
    count = 2 * len(server.stubs("transcribe"))
    idle = in_work(server)
    with ThreadPoolExecutor(count) as pool:
        files = [pool.submit(client.transcribe, audio) for _ in range(count)]
        deadline = time.monotonic() + 60
        while in_work(server) < idle + count:
            assert time.monotonic() < deadline, "large recordings do not lie in files"
            time.sleep(0.05)
        texts = [client.transcribe(clip).text for _ in range(5)]
        unfinished = [file for file in files if not file.done()]
        results = [file.result() for file in files]
    assert texts == [alone] * 5
    assert len(unfinished) == count
    assert len({result.text for result in results}) == 1
    deadline = time.monotonic() + 10
    while in_work(server) > idle:
        assert time.monotonic() < deadline, "a file outlived its recording"
        time.sleep(0.05)


def test_work_stops_when_nobody_waits_for_it(client: Client, server: LocalServer):
    audio, _ = long_recording(900)
    before = server.metrics()
    with pytest.raises(DeadlineExceeded):
        client.transcribe(audio, timeout_s=1.0)
    deadline = time.monotonic() + 60

    def grown(name: str) -> float:
        return metrics_page.value(server.metrics(), name) - metrics_page.value(before, name)

    while grown("asr_cancelled_total") == 0:
        assert time.monotonic() < deadline, "the server never noticed"
        time.sleep(0.1)
    assert grown("asr_audio_seconds_total") < 800
