"""Rows as CSV, as a Markdown table with the results in sentences, and as a plot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.rows import COLUMNS, Row
from benchmarks.runner import Results
from benchmarks.verdicts import verdicts
from tools.markdown import table

_TITLES = (
    "system",
    "at once",
    "RTFx",
    "CPU s / s",
    "p50 s",
    "p95 s",
    "p99 s",
    "padding",
    "peak MiB",
    "same text",
    "same as alone",
    "character errors",
)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row, None as an empty field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in each.items()
            }
            for each in map(asdict, rows)
        )


def markdown(results: Results, *, machine: str) -> str:
    """A table for each mix, then the limits and the order of the systems."""
    rows = results.rows
    parts = [f"Machine: {machine}."]
    for mix in dict.fromkeys(row.mix for row in rows):
        cells = [_cells(row) for row in rows if row.mix == mix]
        parts += [f"### {mix}", table(_TITLES, cells, numbers=True)]
    notes = dict.fromkeys(f"- {row.system}: {row.note}" for row in rows if row.note)
    if notes:
        parts += ["### Not measured, or not all of it", "\n".join(notes)]
    if lines := verdicts(results.cells):
        parts += ["### Results in short", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> list[str]:
    if row.rtfx is None:
        return [row.system, str(row.at_once), "not measured", *[""] * (len(_TITLES) - 3)]
    return [
        row.system,
        str(row.at_once),
        f"{row.rtfx:.1f}",
        f"{row.cpu_per_audio:.3f}",
        *(f"{value:.2f}" for value in (row.p50_s, row.p95_s, row.p99_s)),
        "" if row.padding_waste is None else f"{row.padding_waste:.0%}",
        f"{row.peak_mib:.0f}",
        f"{row.equal:.0%}",
        "" if row.same_as_alone is None else f"{row.same_as_alone:.0%}",
        f"{row.character_errors:.1%}",
    ]


def draw(rows: Sequence[Row], path: Path, *, machine: str) -> None:
    """Bars of RTFx, a panel for each mix, a bar for each number of clips at once."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows if row.rtfx is not None]
    if not measured:
        return
    mixes = list(dict.fromkeys(row.mix for row in measured))
    levels = sorted({row.at_once for row in measured})
    systems = list(dict.fromkeys(row.system for row in measured))[::-1]
    figure, axes = pyplot.subplots(
        1,
        len(mixes),
        figsize=(5.5 * len(mixes), 1.5 + 0.5 * len(systems)),
        sharey=True,
        squeeze=False,
    )
    height = 0.8 / len(levels)
    for axis, mix in zip(axes[0], mixes, strict=True):
        for place, level in enumerate(levels):
            found = [row for row in measured if row.mix == mix and row.at_once == level]
            bars = axis.barh(
                [systems.index(row.system) + 0.4 - (place + 0.5) * height for row in found],
                [row.rtfx for row in found],
                height,
                label=f"{level} at once",
            )
            axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
        axis.set_title(mix)
        axis.set_xlabel("seconds of audio a second (RTFx)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.1)
    axes[0][0].set_yticks(range(len(systems)), systems)
    axes[0][-1].legend(loc="lower right", fontsize=8)
    figure.text(0.01, 0.005, machine, fontsize=6, color="0.4")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
