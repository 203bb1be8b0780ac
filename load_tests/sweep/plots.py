"""The pictures of a report. Each tells its lines and bars apart without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from load_tests.sweep.drawing import (
    MARKERS,
    STYLES,
    Curves,
    callers_axis,
    panels,
    plain_log_ticks,
    shades,
    stacked,
    svg,
)
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.recommendation import Target
from load_tests.sweep.settings import ServerSetting


def throughput(curves: Curves, knees: Mapping[str, int], best: tuple[str, int] | None) -> str:
    """Seconds of audio a second against callers, one line a setting, with its knee."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    colours = shades(len(curves), darkest=0.0, lightest=0.75)
    for index, (name, curve) in enumerate(curves.items()):
        callers = [each for each, _ in curve]
        axes.plot(
            callers,
            [figures.rtfx for _, figures in curve],
            label=name,
            color=colours[index],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=STYLES[index % len(STYLES)],
        )
    hollow: dict[str, Any] = {"mfc": "none", "mec": "black", "linestyle": ""}
    circled = [_at(curves, each) for each in knees.items()]
    axes.plot(*zip(*circled, strict=True), "o", ms=14, label="knee", **hollow)
    if best:
        axes.plot(*_at(curves, best), "s", ms=19, label="recommended", **hollow)
    callers_axis(axes, curves)
    axes.set_ylabel("seconds of audio a second")
    axes.set_ylim(0, 1.12 * max(figures.rtfx for c in curves.values() for _, figures in c))
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, labelspacing=0.8)
    return svg(figure)


def _at(curves: Curves, point: tuple[str, int]) -> tuple[int, float]:
    """Where the throughput of a setting under so many callers is drawn."""
    name, callers = point
    return callers, dict(curves[name])[callers].rtfx


def latency(curves: Curves, target: Target) -> str:
    """Percentiles of a call's time against callers, one panel a setting."""

    def draw(axes: Axes, curve: Sequence[tuple[int, Measured]]) -> None:
        callers = [each for each, _ in curve]
        for index, percentile in enumerate(("p50", "p95", "p99")):
            axes.plot(
                callers,
                [getattr(figures, f"{percentile}_s") for _, figures in curve],
                label=percentile,
                color=shades(3, darkest=0.0, lightest=0.7)[index],
                marker=MARKERS[index],
                linestyle=STYLES[index],
            )
        axes.axhline(target.p95_s, color="black", linewidth=0.8, label="target of p95")
        axes.set_yscale("log")
        plain_log_ticks(axes)
        callers_axis(axes, curves)

    return svg(panels(curves, draw, y_label="seconds"))


def knee(curves: Curves, target: Target) -> str:
    """What more throughput costs in latency; beside each point the callers that made it."""

    def draw(axes: Axes, curve: Sequence[tuple[int, Measured]]) -> None:
        axes.plot(
            [figures.rtfx for _, figures in curve],
            [figures.p95_s for _, figures in curve],
            color="black",
            marker="o",
            label="p95",
        )
        for each, figures in curve:
            axes.annotate(
                str(each),
                (figures.rtfx, figures.p95_s),
                textcoords="offset points",
                xytext=(-7, 2),
                ha="right",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2},
            )
        axes.axhline(target.p95_s, color="black", linewidth=0.8, label="target")
        axes.set_yscale("log")
        axes.margins(y=0.12)
        plain_log_ticks(axes)
        axes.set_xlim(0, 1.1 * max(figures.rtfx for c in curves.values() for _, figures in c))
        axes.set_xlabel("seconds of audio a second")

    return svg(panels(curves, draw, y_label="p95, seconds"))


def batches(curves: Curves) -> str:
    """Which share of the windows' forwards held how many windows, one panel a setting."""
    bounds = list(
        dict.fromkeys(
            bound for curve in curves.values() for _, each in curve for bound in each.forwards
        )
    )
    parts = {
        _bucket_name(bounds, index): (
            lambda figures, bound=bound: (
                figures.forwards.get(bound, 0) / max(1, sum(figures.forwards.values()))
            )
        )
        for index, bound in enumerate(bounds)
        if any(figures.forwards.get(bound, 0) for curve in curves.values() for _, figures in curve)
    }
    return svg(stacked(curves, parts, y_label="share of forwards", legend="windows"))


def waiting(curves: Curves) -> str:
    """Mean time of a window in the queue of `wav2vec2` and in its batch."""
    parts = {
        "in the batch": lambda figures: figures.compute_s,
        "in the queue": lambda figures: figures.queue_s,
    }
    return svg(stacked(curves, parts, y_label="seconds", legend="a window's time"))


def processor(curves: Curves) -> str:
    """Which processes the cores worked for."""
    kinds = dict.fromkeys(
        kind for c in curves.values() for _, each in c for kind in each.costs.cpu_s
    )
    parts = {
        kind: (
            lambda figures, kind=kind: figures.costs.cpu_s.get(kind, 0.0) / figures.costs.seconds
        )
        for kind in kinds
    }
    return svg(stacked(curves, parts, y_label="cores busy", legend="processes"))


def heat_map(points: Sequence[Point], names: Mapping[ServerSetting, str], target: Target) -> str:
    """Throughput of every setting under every number of callers; hatched where it breaks."""
    settings = list(names)
    callers = sorted({point.concurrency for point in points})
    grid = np.full((len(settings), len(callers)), np.nan)
    for point in points:
        if point.measured is not None:
            row, column = settings.index(point.setting), callers.index(point.concurrency)
            grid[row, column] = point.measured.rtfx
    size = (2.6 + 1.0 * len(callers), 1.5 + 0.62 * len(settings))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    most = np.nanmax(grid) if np.isfinite(grid).any() else 1.0
    image = axes.imshow(grid, cmap=_pale(), aspect="auto", vmin=0, vmax=most)
    for point in points:
        row, column = settings.index(point.setting), callers.index(point.concurrency)
        _cell(axes, row, column, point.measured, target)
    axes.set_xticks(range(len(callers)), [str(each) for each in callers])
    axes.set_yticks(range(len(settings)), [names[setting] for setting in settings])
    axes.set_xlabel("callers")
    figure.colorbar(image, ax=axes, label="seconds of audio a second")
    return svg(figure)


def _cell(axes: Axes, row: int, column: int, figures: Measured | None, target: Target) -> None:
    broken = figures is not None and bool(target.broken(figures))
    if broken:
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(
            Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor="gray", linewidth=0)
        )
    text = "none" if figures is None else f"{figures.rtfx:.1f}\np95 {figures.p95_s:.2f} s"
    axes.text(
        column,
        row,
        text,
        ha="center",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5} if broken else None,
    )


def _pale() -> ListedColormap:
    """Colours on which black text is read, darker for more."""
    return ListedColormap(matplotlib.colormaps["YlGnBu"](np.linspace(0.0, 0.55, 128)))


def _bucket_name(bounds: Sequence[str], index: int) -> str:
    """`5 to 6` for a bucket between two bounds, `1` where only one number lies in it."""
    upper = bounds[index]
    lowest = 1 if index == 0 else int(float(bounds[index - 1])) + 1
    if upper == "inf":
        return f"{lowest} and more"
    return f"{float(upper):g}" if lowest == float(upper) else f"{lowest} to {float(upper):g}"
