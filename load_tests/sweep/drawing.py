"""What the pictures of a report have in common."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from load_tests.sweep.points import Measured

Curves = Mapping[str, Sequence[tuple[int, Measured]]]
"""By the name of a setting: callers and figures, the fewest callers first."""

MARKERS = "os^Dvp*X"
STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\")
SHADES = "viridis"
_MAX_COLUMNS = 3


def stacked(
    curves: Curves,
    parts: Mapping[str, Callable[[Measured], float]],
    *,
    y_label: str,
    legend: str,
) -> Figure:
    """One panel a curve, a bar for each number of callers, built of `parts` from below."""
    colours = shades(len(parts), darkest=0.1, lightest=0.95)

    def draw(axes: Axes, curve: Sequence[tuple[int, Measured]]) -> None:
        bottom = np.zeros(len(curve))
        for index, (name, part) in enumerate(parts.items()):
            heights = np.array([part(figures) for _, figures in curve])
            axes.bar(
                range(len(curve)),
                heights,
                bottom=bottom,
                label=name,
                color=colours[index],
                edgecolor="white" if index < len(parts) / 2 else "black",
                hatch=HATCHES[index % len(HATCHES)],
                linewidth=0.4,
            )
            bottom += heights
        axes.set_xticks(range(len(curve)), [str(each) for each, _ in curve])
        axes.set_xlabel("callers")

    return panels(curves, draw, y_label=y_label, legend=legend)


def panels(
    curves: Curves,
    draw: Callable[[Axes, Sequence[tuple[int, Measured]]], None],
    *,
    y_label: str,
    legend: str | None = None,
) -> Figure:
    """One panel a curve with common axes, and one legend beside them all."""
    columns = min(_MAX_COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(1.9 + 2.7 * columns, 0.6 + 2.8 * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (name, curve) in zip(grid.flat, curves.items(), strict=False):
        draw(axes, curve)
        axes.set_title(name, fontsize=10)
    for axes in grid.flat[len(curves) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles[::-1] if legend else handles,
        labels[::-1] if legend else labels,
        loc="outside right center",
        title=legend,
        frameon=False,
    )
    return figure


def callers_axis(axes: Axes, curves: Curves) -> None:
    """Callers along the bottom, each doubling as wide as the one before."""
    callers = sorted({each for curve in curves.values() for each, _ in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(callers, [str(each) for each in callers])
    axes.minorticks_off()
    axes.set_xlabel("callers")
    axes.grid(alpha=0.3)


def plain_log_ticks(axes: Axes) -> None:
    """Numbers as people write them, not powers of ten."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.grid(alpha=0.3)


def shades(count: int, *, darkest: float, lightest: float) -> list[Any]:
    """Colours whose greys are evenly apart."""
    return list(matplotlib.colormaps[SHADES](np.linspace(darkest, lightest, max(1, count))))


def svg(figure: Figure) -> str:
    """The picture's text, the same for the same figure; it is closed."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "sweep"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return text.getvalue()
