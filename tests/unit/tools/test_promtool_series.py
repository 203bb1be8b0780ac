from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tools.promql import Selector, selectors
from tools.promtool_series import encode, input_series


def decode(text: str) -> list[float | None]:
    """As promtool's documentation says."""
    found: list[float | None] = []
    for word in text.split():
        if word == "stale":
            found.append(None)
        elif match := re.fullmatch(r"_x(\d+)", word):
            found += [None] * int(match[1])
        else:
            value, _, times = word.partition("x")
            found += [float(value)] * (int(times or 0) + 1)
    return found


@given(
    st.lists(st.none() | st.integers(0, 3).map(float) | st.sampled_from([0.25, 1e9]), min_size=1)
)
def test_values_are_written_as_promtool_reads_them(values):
    assert decode(encode(values)) == values


def test_a_series_that_ends_is_stale():
    assert encode([None, None, 1.0, 1.0, None, None, 2.5]) == "_x2 1x1 stale _x1 2.5"


def test_only_what_the_rules_ask_for_is_kept():
    labels = frozenset({("job", "triton")})
    scrapes = [{("up", labels): 1.0, ("other", labels): 5.0}, {("up", labels): 0.0}]
    found = input_series(scrapes, selectors('up{job=~"triton|x"} == 0'), {})
    assert found == [{"series": 'up{job="triton"}', "values": "1 0"}]
    assert input_series(scrapes, selectors("other"), {"other": 4.0}) == [
        {"series": 'other{job="triton"}', "values": "1 stale"}
    ]


def test_selectors_match_as_prometheus_does():
    (selector,) = selectors('rate(a{x!~"b|c",y="",z!="q"}[5m])')
    assert selector.selects("a", {"x": "bc", "z": "r"})
    for labels in ({"x": "b"}, {"y": "1"}, {"z": "q"}):
        assert not selector.selects("a", labels)
    assert not selector.selects("b", {})
    assert selectors("1 + a") == {Selector("a", frozenset())}
