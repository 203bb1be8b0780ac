"""The pictures of a report. Each tells its lines and bars apart without colour."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib

matplotlib.use("agg")

import numpy as np
from cycler import cycler
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from load_tests.report.metrics_page import bucket_names
from load_tests.sweep.live_points import LiveMeasured
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.recommendation import Target
from load_tests.sweep.settings import ServerSetting

Curve = Sequence[tuple[int, Measured]]
"""Callers and figures of one setting, the fewest callers first."""
Curves = Mapping[str, Curve]
"""By the name of a setting."""
C = TypeVar("C")

MARKERS = ("o", "s", "^", "D", "v", "p", "*", "X")
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":")
HATCHES = ("", "///", "...", "xxx", "\\\\\\")
RTFX = "seconds of audio a second"
_MAX_COLUMNS = 3


def throughput(curves: Curves, knees: Mapping[str, int], best: tuple[str, int] | None) -> str:
    """Seconds of audio a second against callers, one line a setting, with its knee."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    _tell_apart(axes, len(curves))
    at = {
        (name, callers): (callers, measured.rtfx)
        for name, curve in curves.items()
        for callers, measured in curve
    }
    for name, curve in curves.items():
        axes.plot(*zip(*(at[name, callers] for callers, _ in curve), strict=True), label=name)
    hollow: dict[str, Any] = {"mfc": "none", "mec": "black", "linestyle": "", "color": "black"}
    circled = [at[knee] for knee in knees.items()]
    axes.plot(*zip(*circled, strict=True), marker="o", ms=14, label="knee", **hollow)
    if best:
        axes.plot(*at[best], marker="s", ms=19, label="recommended", **hollow)
    _callers_axis(axes, curves)
    axes.set_ylabel(RTFX)
    axes.set_ylim(0, 1.12 * _max_rtfx(curves))
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, labelspacing=1.2)
    return _svg(figure)


def latency(curves: Curves, target: Target) -> str:
    """Percentiles of a call's time against callers, one panel a setting."""

    def draw(axes: Axes, curve: Curve) -> None:
        _tell_apart(axes, 3)
        for percentile in ("p50", "p95", "p99"):
            times_s = [getattr(measured, f"{percentile}_s") for _, measured in curve]
            axes.plot([callers for callers, _ in curve], times_s, label=percentile)
        axes.axhline(target.p95_s, color="black", linewidth=0.8, label="target of p95")
        _log_seconds(axes)
        _callers_axis(axes, curves)

    return _svg(_panels(curves, draw, y_label="seconds"))


def knee(curves: Curves, target: Target) -> str:
    """What more throughput costs in latency; beside each point the callers that made it."""

    def draw(axes: Axes, curve: Curve) -> None:
        at = [(measured.rtfx, measured.p95_s) for _, measured in curve]
        axes.plot(*zip(*at, strict=True), color="black", marker="o", label="p95")
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.2}
        for (callers, _), place in zip(curve, at, strict=True):
            beside: dict[str, Any] = {"textcoords": "offset points", "xytext": (-7, 2)}
            axes.annotate(str(callers), place, ha="right", bbox=white, **beside)
        axes.axhline(target.p95_s, color="black", linewidth=0.8, label="target")
        axes.margins(y=0.12)
        _log_seconds(axes)
        axes.set_xlim(0, 1.1 * _max_rtfx(curves))
        axes.set_xlabel(RTFX)

    return _svg(_panels(curves, draw, y_label="p95, seconds"))


def batches(curves: Curves) -> str:
    """Shares of the forwards by their windows, one panel a setting."""
    bounds = {bound for curve in curves.values() for _, m in curve for bound in m.forwards}
    names = bucket_names(map(float, bounds))

    def share(measured: Measured, bound: str) -> float:
        return measured.forwards.get(bound, 0) / max(1, sum(measured.forwards.values()))

    parts = {
        names[float(bound)]: [[share(m, bound) for _, m in c] for c in curves.values()]
        for bound in sorted(bounds, key=float)
    }
    shown = {name: rows for name, rows in parts.items() if any(map(any, rows))}
    return _stacked(curves, shown, y_label="share of forwards", legend="windows")


def waiting(curves: Curves) -> str:
    """Mean time of a window in the queue of `wav2vec2` and in its batch."""
    parts = {
        "in the batch": [[m.compute_s for _, m in curve] for curve in curves.values()],
        "in the queue": [[m.queue_s for _, m in curve] for curve in curves.values()],
    }
    return _stacked(curves, parts, y_label="seconds", legend="a window's time")


def processor(curves: Curves) -> str:
    """Cores busy by kind of process."""
    kinds = dict.fromkeys(kind for c in curves.values() for _, m in c for kind in m.costs.cpu_s)
    parts = {
        kind: [
            [m.costs.cpu_s.get(kind, 0.0) / m.costs.seconds for _, m in curve]
            for curve in curves.values()
        ]
        for kind in kinds
    }
    return _stacked(curves, parts, y_label="cores busy", legend="processes")


def heat_map(points: Sequence[Point], names: Mapping[ServerSetting, str], target: Target) -> str:
    """Throughput of every setting under every load; hatched where the target is not kept."""
    settings = list(names)
    callers = sorted({point.concurrency for point in points})
    grid = np.full((len(settings), len(callers)), np.nan)
    size = (2.6 + 1.0 * len(callers), 1.5 + 0.62 * len(settings))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    for point in points:
        row, column = settings.index(point.setting), callers.index(point.concurrency)
        text, box, measured = "none", None, point.measured
        if measured is not None:
            grid[row, column] = measured.rtfx
            text = f"{measured.rtfx:.1f}\np95 {measured.p95_s:.2f} s"
            if target.broken(measured):
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                cell: dict[str, Any] = {"fill": False, "edgecolor": "gray", "linewidth": 0}
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, hatch="///", **cell))
        axes.text(column, row, text, ha="center", va="center", fontsize=8, bbox=box)
    maximum = np.nanmax(grid) if np.isfinite(grid).any() else 1.0
    # Pale enough for black text.
    colours = ListedColormap(matplotlib.colormaps["YlGnBu"](np.linspace(0.0, 0.55, 128)))
    image = axes.imshow(grid, cmap=colours, aspect="auto", vmin=0, vmax=maximum)
    axes.set_xticks(range(len(callers)), [str(each) for each in callers])
    axes.set_yticks(range(len(settings)), [names[setting] for setting in settings])
    axes.set_xlabel("callers")
    figure.colorbar(image, ax=axes, label=RTFX)
    return _svg(figure)


def live(curves: Mapping[str, Sequence[tuple[int, LiveMeasured]]], target: Target) -> str:
    """How late words are shown against live streams, one panel a setting."""
    counts = sorted({streams for curve in curves.values() for streams, _ in curve})

    def draw(axes: Axes, curve: Sequence[tuple[int, LiveMeasured]]) -> None:
        _tell_apart(axes, 4)
        for kind in ("interim", "final"):
            for percentile in ("p50", "p95"):
                times_s = [getattr(m.words, f"{kind}_{percentile}_s") for _, m in curve]
                label = f"{kind}, {percentile}"
                axes.plot([streams for streams, _ in curve], times_s, label=label)
        axes.axhline(target.interim_p95_s, color="black", linewidth=0.8, label="target of interims")
        _log_seconds(axes)
        _doubling_axis(axes, counts, "live streams")

    return _svg(_panels(curves, draw, y_label="seconds"))


def _stacked(
    curves: Curves, parts: Mapping[str, Sequence[Sequence[float]]], *, y_label: str, legend: str
) -> str:
    """One panel a curve, a bar for each number of callers, built of `parts` from below.

    `parts` has by name the heights: a list for each curve, in it a number for each bar.
    """
    colours = _shades(len(parts), 0.1, 0.95)
    order = iter(range(len(curves)))

    def draw(axes: Axes, curve: Curve) -> None:
        panel, bottom = next(order), np.zeros(len(curve))
        for index, (name, heights) in enumerate(parts.items()):
            axes.bar(
                range(len(curve)),
                heights[panel],
                bottom=bottom,
                label=name,
                color=colours[index],
                edgecolor="white" if index < len(parts) / 2 else "black",
                hatch=HATCHES[index % len(HATCHES)],
                linewidth=0.4,
            )
            bottom += np.array(heights[panel])
        axes.set_xticks(range(len(curve)), [str(callers) for callers, _ in curve])
        axes.set_xlabel("callers")

    return _svg(_panels(curves, draw, y_label=y_label, legend=legend))


def _panels(
    curves: Mapping[str, C],
    draw: Callable[[Axes, C], None],
    *,
    y_label: str,
    legend: str | None = None,
) -> Figure:
    """One panel a curve with common axes, and one legend beside them all."""
    columns = min(_MAX_COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    size = (1.9 + 2.7 * columns, 0.6 + 2.8 * rows)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
        draw(axes, curve)
        axes.set_title(name, fontsize=10)
    for axes in grid.flat[len(curves) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if legend:
        # Stacked bars: the uppermost first.
        handles, labels = handles[::-1], labels[::-1]
    place = "outside right center"
    figure.legend(handles, labels, loc=place, title=legend, frameon=False)
    return figure


def _tell_apart(axes: Axes, lines: int) -> None:
    """Give each of so many lines a grey, a marker and a style."""
    markers = [MARKERS[index % len(MARKERS)] for index in range(lines)]
    styles = [STYLES[index % len(STYLES)] for index in range(lines)]
    shades = cycler(color=_shades(lines, 0.0, 0.75))
    axes.set_prop_cycle(shades + cycler(marker=markers) + cycler(linestyle=styles))


def _shades(count: int, darkest: float, lightest: float) -> list[Any]:
    """Colours whose greys are evenly apart."""
    return list(matplotlib.colormaps["viridis"](np.linspace(darkest, lightest, max(1, count))))


def _callers_axis(axes: Axes, curves: Curves) -> None:
    """Callers along the bottom, each doubling as wide as the one before."""
    _doubling_axis(axes, sorted({n for curve in curves.values() for n, _ in curve}), "callers")


def _doubling_axis(axes: Axes, counts: Sequence[int], label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(each) for each in counts])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)


def _log_seconds(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, not powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.grid(alpha=0.3)


def _max_rtfx(curves: Curves) -> float:
    return max(measured.rtfx for curve in curves.values() for _, measured in curve)


def _svg(figure: Figure) -> str:
    """The picture's text, the same for the same figure; it is closed."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "sweep"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return text.getvalue()
