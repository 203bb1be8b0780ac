"""Draws the dashboards: a real load, a real Prometheus, and each panel's queries as a picture.

    python -m tools.draw_dashboards [--seconds 40]

Grafana is not needed. Starts asr-server with the demo checkpoint, asr-gateway and Debian's
`prometheus` on this machine, calls both for a while, kills a process in between, and writes
`docs/monitoring/UID.png` for each dashboard.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import matplotlib

from asr_client import AsrError, Client
from tests.support import recordings
from tests.support.live import LiveStream, connect, encoded, talk
from tools.command import count, make_parser, run_main
from tools.dashboard_panels import DASHBOARDS
from tools.dashboard_queries import Dashboard, Panel
from tools.local_gateway import LocalGateway, local_gateway, upload
from tools.local_prometheus import local_prometheus, series
from tools.local_server import LocalServer, local_server
from tools.recorded_faults import KEY, dead_webhook, gateway_flags, queue_jobs
from tools.recordings import transcripts

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "monitoring"
WINDOW_S = 8
"""Stands for Grafana's $__rate_interval."""
_COLUMNS = 3
_MAX_SERIES = 10
_CHUNK = 2 * recordings.RATE_HZ
_UNITS = {
    "short": "",
    "s": "s",
    "reqps": "a second",
    "cps": "a second",
    "Bps": "bytes a second",
    "bytes": "bytes",
    "percentunit": "",
}


def load(server: LocalServer, gateway: LocalGateway, seconds: int) -> None:
    """Callers of both; halfway, a front is killed and a webhook is refused."""
    address = gateway.address
    over = threading.Event()
    clips = [path.read_bytes() for path, _ in transcripts()]
    clips.append(b"no audio" * 10)

    def call_on(client: Client, number: int) -> None:
        while not over.is_set():
            number += 1
            with contextlib.suppress(AsrError):
                client.transcribe(clips[number % len(clips)])

    def upload_on(number: int) -> None:
        while not over.is_set():
            number += 1
            clip = clips[number % len(clips)]
            # Every other one is new to the cache of results: it ends with another sample.
            upload(address, clip if number % 2 else clip[:-2] + os.urandom(2), key=KEY)

    def talk_on() -> None:
        options = {"encoding": "pcm_s16le", "sample_rate": recordings.RATE_HZ, "channels": 1}
        audio = encoded(talk(1), "pcm_s16le")
        chunks = [audio[at : at + _CHUNK] for at in range(0, len(audio), _CHUNK)]
        with connect(server.url) as channel:
            while not over.wait(0.5):
                with contextlib.suppress(grpc.RpcError):
                    LiveStream(channel, options).run(chunks, random.Random(1))

    def queue_on() -> None:
        while not over.wait(0.5):
            queue_jobs(gateway, 1)

    with Client(server.url, timeout_s=60) as client:
        threads = [threading.Thread(target=talk_on), threading.Thread(target=queue_on)]
        threads += [threading.Thread(target=call_on, args=(client, n)) for n in range(6)]
        threads += [threading.Thread(target=upload_on, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        server.stubs("transcribe")[0].kill()
        with dead_webhook(gateway):
            time.sleep(seconds / 2)
        over.set()
        for thread in threads:
            thread.join()


def draw(url: str, dashboard: Dashboard, begin_s: float, end_s: float) -> Path:
    """One picture of all panels of a dashboard; returns its path."""
    panels = [panel for _, row in dashboard.rows for panel in row]
    rows = -(-len(panels) // _COLUMNS)
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(12, 2.5 * rows), dpi=72, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, panel in zip(axes.flat, panels, strict=False):
        lines = []
        for query, legend in panel.queries:
            text = query.replace("$__rate_interval", f"{WINDOW_S}s")
            text = text.replace(f"${dashboard.variable}", ".*")
            lines += [(legend, found) for found in series(url, text, begin_s, end_s)]
        _draw_panel(axis, panel, lines, begin_s)
    path = OUTPUT / f"{dashboard.uid}.png"
    figure.supxlabel("seconds", fontsize=8)
    figure.savefig(path)
    plt.close(figure)
    # A palette makes the file a third as large.
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(200).save(path, optimize=True)
    return path


def _draw_panel(
    axis: Axes, panel: Panel, lines: Sequence[tuple[str, dict[str, Any]]], begin_s: float
) -> None:
    for legend, found in lines[:_MAX_SERIES]:
        for label, value in found["metric"].items():
            legend = legend.replace(f"{{{{{label}}}}}", value)
        points = [(float(time_s) - begin_s, float(value)) for time_s, value in found["values"]]
        axis.plot(*zip(*points, strict=True), label=legend, linewidth=1.2)
    unit = _UNITS[panel.unit]
    axis.set_title(f"{panel.title}{unit and f', {unit}'}", fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    if panel.unit == "percentunit":
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    elif panel.unit in ("bytes", "Bps"):
        axis.yaxis.set_major_formatter(EngFormatter())
    axis.set_ylim(bottom=0, top=panel.most and panel.most * 1.05)
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(fontsize=6.5, loc="best", framealpha=0.6)
    else:
        axis.text(0.5, 0.5, "no data", transform=axis.transAxes, ha="center", color="grey")


def main() -> int:
    """Make the load and draw; returns the exit status."""
    parser = make_parser("tools.draw_dashboards", __doc__)
    parser.add_argument("--seconds", type=count, default=40, help="of load")
    seconds = parser.parse_args().seconds
    OUTPUT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        open(os.devnull, "wb") as log,
        local_server("--frontends=2", log=log) as server,
        local_gateway(
            server.url,
            Path(name),
            "--cache-bytes=1000000",
            *gateway_flags(Path(name), small_disk=False),
        ) as gateway,
    ):
        targets = {
            "triton": f"127.0.0.1:{server.metrics_port}",
            "supervisor": f"127.0.0.1:{server.health_port}",
            "gateway": gateway.address,
        }
        with local_prometheus(targets, Path(name)) as url:
            begin_s = time.time()
            load(server, gateway, seconds)
            end_s = time.time()
            for dashboard in DASHBOARDS:
                path = draw(url, dashboard, begin_s, end_s)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main, "stopped")
