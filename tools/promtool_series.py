"""Scrapes of a real server as the series of a promtool test."""

from __future__ import annotations

import math
import re
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from tools.promql import Selector

Scrape = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""
_SCRAPE_S = 10.0
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(url: str, target: Mapping[str, str]) -> Scrape:
    """One scrape of a page, with `up` as Prometheus adds it.

    Args:
        url: of the page.
        target: labels of the target, `instance` and `job`.
    """
    labels = frozenset(target.items())
    try:
        with urllib.request.urlopen(url, timeout=_SCRAPE_S) as page:
            text = page.read().decode()
    except OSError:
        return {("up", labels): 0.0}
    return {**samples(text, labels), ("up", labels): 1.0}


def samples(page: str, labels: frozenset[tuple[str, str]] = frozenset()) -> Scrape:
    """The samples of a page in Prometheus's text format, with more labels."""
    return {
        (match["name"], labels | frozenset(_LABEL.findall(match["labels"] or ""))): float(
            match["value"]
        )
        for match in _SAMPLE.finditer(page)
    }


def input_series(
    scrapes: Sequence[Scrape], wanted: Iterable[Selector], shifted: Mapping[str, float]
) -> list[dict[str, str]]:
    """The entries of promtool's `input_series`, sorted.

    Args:
        scrapes: one after the other.
        wanted: the selectors of the rules; other series are left out.
        shifted: by metric, what is subtracted from its values.
    """
    selectors = tuple(wanted)
    keys = {
        key
        for each in scrapes
        for key in each
        if any(selector.selects(key[0], dict(key[1])) for selector in selectors)
    }
    series = []
    for name, labels in keys:
        values = [each.get((name, labels)) for each in scrapes]
        shift = shifted.get(name, 0.0)
        inner = ",".join(f'{key}="{value}"' for key, value in sorted(labels))
        text = encode([None if value is None else value - shift for value in values])
        series.append({"series": f"{name}{{{inner}}}", "values": text})
    return sorted(series, key=lambda each: each["series"])


def encode(values: Sequence[float | None]) -> str:
    """Values in promtool's notation; None is no sample, and `stale` the first after a sample."""
    words: list[str] = []
    begin = 0
    while begin < len(values):
        value, end = values[begin], begin
        while end + 1 < len(values) and values[end + 1] == value:
            end += 1
        count = end - begin + 1
        if value is None and begin:
            words.append("stale")
            count -= 1
            if count:
                words.append(f"_x{count}")
        elif value is None:
            words.append(f"_x{count}")
        else:
            words.append(_number(value) + (f"x{count - 1}" if count > 1 else ""))
        begin = end + 1
    return " ".join(words)


def _number(value: float) -> str:
    if math.isinf(value) or math.isnan(value):
        return {math.inf: "Inf", -math.inf: "-Inf"}.get(value, "NaN")
    return f"{value:.0f}" if value == round(value) else f"{value:.6g}"
