"""A server's metrics page, read and subtracted."""

from __future__ import annotations

import http.client
import math
import re
import urllib.request
from collections.abc import Iterable, Mapping

TIMEOUT_S = 10.0

_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


class MetricsPage:
    """The samples of one scrape in Prometheus's text format, or the difference of two."""

    def __init__(self, samples: _Samples) -> None:
        self._samples = dict(samples)

    @classmethod
    def parse(cls, page: str) -> MetricsPage:
        """Read a page."""
        return cls(
            {
                (match["name"], frozenset(_LABEL.findall(match["labels"] or ""))): float(
                    match["value"]
                )
                for match in _SAMPLE.finditer(page)
            }
        )

    @classmethod
    def scrape(cls, url: str) -> MetricsPage:
        """Fetch a page.

        Raises:
            OSError: no server answers there, or the answer is incomplete.
        """
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as page:
                return cls.parse(page.read().decode())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{url}: {error!r}") from error

    def __sub__(self, earlier: MetricsPage) -> MetricsPage:
        """The increase since then; a sample that was missing then began at 0."""
        before = earlier._samples
        return MetricsPage({key: v - before.get(key, 0.0) for key, v in self._samples.items()})

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 where there are none."""
        return sum(self.by_label(name, "", **labels).values())

    def by_label(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums for each value of a label, samples without it under the empty string."""
        found: dict[str, float] = {}
        for (sample, its_labels), value in self._samples.items():
            its = dict(its_labels)
            if sample == name and labels.items() <= its.items():
                key = its.get(label, "")
                found[key] = found.get(key, 0.0) + value
        return found

    def buckets(self, name: str) -> dict[float, int]:
        """A histogram's counts by the upper bounds of their buckets, the last infinite."""
        upto = {float(k): v for k, v in self.by_label(f"{name}_bucket", "le").items()}
        counts, below = {}, 0.0
        for bound in sorted(upto):
            counts[bound] = round(upto[bound] - below)
            below = upto[bound]
        return counts


def bucket_names(bounds: Iterable[float]) -> dict[float, str]:
    """What falls into a bucket of whole numbers: `2`, `3 to 4`, and for the last `5 and more`."""
    names, below = {}, 0
    for bound in sorted(bounds):
        if math.isinf(bound):
            names[bound] = f"{below + 1} and more"
        else:
            names[bound] = f"{bound:g}" if bound == below + 1 else f"{below + 1} to {bound:g}"
            below = int(bound)
    return names
