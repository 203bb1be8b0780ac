from __future__ import annotations

import pytest

from asr_gateway.errors import ApiError
from asr_gateway.keys import Key
from asr_gateway.limits import Limits
from asr_gateway.metrics import Metrics


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def key(**limits: float | int) -> Key:
    return Key(name="a", sha256="0" * 64, **limits)


def refused(limits: Limits, caller: Key) -> ApiError | None:
    try:
        with limits.recognition(caller):
            return None
    except ApiError as error:
        return error


def test_audio_flows_back_and_a_long_recording_is_a_debt():
    clock = Clock()
    limits = Limits(Metrics(), clock)
    caller = key(audio_s_per_minute=60.0)
    assert refused(limits, caller) is None
    limits.used(caller, 180.0)
    error = refused(limits, caller)
    assert error
    assert (error.status, error.type) == (429, "audio")
    assert error.retry_after_s == pytest.approx(120)
    clock.now_s += 119
    assert refused(limits, caller)
    clock.now_s += 2
    assert refused(limits, caller) is None


def test_no_more_than_a_minutes_worth_is_saved_up():
    clock = Clock()
    limits = Limits(Metrics(), clock)
    caller = key(audio_s_per_minute=60.0)
    refused(limits, caller)
    clock.now_s += 10_000
    limits.used(caller, 60.0)
    assert refused(limits, caller)


def test_a_changed_limit_begins_anew():
    limits = Limits(Metrics(), Clock())
    limits.used(key(audio_s_per_minute=1.0), 100.0)
    assert refused(limits, key(audio_s_per_minute=1.0))
    assert refused(limits, key(audio_s_per_minute=2.0)) is None


def test_recognitions_at_once_are_given_back():
    limits = Limits(Metrics())
    caller = key(at_once=2)
    with limits.recognition(caller), limits.recognition(caller):
        assert refused(limits, caller).type == "at_once"  # type: ignore[union-attr]
    for _ in range(3):
        with pytest.raises(RuntimeError), limits.recognition(caller):
            raise RuntimeError
    assert refused(limits, caller) is None


def test_without_limits_nothing_is_counted():
    limits = Limits(Metrics())
    for _ in range(1000):
        limits.request(key())
        limits.used(key(), 1e6)
        assert refused(limits, key()) is None
