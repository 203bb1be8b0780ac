import itertools
import statistics

import pytest

from load_tests.run.arrivals import Arrivals
from load_tests.run.scenarios import SCENARIOS

STEADY, SPIKE = SCENARIOS["steady"], SCENARIOS["spike"]


def times(text, scenario=STEADY, duration_s=100.0, seed=0):
    return list(Arrivals.parse(text).times(scenario, duration_s, seed))


def test_constant_arrivals_are_evenly_apart():
    assert times("constant:2", duration_s=3) == [0, 0.5, 1, 1.5, 2, 2.5]


def test_poisson_arrivals_keep_their_rate_and_know_nothing_of_the_last():
    found = times("poisson:50")
    assert len(found) == pytest.approx(5000, rel=0.05)
    gaps = [b - a for a, b in itertools.pairwise(found)]
    # An exponential distribution's deviation is its mean.
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.1)
    assert found == sorted(found)
    assert 0 <= found[0] < found[-1] < 100


def test_the_seed_fixes_a_poisson_schedule():
    assert times("poisson:50") == times("poisson:50")
    assert times("poisson:50") != times("poisson:50", seed=1)


@pytest.mark.parametrize("kind", ["constant", "poisson"])
def test_stages_scale_the_rate(kind):
    found = times(f"{kind}:80", SPIKE)
    counts = [sum(a <= at < b for at in found) for a, b in ((0, 40), (40, 60), (60, 100))]
    assert counts == pytest.approx([400, 1600, 400], rel=0.15)


def test_a_trace_is_taken_as_it_is(tmp_path):
    trace = tmp_path / "trace.txt"
    trace.write_text("0\n0.5\n0.5\n2.25\n")
    assert times(f"trace:{trace}") == [0, 0.5, 0.5, 2.25]
    assert times(f"trace:{trace}", duration_s=1) == [0, 0.5, 0.5]


@pytest.mark.parametrize("lines", ["", "1\n0.5\n", "-1\n", "soon\n"])
def test_a_trace_that_does_not_rise_from_0_is_refused(tmp_path, lines):
    trace = tmp_path / "trace.txt"
    trace.write_text(lines)
    with pytest.raises(ValueError, match=r"do not rise|could not convert"):
        Arrivals.parse(f"trace:{trace}")


@pytest.mark.parametrize(
    "text",
    ["constant", "constant:", "constant:0", "poisson:-1", "poisson:inf", "often:3", "trace:"],
)
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(ValueError, match="is not constant:RATE, poisson:RATE or trace:FILE"):
        Arrivals.parse(text)
