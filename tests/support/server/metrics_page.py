"""Reading Triton's metrics page."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


def value(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels.

    Raises:
        KeyError: the page has none.
    """
    found = [
        float(match["value"])
        for match in _SAMPLE.finditer(page)
        if match["name"] == name
        and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match["labels"] or "")).items()
    ]
    if not found:
        raise KeyError(f"{name}{labels or ''}")
    return sum(found)
