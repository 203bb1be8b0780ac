"""Panels and dashboards, and the queries that many panels are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Query = tuple[str, str]
"""PromQL, and the legend of its series with `{{label}}` for a label."""


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: its title.
        queries: what it draws.
        unit: Grafana's name of the unit.
        about: shown where the pointer is on the panel's corner.
        most: the upper end of the axis; None leaves it to the values.
        stacked: whether the series are stacked.
    """

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    about: str = ""
    most: float | None = None
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """Rows of panels by their titles, for the servers or gateways that a variable chooses."""

    uid: str
    title: str
    variable: str
    variable_query: str
    rows: Sequence[tuple[str, Sequence[Panel]]]


SERVERS = 'server=~"$server"'
GATEWAYS = 'instance=~"$gateway"'
_R = "[$__rate_interval]"


def rate(metric: str, legend: str, labels: str = SERVERS) -> Query:
    """A counter's rate; a legend `{{label}}` at the beginning sums by that label."""
    by = f" by ({legend[2 : legend.index('}}')]}) " if legend.startswith("{{") else ""
    return f"sum{by}(rate({metric}{{{labels}}}{_R}))", legend


def increase(metric: str, legend: str, by: str = "") -> Query:
    """How much a counter grew in five minutes."""
    return f"sum{by}(increase({metric}{{{SERVERS}}}[5m]))", legend


def quantile(share: float, metric: str, labels: str, by: str = "") -> str:
    """A quantile of a histogram, one for each value of a label if one is given."""
    grouped = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({grouped}) (rate({metric}_bucket{{{labels}}}{_R})))"
    )


def quantiles(metric: str, labels: str) -> list[Query]:
    """Three quantiles of a histogram."""
    return [(quantile(q, metric, labels), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)]


def ratio(above: str, below: str) -> str:
    """The rate of one counter over that of another."""
    return f"sum(rate({above}{{{SERVERS}}}{_R})) / sum(rate({below}{{{SERVERS}}}{_R}))"
