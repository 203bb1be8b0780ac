"""The server's side, read from a page of the real one's form."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from load_tests.report.metrics_page import MetricsPage
from load_tests.report.server_side import Watch

BEFORE = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_request_success{model="transcribe",version="1"} 10
nv_inference_request_success{model="wav2vec2",version="1"} 20
nv_inference_count{model="wav2vec2",version="1"} 20
nv_inference_exec_count{model="wav2vec2",version="1"} 20
nv_inference_queue_duration_us{model="wav2vec2",version="1"} 1000
nv_inference_compute_infer_duration_us{model="wav2vec2",version="1"} 9000
nv_inference_pending_request_count{model="transcribe",version="1"} 3
asr_windows_in_flight{front="a"} 2
asr_windows_in_flight{front="b"} 5
asr_audio_seconds_total 100
asr_padded_seconds_total 110
asr_errors_total{code="EMPTY_AUDIO"} 7
asr_forward_windows_bucket{le="1"} 20
asr_forward_windows_bucket{le="2"} 20
asr_forward_windows_bucket{le="+Inf"} 20
asr_forward_windows_sum 20
asr_forward_windows_count 20
"""
AFTER = """\
nv_inference_request_success{model="transcribe",version="1"} 16
nv_inference_request_success{model="wav2vec2",version="1"} 32
nv_inference_count{model="wav2vec2",version="1"} 32
nv_inference_exec_count{model="wav2vec2",version="1"} 24
nv_inference_queue_duration_us{model="wav2vec2",version="1"} 121000
nv_inference_compute_infer_duration_us{model="wav2vec2",version="1"} 609000
nv_inference_pending_request_count{model="transcribe",version="1"} 0
asr_windows_in_flight{front="a"} 1
asr_windows_in_flight{front="b"} 0
asr_audio_seconds_total 190
asr_padded_seconds_total 210
asr_errors_total{code="EMPTY_AUDIO"} 7
asr_errors_total{code="BAD_OPTIONS"} 2
asr_cancelled_total 4
asr_forward_windows_bucket{le="1"} 21
asr_forward_windows_bucket{le="2"} 24
asr_forward_windows_bucket{le="+Inf"} 25
asr_forward_windows_sum 32
asr_forward_windows_count 25
"""


class Page:
    """A metrics page that can be changed, and says how often it was fetched."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.fetched = threading.Semaphore(0)


@pytest.fixture
def page() -> Iterator[tuple[Page, str]]:
    shown = Page(BEFORE)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(shown.text.encode())
            shown.fetched.release()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield shown, f"http://127.0.0.1:{server.server_address[1]}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def test_figures_are_what_was_added_and_what_was_seen_meanwhile(page):
    shown, url = page
    watch = Watch(url, os.getpid())
    watch.start()
    for _ in range(3):
        assert shown.fetched.acquire(timeout=30), "no look during the run"
    shown.text = AFTER
    seen = watch.stop()
    assert (seen.transcribe.requests, seen.wav2vec2.requests) == (6, 12)
    assert seen.wav2vec2.executions == 4
    assert seen.wav2vec2.mean_batch == 3
    assert seen.wav2vec2.queue_s == pytest.approx(0.01)
    assert seen.wav2vec2.compute_s == pytest.approx(0.05)
    assert seen.forward_windows == {1: 1, 2: 3, float("inf"): 1}
    assert seen.forwards == 5
    assert seen.mean_forward_windows == pytest.approx(12 / 5)
    assert seen.padding_waste == pytest.approx(0.1)
    assert seen.audio_s == 90
    assert (seen.cancelled, seen.errors) == (4, {"BAD_OPTIONS": 2})
    assert (seen.max_queue, seen.max_windows_in_flight) == (3, 7)
    assert seen.cpu_s is not None
    assert seen.cpu_s >= 0
    assert seen.memory_bytes is not None
    assert seen.memory_bytes > 1_000_000
    assert seen.gpu_utilization is None


def test_a_server_elsewhere_has_no_processes_here_but_its_gpus_are_seen(page):
    shown, url = page
    shown.text += 'nv_gpu_utilization{gpu_uuid="a"} 0.5\nnv_gpu_utilization{gpu_uuid="b"} 1\n'
    shown.text += 'nv_gpu_memory_used_bytes{gpu_uuid="a"} 2000000000\n'
    seen = Watch(url).start().stop()
    assert (seen.cpu_s, seen.memory_bytes) == (None, None)
    assert seen.gpu_utilization == 0.75
    assert seen.gpu_memory_bytes == 2_000_000_000
    assert seen.wav2vec2.mean_batch == 0


def test_a_missing_server_is_reported_at_once():
    with pytest.raises(OSError, match="refused"):
        Watch("http://127.0.0.1:9/metrics")


def test_a_page_that_breaks_off_is_a_server_that_is_gone():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def break_off():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nm 1\n")

        broken = pool.submit(break_off)
        with pytest.raises(ConnectionError, match="IncompleteRead"):
            MetricsPage.scrape(f"http://127.0.0.1:{server.getsockname()[1]}/metrics")
        broken.result(10)


def test_a_missing_process_is_reported_at_once(page):
    _, url = page
    with pytest.raises(ProcessLookupError, match="999999999"):
        Watch(url, 999_999_999)


def test_labels_with_commas_and_quotes():
    page = MetricsPage.parse('m{a="x,y",b="say \\"no\\""} 2\nm{a="z"} 3\nn 1e3\n')
    assert page.value("m", a="x,y") == 2
    assert page.value("m") == 5
    assert page.value("n") == 1000
    assert page.value("none") == 0
