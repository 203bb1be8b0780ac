"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def row(*cells: object) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*titles: str, numbers: bool = False) -> str:
    """The two lines above the rows; `numbers` aligns all columns but the first to the right."""
    column = "---:|" if numbers else "---|"
    return f"{row(*titles)}\n|---|{column * (len(titles) - 1)}"


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> str:
    """A whole table, without a line break at the end."""
    return "\n".join([head(*titles, numbers=numbers), *(row(*cells) for cells in rows)])
