"""A double of Triton's `triton_python_backend_utils`, as strict as the real module.

Used as a module: `pb_utils = PbUtils()`.
"""

from __future__ import annotations

import json
import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np


class TritonError:
    """An error with its status."""

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
        self.is_in_shared_memory = False

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array

    def shape(self) -> list[int]:
        return list(self._array.shape)


class TritonModelException(Exception):
    """The exception of most calls of the real module."""


class InferenceResponse:
    """Tensors or an error."""

    def __init__(
        self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None
    ):
        self.tensors = {tensor.name(): tensor for tensor in output_tensors or []}
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError:
        assert self._error is not None
        return self._error


class SharedMemory:
    """The memory that a front and Triton share."""

    free: float = math.inf
    """Free bytes for tensors."""
    asked: int = 0
    """How often there was no room."""

    @classmethod
    def put(cls, tensors: list[Tensor]) -> None:
        """Give tensors a place, which they keep, or raise like Triton."""
        for tensor in tensors:
            values = tensor.as_numpy()
            size = sum(map(len, values.flat)) if values.dtype == object else values.nbytes
            if not tensor.is_in_shared_memory and size > cls.free:
                cls.asked += 1
                raise TritonModelException(
                    "Failed to increase the shared memory pool size for key 'front' to 1 bytes."
                )
            tensor.is_in_shared_memory = True


class InferenceRequest:
    """A call of a model from inside a model. Tests call a model that does not exist."""

    def __init__(
        self, *, model_name: str, requested_output_names: list[str], inputs: list[Tensor]
    ) -> None:
        assert requested_output_names
        self._model_name = model_name
        self._inputs = inputs

    async def async_exec(self) -> InferenceResponse:
        try:
            SharedMemory.put(self._inputs)
        except TritonModelException as error:
            return InferenceResponse(error=TritonError(str(error)))
        return InferenceResponse(error=TritonError(f"Model '{self._model_name}' is not ready."))


class ResponseSender:
    """Takes one final response, as that of a model that is not decoupled does.

    It is closed before the response finds room in shared memory, and behind the response it cannot
    be asked whether the caller has gone: that ends tritonserver.

    It does not keep the request, whose tensors would stay in memory with it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def send(self, response: InferenceResponse, *, flags: int) -> None:
        assert flags == PbUtils.TRITONSERVER_RESPONSE_COMPLETE_FINAL, "a caller that leaves between"
        if self._caller.is_closed:
            raise TritonModelException(
                "Unable to send response. Non-decoupled model cannot send more than one response."
            )
        self._caller.is_closed = True
        SharedMemory.put(list(response.tensors.values()))
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
    """The caller, who waits for the answer or has gone."""

    cancelled: bool
    is_closed: bool = False
    """Whether a final response was sent, or a try was made."""
    response: InferenceResponse | None = None

    def is_cancelled(self) -> bool:
        # In Triton 24.10 this uses freed memory, which crashes tritonserver.
        assert not self.is_closed, "is_cancelled after the final response"
        return self.cancelled


class Request:
    """A request with its inputs; `response` is its answer."""

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
        assert not self.response.has_error(), self.response.error().message()
        return self.response.tensors[name].as_numpy()

    def failure(self) -> tuple[str, str]:
        """Message and status of the answer, which must be an error."""
        assert self.response is not None, "not answered"
        assert self.response.has_error(), "no error"
        return self.response.error().message(), self.response.error().code()


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
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def log_info(self, message: str) -> None:
        self.infos.append(message)

    def log_warn(self, message: str) -> None:
        self.warnings.append(message)

    def log_error(self, message: str) -> None:
        self.errors.append(message)


class PbUtils:
    """The module."""

    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    TritonError = TritonError
    Tensor = Tensor
    InferenceResponse = InferenceResponse
    InferenceRequest = InferenceRequest

    def __init__(self) -> None:
        self.Logger = Logger()
        self.MetricFamily = type("MetricFamily", (MetricFamily,), {"families": {}})

    @staticmethod
    def get_input_tensor_by_name(request: Request, name: str) -> Tensor:
        return Tensor(name, request.inputs[name])

    def metric(self, name: str, **labels: str) -> Metric:
        """A metric that exists already."""
        return self.MetricFamily.families[name].metrics[tuple(sorted(labels.items()))]
