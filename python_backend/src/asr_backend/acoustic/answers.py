"""Sends the responses of the Triton model `wav2vec2`: one for each request of a batch."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from asr_backend.acoustic.features import Emissions
from asr_backend.errors import AsrError, internal_error
from asr_backend.triton_io.errors import triton_error
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.precedence import COME_AGAIN


class Answers:
    """Sends answers through the requests' own response senders.

    Args:
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
    """

    def __init__(self, pb_utils: Any, metrics: Metrics) -> None:
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._open: list[Any] = []

    def expect(self, requests: Sequence[Any]) -> None:
        """Begin a batch."""
        self._open = list(requests)

    def send(self, request: Any, log_probs: Emissions) -> None:
        """Answer with a window's log-probabilities."""
        try:
            tensor = self._pb_utils.Tensor("LOG_PROBS", log_probs[None])
            self._send(request, self._pb_utils.InferenceResponse(output_tensors=[tensor]))
        except Exception as error:
            self.fail(request, error)

    def fail(self, request: Any, error: Exception) -> None:
        """Answer with an error. If it is no AsrError, it is a bug, and its traceback is logged."""
        if not isinstance(error, AsrError):
            cause, error = error, internal_error()
            trace = "".join(traceback.format_exception(cause))
            self._pb_utils.Logger.log_error(f"{error}\n{trace}")
        self._metrics.add("asr_errors_total", code=error.code.value)
        self._send_error(request, triton_error(self._pb_utils, error))

    def fail_the_rest(self, error: AsrError) -> None:
        """Answer all unanswered requests of the batch."""
        for request in self._open:
            self.fail(request, error)

    def defer(self, request: Any) -> None:
        """Answer that the window is to come again."""
        status = self._pb_utils.TritonError.UNAVAILABLE
        self._send_error(request, self._pb_utils.TritonError(COME_AGAIN, status))
        self._metrics.add("asr_deferred_windows_total")

    def drop_if_cancelled(self, request: Any) -> bool:
        """Whether the caller has cancelled; then the request is answered."""
        if not request.is_cancelled():
            return False
        self._metrics.add("asr_cancelled_total")
        status = self._pb_utils.TritonError.CANCELLED
        self._send_error(request, self._pb_utils.TritonError("the caller has gone", status))
        return True

    def _send_error(self, request: Any, error: Any) -> None:
        try:
            self._send(request, self._pb_utils.InferenceResponse(error=error))
        except Exception as failed:
            # An exception that leaves `execute` makes Triton answer the batch a second time, which
            # corrupts its memory.
            self._pb_utils.Logger.log_error(f"an answer could not be sent: {failed!r}")

    def _send(self, request: Any, response: Any) -> None:
        self._open = [other for other in self._open if other is not request]
        request.get_response_sender().send(
            response, flags=self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        )
