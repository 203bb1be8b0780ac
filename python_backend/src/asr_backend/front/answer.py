"""Answers one call exactly once, whatever happens to its work, and counts it afterwards."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from asr_backend.front.admission import Call
from asr_backend.front.stages import Stages
from asr_backend.triton_io.errors import Cancelled, Failure, failure
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.shared_memory import SharedMemory


class Answers:
    """Makes the answers of a front.

    Args:
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        shared_memory: the memory that answers need room in.
        timed: the histogram that gets the seconds of each call by its outcome; "" for none.
        failures: the counter of failed calls by outcome; "" for none.
    """

    def __init__(
        self,
        pb_utils: Any,
        metrics: Metrics,
        shared_memory: SharedMemory,
        *,
        timed: str = "",
        failures: str = "",
    ) -> None:
        self.pb_utils = pb_utils
        self.metrics = metrics
        self.shared_memory = shared_memory
        self.timed = timed
        self.failures = failures

    def to(self, request: Any, call: Call) -> Answer:
        """The answer to a request; to be entered at once."""
        return Answer(self, request.get_response_sender(), call)


class Answer:
    """A context. At its end the call is answered with the outputs given, or with its error.

    It swallows every error of the call, the cancellation of its task included: no other call fails.

    Attributes:
        stages: the time of the call by stage.
        is_cancelled: asks Triton whether the caller has gone; must not be called after the answer.
    """

    def __init__(self, answers: Answers, sender: Any, call: Call) -> None:
        self.stages = Stages()
        self._shared = answers
        self._sender = sender
        self._call = call
        # Kept until the answer is sent. Triton 24.10 drops outputs that the caller did not name
        # without holding the interpreter lock: if its reference is the last, it corrupts memory.
        self._outputs: list[Any] = []
        self._response: Any = None
        self._seconds: dict[str, float] = {}
        self._count_more: Callable[[], None] | None = None
        self.is_cancelled: Callable[[], bool] = sender.is_cancelled
        call.is_cancelled = self.is_cancelled

    async def give(
        self,
        values: Mapping[str, bytes],
        seconds: Mapping[str, float],
        *,
        count: Callable[[], None] | None = None,
    ) -> None:
        """Set the outputs of the call, and make sure that there is room to send them.

        Args:
            values: the one element of each output, by name.
            seconds: of each stage; counted after the answer is sent.
            count: called after the answer is sent, to count the call in more metrics.

        Raises:
            AsrError: OUT_OF_MEMORY if there is no room within three seconds.
        """
        self._outputs = [
            self._shared.pb_utils.Tensor(name, np.array([[value]], dtype=object))
            for name, value in values.items()
        ]
        self._seconds = dict(seconds)
        self._count_more = count
        await self._shared.shared_memory.hold(self._outputs, sum(map(len, values.values())))
        self._response = self._shared.pb_utils.InferenceResponse(output_tensors=self._outputs)

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        pb_utils = self._shared.pb_utils
        failed: Failure | None = None
        if isinstance(error, asyncio.CancelledError):
            failed = failure(pb_utils, Cancelled())
        elif isinstance(error, Exception):
            failed = failure(pb_utils, error)
        elif error is not None:
            return False
        self._send(failed)
        self._count(failed, self.stages.seconds()["total"])
        return True

    def _send(self, failed: Failure | None) -> None:
        pb_utils = self._shared.pb_utils
        response = self._response
        if failed is not None:
            response = pb_utils.InferenceResponse(error=failed.error)
        # A question after the answer would crash tritonserver.
        self._call.is_cancelled = None
        try:
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception:
            # The sender is closed all the same: Triton would refuse a second response.
            _log(f"An answer cannot be sent, its caller gets none.\n{traceback.format_exc()}")

    def _count(self, failed: Failure | None, took_s: float) -> None:
        """Count the call. The answer comes first: each metric is a round trip to Triton."""
        if failed is not None and failed.log:
            _log(failed.log)
        outcome = "ok" if failed is None else failed.outcome
        try:
            if self._shared.timed:
                self._shared.metrics.observe(self._shared.timed, took_s, outcome=outcome)
            if self._shared.failures and failed is not None:
                self._shared.metrics.add(self._shared.failures, outcome=outcome)
            if failed is None:
                for stage, value in self._seconds.items():
                    self._shared.metrics.observe("asr_stage_seconds", value, stage=stage)
                if self._count_more is not None:
                    self._count_more()
            elif failed.counter:
                self._shared.metrics.add(failed.counter, 1, **failed.labels)
        except Exception:
            _log(f"A call is not counted in the metrics.\n{traceback.format_exc()}")


def _log(text: str) -> None:
    # Triton's logger needs shared memory, and ends the process when there is none left.
    print(text, file=sys.stderr, flush=True)
