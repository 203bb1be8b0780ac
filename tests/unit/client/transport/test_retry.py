from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import (
    AsrError,
    EngineRestarting,
    InvalidAudio,
    OutOfMemory,
    RetryPolicy,
    ServerBusy,
    ServerDraining,
    ServerUnavailable,
)
from asr_client._transport.retry import backoff_s, should_retry


def retries(kind: type[AsrError], policy: RetryPolicy | None = None) -> int:
    """How often a call is sent again when every attempt ends so."""
    policy = policy or RetryPolicy(max_attempts=8)
    error = kind(status="")
    attempts = 1
    while should_retry(error, same_errors=attempts, attempts=attempts, policy=policy):
        attempts += 1
    return attempts - 1


@pytest.mark.parametrize("kind", [ServerUnavailable, ServerBusy, ServerDraining])
def test_an_absent_server_is_tried_as_often_as_the_policy_says(kind: type[AsrError]) -> None:
    assert retries(kind) == 7
    assert retries(kind, RetryPolicy(max_attempts=1)) == 0


@pytest.mark.parametrize(
    ("kind", "count"), [(OutOfMemory, 1), (EngineRestarting, 2), (InvalidAudio, 0), (AsrError, 0)]
)
def test_what_the_request_may_have_caused_is_tried_again_seldom(
    kind: type[AsrError], count: int
) -> None:
    assert retries(kind) == count


@given(
    attempts=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
    initial=st.floats(0, 10),
    longest=st.floats(0, 100),
)
def test_waits_stay_below_their_bound(
    attempts: int, jitter: float, initial: float, longest: float
) -> None:
    policy = RetryPolicy(initial_backoff_s=initial, max_backoff_s=longest)
    pause_s = backoff_s(attempts=attempts, policy=policy, jitter=jitter)
    assert 0 <= pause_s <= longest
    assert pause_s <= initial * 2.0 ** min(attempts, 64)


def test_the_bound_doubles() -> None:
    policy = RetryPolicy(initial_backoff_s=0.1, max_backoff_s=1.0)
    bounds = [backoff_s(attempts=n, policy=policy, jitter=1.0) for n in range(1, 7)]
    assert bounds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"initial_backoff_s": -1},
        {"max_backoff_s": math.inf},
        {"max_backoff_s": math.nan},
        {"backoff_multiplier": 0.5},
    ],
)
def test_a_senseless_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
