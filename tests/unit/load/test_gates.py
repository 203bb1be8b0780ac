import pytest

from load_tests.gates import Gates, Measured

GATES = Gates(max_failures=0.01, max_p95_s=2.0)


def test_kept_at_the_very_limits():
    assert GATES.broken(Measured(requests=200, failures=2, p95_s=2.0)) == []


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        (Measured(requests=0, failures=0, p95_s=0.0), ["requests: none was made"]),
        (
            Measured(requests=200, failures=3, p95_s=0.1),
            ["failures: 3 of 200 calls (1.50%), the limit is 1.00%"],
        ),
        (
            Measured(requests=200, failures=0, p95_s=2.5),
            ["p95: 2.500 s, the limit is 2.000 s"],
        ),
    ],
)
def test_each_broken_limit_is_named(measured, named):
    assert GATES.broken(measured) == named


def test_all_broken_limits_are_named():
    assert len(GATES.broken(Measured(requests=1, failures=1, p95_s=9.0))) == 2
