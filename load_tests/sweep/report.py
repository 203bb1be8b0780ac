"""The report: one HTML file that needs nothing beside it, from the template `report.html`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jinja2

from load_tests.sweep import pictures
from load_tests.sweep.live_points import LiveMeasured, held, sentence
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.recommendation import KNEE_SHARE, knees, recommend
from load_tests.sweep.settings import ServerSetting, name_apart
from load_tests.sweep.store import Sweep

_COLUMNS: tuple[tuple[str, Callable[[Measured], str]], ...] = (
    ("audio s/s", lambda m: f"{m.rtfx:.1f}"),
    ("calls/s", lambda m: f"{m.calls_per_s:.1f}"),
    ("p50 s", lambda m: f"{m.p50_s:.3f}"),
    ("p95 s", lambda m: f"{m.p95_s:.3f}"),
    ("p99 s", lambda m: f"{m.p99_s:.3f}"),
    ("failed", lambda m: f"{m.failure_share:.1%}"),
    ("WER", lambda m: "" if m.wer is None else f"{m.wer:.3f}"),
    ("queue s", lambda m: f"{m.queue_s:.3f}"),
    ("batch s", lambda m: f"{m.compute_s:.3f}"),
    ("windows a batch", lambda m: f"{m.mean_batch:.2f}"),
    ("padding", lambda m: f"{m.padding_share:.0%}"),
    ("memory MiB", lambda m: f"{m.memory_bytes / 2**20:.0f}"),
    ("watched s", lambda m: f"{m.seconds:.0f}{' †' if m.capped else '' if m.stable else ' *'}"),
)


_LIVE_COLUMNS: tuple[tuple[str, Callable[[LiveMeasured], str]], ...] = (
    ("interim p50 s", lambda m: f"{m.words.interim_p50_s:.3f}"),
    ("interim p95 s", lambda m: f"{m.words.interim_p95_s:.3f}"),
    ("final p50 s", lambda m: f"{m.words.final_p50_s:.2f}"),
    ("final p95 s", lambda m: f"{m.words.final_p95_s:.2f}"),
    ("end p95 s", lambda m: f"{m.end_p95_s:.2f}"),
    ("flicker", lambda m: f"{m.words.flicker:.1%}"),
    ("WER", lambda m: "" if m.wer is None else f"{m.wer:.3f}"),
    ("failed", lambda m: f"{m.failures}"),
    ("interims/s", lambda m: f"{m.words.interims / m.seconds:.1f}"),
    ("computed s a live s", lambda m: f"{m.costs.audio_s / (m.words.streams * m.played_s):.2f}"),
    ("server cores", lambda m: f"{m.server_cores:.2f}"),
    ("memory MiB", lambda m: f"{m.memory_bytes / 2**20:.0f}"),
)


def render(sweep: Sweep) -> str:
    """The whole page."""
    settings = {point.setting for point in sweep.points}
    settings |= {point.setting for point in sweep.live_points}
    names = name_apart(sorted(settings))
    live = held(sweep.live_points, sweep.target)
    found = recommend(sweep.points, sweep.target)
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    conditions = {"date": sweep.date, "target": str(sweep.target), **sweep.conditions}
    # The pictures are base64, so that the names inside two of them cannot meet.
    shown = [
        (title, caption, base64.b64encode(svg.encode()).decode())
        for title, caption, svg in (
            *_pictures(sweep, names, found.point),
            *_live_pictures(sweep, names),
        )
    ]
    page = jinja2.Template(template, autoescape=True, keep_trailing_newline=True)
    text: str = page.render(
        sweep=sweep,
        found=found,
        best=found.point.key if found.point else None,
        names=names,
        conditions={name.replace("_", " "): _plain(value) for name, value in conditions.items()},
        pictures=shown,
        columns=_COLUMNS,
        points=sorted(sweep.points, key=lambda point: point.key),
        live_sentence=sentence(sweep.live_points, sweep.target),
        held={setting: point.streams for setting, point in live.items()},
        best_live={point.key for point in live.values()},
        live_columns=_LIVE_COLUMNS,
        live_points=sorted(sweep.live_points, key=lambda point: point.key),
    )
    return text


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_plain(each)} {name}".strip() for name, each in value.items())
    return str(value)


def _pictures(
    sweep: Sweep, names: dict[ServerSetting, str], best: Point | None
) -> Iterator[tuple[str, str, str]]:
    """Title, caption and SVG of each picture; none without a measured point."""
    chosen = _one_setting_an_instance_count(sweep.points, best)
    by_callers = sorted(sweep.points, key=lambda point: point.concurrency)
    curves = {
        names[setting]: [
            (point.concurrency, point.measured)
            for point in by_callers
            if point.setting == setting and point.measured is not None
        ]
        for setting in chosen
    }
    if not curves:
        return
    found = knees(sweep.points)
    knee_at = {names[setting]: found[setting].concurrency for setting in found if setting in chosen}
    best_at = (names[best.setting], best.concurrency) if best else None
    yield (
        "Throughput against callers",
        f"A circle marks the knee: the fewest callers that give {KNEE_SHARE:.0%} of the setting's "
        "greatest throughput. Beyond it more callers only wait.",
        pictures.throughput(curves, knee_at, best_at),
    )
    yield (
        "Latency against callers",
        "Percentiles of the time from a call to its answer, on a logarithmic scale.",
        pictures.latency(curves, sweep.target),
    )
    yield (
        "The knee: what throughput costs in latency",
        "The number beside a point is the number of callers. Where the line turns upwards the "
        "server is full.",
        pictures.knee(curves, sweep.target),
    )
    yield (
        "Every setting under every load",
        "Seconds of audio a second, and p95. Hatched cells do not keep the target.",
        pictures.heat_map(sweep.points, names, sweep.target),
    )
    yield (
        "Batches",
        "How many windows shared one forward of the network. An engine that takes them one at a "
        "time shows 1 only; the table has the windows that Triton handed it at once (windows a "
        "batch).",
        pictures.batches(curves),
    )
    yield (
        "Queue against compute",
        "A window's mean time in the queue of wav2vec2 and in its batch, as the server counts "
        "them.",
        pictures.waiting(curves),
    )
    yield (
        "Where the processor time goes",
        "Cores busy for the network (wav2vec2), for decoding audio and reading text (transcribe), "
        "for the server itself (triton), and for the callers, who share the machine; others is "
        "work that has nothing to do with the sweep.",
        pictures.processor(curves),
    )


def _live_pictures(sweep: Sweep, names: dict[ServerSetting, str]) -> Iterator[tuple[str, str, str]]:
    """The same of live streams; none without a measured live point."""
    curves: dict[str, list[tuple[int, LiveMeasured]]] = {}
    for point in sorted(sweep.live_points, key=lambda point: point.key):
        if point.measured is not None:
            name = names[point.setting]
            curves.setdefault(name, []).append((point.streams, point.measured))
    if curves:
        yield (
            "Live streams",
            "How late words are shown, on a logarithmic scale: an interim after its look was due, "
            "and a final after its last word, which contains the pause of 0.5 s.",
            pictures.live(curves, sweep.target),
        )


def _one_setting_an_instance_count(
    points: Sequence[Point], best: Point | None
) -> list[ServerSetting]:
    """For each number of instances the recommended setting, else the fastest one."""
    chosen: dict[int, tuple[float, ServerSetting]] = {}
    for point in points:
        if point.measured is not None:
            candidate = (point.measured.rtfx, point.setting)
            count = point.setting.instances
            chosen[count] = max(chosen.get(count, candidate), candidate)
    if best is not None:
        chosen[best.setting.instances] = (0.0, best.setting)
    return [chosen[count][1] for count in sorted(chosen)]
