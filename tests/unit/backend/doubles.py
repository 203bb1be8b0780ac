"""A double of Triton's `triton_python_backend_utils`, as strict as the real one where it matters.

Used as a module: `pb_utils = PbUtils()`.
"""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np


class TritonError:
    """An error with the status that it travels with."""

    INTERNAL, INVALID_ARG, UNAVAILABLE, CANCELLED = (
        "INTERNAL",
        "INVALID_ARG",
        "UNAVAILABLE",
        "CANCELLED",
    )

    def __init__(self, message: str, code: str = "INTERNAL") -> None:
        self._message = message
        self._code = code

    def message(self) -> str:
        return self._message

    def code(self) -> str:
        return self._code


class Tensor:
    """A named array."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name = name
        self._array = array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array

    def shape(self) -> list[int]:
        return list(self._array.shape)


class InferenceResponse:
    """Tensors or an error."""

    def __init__(
        self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None
    ):
        self.tensors = {tensor.name(): tensor for tensor in output_tensors or []}
        self.error = error


class ResponseSender:
    """Takes exactly one final response, as that of a model that is not decoupled does.

    It does not keep the request, whose tensors would stay in memory with it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def send(self, response: InferenceResponse, *, flags: int) -> None:
        assert flags == PbUtils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        assert self._caller.response is None, "a second response"
        # Triton may drop any output here, and must not be the last to hold it.
        outputs = [weakref.ref(response.tensors.pop(name)) for name in list(response.tensors)]
        held = [output() for output in outputs]
        assert None not in held, "an output is freed without the interpreter's lock"
        response.tensors = {tensor.name(): tensor for tensor in held}
        self._caller.response = response

    def is_cancelled(self) -> bool:
        return self._caller.is_cancelled()


@dataclass
class Caller:
    """Who waits for an answer, or does not any more."""

    cancelled: bool
    response: InferenceResponse | None = None

    def is_cancelled(self) -> bool:
        # In Triton 24.10 that is a use of freed memory, which ends tritonserver.
        assert self.response is None, "is_cancelled after the final response"
        return self.cancelled


class Request:
    """A request with its inputs; `response` is what it was answered with."""

    def __init__(
        self,
        *,
        cancelled: bool = False,
        parameters: dict[str, Any] | None = None,
        **inputs: np.ndarray,
    ):
        self.inputs = inputs
        self.caller = Caller(cancelled)
        self._parameters = parameters or {}

    @property
    def response(self) -> InferenceResponse | None:
        return self.caller.response

    def is_cancelled(self) -> bool:
        return self.caller.is_cancelled()

    def parameters(self) -> str:
        return json.dumps(self._parameters)

    def get_response_sender(self) -> ResponseSender:
        return ResponseSender(self.caller)

    def output(self, name: str) -> np.ndarray:
        """An output of the answer, which must not be an error."""
        assert self.response is not None, "not answered"
        assert self.response.error is None, self.response.error.message()
        return self.response.tensors[name].as_numpy()

    def failure(self) -> tuple[str, str]:
        """Message and status of the answer, which must be an error."""
        assert self.response is not None, "not answered"
        assert self.response.error is not None, "no error"
        return self.response.error.message(), self.response.error.code()


class Metric:
    """One value, or the values observed."""

    def __init__(self, kind: str, buckets: list[float] | None) -> None:
        assert (buckets is not None) == (kind == MetricFamily.HISTOGRAM)
        self._kind = kind
        self.value = 0.0
        self.observed: list[float] = []

    def increment(self, amount: float) -> None:
        assert self._kind == MetricFamily.GAUGE or (
            self._kind == MetricFamily.COUNTER and amount >= 0
        )
        self.value += amount

    def set(self, value: float) -> None:
        assert self._kind == MetricFamily.GAUGE
        self.value = value

    def observe(self, value: float) -> None:
        assert self._kind == MetricFamily.HISTOGRAM
        self.observed.append(value)


class MetricFamily:
    """Metrics of one name, by their labels."""

    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
    families: dict[str, MetricFamily]

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        assert name
        assert description
        self.kind = kind
        self.metrics: dict[tuple[tuple[str, str], ...], Metric] = {}
        self.families[name] = self

    def Metric(self, *, labels: dict[str, str], buckets: list[float] | None = None) -> Metric:
        return self.metrics.setdefault(tuple(sorted(labels.items())), Metric(self.kind, buckets))


class Logger:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.infos: list[str] = []

    def log_info(self, message: str) -> None:
        self.infos.append(message)

    def log_error(self, message: str) -> None:
        self.errors.append(message)


class PbUtils:
    """The module."""

    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    TritonError = TritonError
    Tensor = Tensor
    InferenceResponse = InferenceResponse

    def __init__(self) -> None:
        self.Logger = Logger()
        self.MetricFamily = type("MetricFamily", (MetricFamily,), {"families": {}})

    @staticmethod
    def get_input_tensor_by_name(request: Request, name: str) -> Tensor:
        return Tensor(name, request.inputs[name])

    def metric(self, name: str, **labels: str) -> Metric:
        """A metric that exists already."""
        return self.MetricFamily.families[name].metrics[tuple(sorted(labels.items()))]
