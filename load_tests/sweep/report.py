"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence

from load_tests.sweep import plots
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.recommendation import KNEE_SHARE, knees, recommend
from load_tests.sweep.settings import ServerSetting, name_apart
from load_tests.sweep.store import Sweep

_STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem;
       padding: 0 1rem; color: #111; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.answer { border-left: 5px solid #111; padding: .4rem 1rem; font-size: 1.1rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #333; font-size: .92rem; max-width: 50rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .78rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
tr.best td { font-weight: bold; background: #eee; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; font-size: .92rem; }
dt { font-weight: 600; } dd { margin: 0; }
"""

_CAPTIONS = {
    "Throughput against callers": f"A circle marks the knee: the fewest callers that give "
    f"{KNEE_SHARE:.0%} of the setting's greatest throughput. Beyond it more callers only wait.",
    "Latency against callers": "Percentiles of the time from a call to its answer, on a "
    "logarithmic scale.",
    "The knee: what throughput costs in latency": "Beside each point stands the number of "
    "callers. Where the line turns upwards the server is full.",
    "Every setting under every load": "Seconds of audio a second, and p95. Hatched cells do not "
    "keep the target.",
    "Batches": "How many windows shared one forward of the network. An engine that takes them one "
    "at a time shows 1 only; how many Triton handed it at once is in the table, windows a batch.",
    "Queue against compute": "A window's mean time in the queue of wav2vec2 and in its batch, as "
    "the server counts them.",
    "Where the processor time goes": "Cores busy for the network (wav2vec2), for decoding audio "
    "and reading text (transcribe), for the server itself (triton), and for the callers, who share "
    "the machine; others is what had nothing to do with the sweep.",
}

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


def render(sweep: Sweep) -> str:
    """The whole page."""
    names = name_apart(sorted({point.setting for point in sweep.points}))
    found = recommend(sweep.points, sweep.target)
    best = found.point.key if found.point else None
    body = [
        "<h1>How many callers, how many instances</h1>",
        f'<p class="answer">{html.escape(found.sentence)}</p>',
        _conditions(sweep),
        *_figures(sweep, names),
        "<h2>All points</h2>",
        _table(sweep.points, names, best),
        "<p>Times of calls are the callers' own, failed calls included. Queue and batch are a "
        "window's means, as the server counts them. * : the throughput had not settled at the "
        "limit of slices; † : nor when the point's share of the time limit was over.</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sweep of {html.escape(sweep.date)}</title><style>{_STYLE}</style></head>"
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def _conditions(sweep: Sweep) -> str:
    held = {"date": sweep.date, "target": str(sweep.target), **sweep.conditions}
    rows = "".join(
        f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(_plain(value))}</dd>"
        for name, value in held.items()
    )
    return f"<dl>{rows}</dl>"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_plain(each)} {name}".strip() for name, each in value.items())
    return str(value)


def _figures(sweep: Sweep, names: dict[ServerSetting, str]) -> list[str]:
    best = recommend(sweep.points, sweep.target).point
    chosen = _one_setting_an_instance_count(sweep.points, best)
    curves = {
        names[setting]: [
            (point.concurrency, point.measured)
            for point in sorted(sweep.points, key=lambda point: point.concurrency)
            if point.setting == setting and point.measured is not None
        ]
        for setting in chosen
    }
    if not curves:
        return []
    knee_at = {
        names[setting]: point.concurrency
        for setting, point in knees(sweep.points).items()
        if setting in chosen
    }
    best_at = (names[best.setting], best.concurrency) if best else None
    pictures = {
        "Throughput against callers": plots.throughput(curves, knee_at, best_at),
        "Latency against callers": plots.latency(curves, sweep.target),
        "The knee: what throughput costs in latency": plots.knee(curves, sweep.target),
        "Every setting under every load": plots.heat_map(sweep.points, names, sweep.target),
        "Batches": plots.batches(curves),
        "Queue against compute": plots.waiting(curves),
        "Where the processor time goes": plots.processor(curves),
    }
    return [_figure(title, svg) for title, svg in pictures.items()]


def _one_setting_an_instance_count(
    points: Sequence[Point], best: Point | None
) -> list[ServerSetting]:
    """For each number of instances the recommended setting, else that of most throughput."""
    chosen: dict[int, tuple[float, ServerSetting]] = {}
    for point in points:
        if point.measured is not None:
            candidate = (point.measured.rtfx, point.setting)
            count = point.setting.instances
            chosen[count] = max(chosen.get(count, candidate), candidate)
    if best is not None:
        chosen[best.setting.instances] = (0.0, best.setting)
    return [chosen[count][1] for count in sorted(chosen)]


def _figure(title: str, svg: str) -> str:
    # As a picture of its own, so that the names inside two of them cannot meet.
    data = base64.b64encode(svg.encode()).decode()
    return (
        f"<h2>{html.escape(title)}</h2><figure>"
        f'<img alt="{html.escape(title)}; the figures are in the table at the end" '
        f'src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{html.escape(_CAPTIONS[title])}</figcaption></figure>"
    )


def _table(
    points: Sequence[Point],
    names: dict[ServerSetting, str],
    best: tuple[ServerSetting, int] | None,
) -> str:
    head = "".join(f"<th>{name}</th>" for name, _ in _COLUMNS)
    rows = [
        f"<tr{' class=best' if point.key == best else ''}><td>{html.escape(names[point.setting])}"
        f"</td><td>{point.concurrency}</td>{_cells(point)}</tr>"
        for point in sorted(points, key=lambda point: point.key)
    ]
    return (
        f'<div class="wide"><table><thead><tr><th>setting</th><th>callers</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(point: Point) -> str:
    measured: Measured | None = point.measured
    if measured is None:
        return f'<td colspan="{len(_COLUMNS)}">{html.escape(point.error)}</td>'
    return "".join(f"<td>{write(measured)}</td>" for _, write in _COLUMNS)
