"""What each key may use: requests and audio seconds a minute, and recognitions at once."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from asr_gateway.errors import rate_limited
from asr_gateway.keys import Key
from asr_gateway.metrics import Metrics

MINUTE_S = 60.0
AT_ONCE_RETRY_S = 1.0


class Limits:
    """Counts by key name, in this process.

    Args:
        metrics: counts the refusals.
        clock: seconds that never go back.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._requests = MovingWindowRateLimiter(MemoryStorage())
        self._audio: dict[str, _AudioBudget] = {}
        self._running: Counter[str] = Counter()

    def request(self, key: Key) -> None:
        """Count a request.

        Raises:
            ApiError: 429.
        """
        if key.requests_per_minute is None:
            return
        item = RateLimitItemPerMinute(key.requests_per_minute)
        if self._requests.hit(item, key.name):
            return
        reset_s = self._requests.get_window_stats(item, key.name).reset_time - time.time()
        raise self._refused(
            key, "requests", f"{key.requests_per_minute} requests a minute", max(reset_s, 0.1)
        )

    @contextlib.contextmanager
    def recognition(self, key: Key) -> Iterator[None]:
        """Count a recognition while it runs.

        Raises:
            ApiError: 429, before anything has run.
        """
        if key.at_once is not None and self._running[key.name] >= key.at_once:
            raise self._refused(
                key, "at_once", f"{key.at_once} recognitions at once", AT_ONCE_RETRY_S
            )
        self._check_audio(key)
        self._running[key.name] += 1
        try:
            yield
        finally:
            self._running[key.name] -= 1
            if not self._running[key.name]:
                del self._running[key.name]

    def used(self, key: Key, duration_s: float) -> None:
        """Take a recording's seconds, which only its answer tells, from the key's budget."""
        if key.audio_s_per_minute is not None:
            self._budget(key, key.audio_s_per_minute).take(duration_s, self._clock())

    def _check_audio(self, key: Key) -> None:
        if key.audio_s_per_minute is None:
            return
        wait_s = self._budget(key, key.audio_s_per_minute).wait_s(self._clock())
        if wait_s > 0:
            raise self._refused(
                key, "audio", f"{key.audio_s_per_minute:g} seconds of audio a minute", wait_s
            )

    def _budget(self, key: Key, per_minute_s: float) -> _AudioBudget:
        budget = self._audio.get(key.name)
        if budget is None or budget.per_minute_s != per_minute_s:
            budget = self._audio[key.name] = _AudioBudget(per_minute_s, self._clock())
        return budget

    def _refused(self, key: Key, limit: str, what: str, retry_after_s: float) -> Exception:
        self._metrics.limited.labels(limit).inc()
        return rate_limited(
            f"The key {key.name!r} has its limit of {what}.",
            kind=limit,
            retry_after_s=retry_after_s,
        )


class _AudioBudget:
    """Seconds of audio that flow back evenly, at most a minute's worth; it may be in debt.

    A recording's length is known after its recognition, so a long one is paid for afterwards.
    """

    def __init__(self, per_minute_s: float, now_s: float) -> None:
        self.per_minute_s = per_minute_s
        self._left_s = per_minute_s
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next recording may begin; 0 for now."""
        self._flow(now_s)
        if self._left_s > 0:
            return 0.0
        return max(0.001, -self._left_s / self.per_minute_s * MINUTE_S)

    def take(self, duration_s: float, now_s: float) -> None:
        """Pay for a recording."""
        self._flow(now_s)
        self._left_s -= duration_s

    def _flow(self, now_s: float) -> None:
        back_s = (now_s - self._at_s) / MINUTE_S * self.per_minute_s
        self._left_s = min(self.per_minute_s, self._left_s + back_s)
        self._at_s = now_s
