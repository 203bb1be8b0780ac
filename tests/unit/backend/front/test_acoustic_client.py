"""Windows are sent again after the acoustic model died, and after no other error."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.acoustic_client import MAX_DEVICES_LOST, BlsAcousticClient
from asr_backend.front.window_budget import WindowBudget
from asr_backend.triton_io.errors import Cancelled, UpstreamError
from asr_backend.triton_io.metrics import Metrics
from tests.support.backend.doubles import PbUtils

SAMPLES = np.zeros(800, np.float32)
DEAD = "Failed to process the request(s), message: Stub process 'wav2vec2_0_0' is not healthy."


class TritonModelError(Exception):
    """Stands in for pb_utils.TritonModelException."""


class Response:
    def __init__(self, error: tuple[str, int] | None = None) -> None:
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> Any:
        assert self._error is not None
        message, code = self._error
        return SimpleNamespace(message=lambda: message, code=lambda: code)


class Script:
    """A pb_utils whose BLS answers come from a list; the last one is repeated."""

    TritonModelException = TritonModelError
    TritonError = SimpleNamespace(UNAVAILABLE=14)

    def __init__(self, *answers: Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[Any] = []

    def Tensor(self, name: str, array: np.ndarray) -> Any:
        return SimpleNamespace(name=name, array=array)

    def InferenceRequest(self, **fields: Any) -> Any:
        self.requests.append(fields)
        return SimpleNamespace(async_exec=self._answer)

    async def _answer(self) -> Response:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get_output_tensor_by_name(self, response: Response, name: str) -> Any:
        assert name == "LOG_PROBS"
        return SimpleNamespace(as_numpy=lambda: np.ones((1, 2, 32), np.float32))


def calls(script: Script, **settings: float) -> BlsAcousticClient:
    return BlsAcousticClient(script, metrics=Metrics(PbUtils()), front="front_0", **settings)


def never() -> bool:
    return False


async def test_a_language_travels_as_a_parameter():
    script = Script(Response())
    for language in (None, "deu"):
        await calls(script).log_probs(SAMPLES, never, language)
    assert [request["parameters"] for request in script.requests] == [None, {"language": "deu"}]


async def test_a_window_goes_out_with_a_batch_dimension_and_comes_back_without():
    script = Script(Response())
    emissions = await calls(script).log_probs(SAMPLES, never)
    assert emissions.shape == (2, 32)
    (request,) = script.requests
    assert request["model_name"] == "wav2vec2"
    assert request["inputs"][0].array.shape == (1, 800)


@pytest.mark.parametrize(
    "dead",
    [
        Response((DEAD, 13)),
        Response(("Request for unknown model: 'wav2vec2' has no available versions", 5)),
        TritonModelError("Model wav2vec2 is not ready."),
    ],
)
async def test_a_restart_of_the_acoustic_model_costs_time_only(dead):
    script = Script(dead, dead, Response())
    emissions = await calls(script).log_probs(SAMPLES, never)
    assert emissions.shape == (2, 32)
    assert len(script.requests) == 3


async def test_a_model_that_stays_dead_is_engine_restarting():
    with pytest.raises(AsrError) as caught:
        await calls(Script(Response((DEAD, 13))), patience_s=0.2).log_probs(SAMPLES, never)
    assert caught.value.code is ErrorCode.ENGINE_RESTARTING


LOST = Response(("ENGINE_RESTARTING: the device failed, and its process starts again", 14))


async def test_a_lost_device_of_the_acoustic_model_costs_time_only():
    dead = Response((DEAD, 13))
    script = Script(LOST, dead, dead, LOST, dead, Response())
    emissions = await calls(script).log_probs(SAMPLES, never)
    assert emissions.shape == (2, 32)
    assert len(script.requests) == 6


async def test_a_window_under_which_devices_are_lost_is_not_sent_for_ever():
    script = Script(LOST)
    with pytest.raises(AsrError, match="lost its device in 3 tries") as caught:
        await calls(script).log_probs(SAMPLES, never)
    assert caught.value.code is ErrorCode.ENGINE_RESTARTING
    assert len(script.requests) == MAX_DEVICES_LOST


async def test_time_in_the_queue_is_not_time_that_the_model_was_dead():
    class SlowScript(Script):
        async def _answer(self) -> Response:
            await asyncio.sleep(0.3)
            return await super()._answer()

    script = SlowScript(Response((DEAD, 13)), Response())
    emissions = await calls(script, patience_s=0.2).log_probs(SAMPLES, never)
    assert emissions.shape == (2, 32)


async def test_a_stopping_server_is_unavailable_whatever_triton_calls_it():
    with pytest.raises(UpstreamError) as caught:
        await calls(Script(Response(("Server not ready", 13)))).log_probs(SAMPLES, never)
    assert caught.value.status == 14


@pytest.mark.parametrize(
    "words",
    [
        "Server not ready",
        "OUT_OF_MEMORY: 20.0 s do not fit",
        "Exceeds maximum queue size",
    ],
)
async def test_other_words_are_passed_on_at_once(words):
    script = Script(Response((words, 14)))
    with pytest.raises(UpstreamError) as caught:
        await calls(script).log_probs(SAMPLES, never)
    assert (caught.value.message, caught.value.status) == (words, 14)
    assert len(script.requests) == 1


async def test_a_caller_that_has_gone_ends_the_tries():
    script = Script(Response((DEAD, 13)))
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        await calls(script).log_probs(SAMPLES, lambda: next(answers))
    assert len(script.requests) == 2


async def test_a_front_that_is_replaced_while_it_works_takes_nothing_off_its_successor():
    pb_utils = PbUtils()
    # One for both: processes that use one name share its value.
    metrics = Metrics(pb_utils)
    in_flight = []

    class Watching(Script):
        async def _answer(self) -> Response:
            in_flight.append(pb_utils.metric("asr_windows_in_flight", front="front_0").value)
            # A heal does this: the new front has the name of the old one, which still works.
            BlsAcousticClient(self, metrics=metrics, front="front_0")
            return await super()._answer()

    old = BlsAcousticClient(Watching(Response()), metrics=metrics, front="front_0")
    await old.log_probs(SAMPLES, never)
    assert in_flight == [1]
    assert pb_utils.metric("asr_windows_in_flight", front="front_0").value == 0


async def test_a_window_without_room_waits_and_is_dropped_if_its_caller_goes():
    open_gate = asyncio.Event()

    class Gated(Script):
        async def _answer(self) -> Response:
            await open_gate.wait()
            return await super()._answer()

    script = Gated(Response())
    pb_utils = PbUtils()
    client = BlsAcousticClient(
        script,
        metrics=Metrics(pb_utils),
        front="front_0",
        room=WindowBudget(2 * len(SAMPLES)),
    )
    gone: set[int] = set()
    tasks = [
        asyncio.create_task(client.log_probs(SAMPLES, lambda number=number: number in gone))
        for number in range(5)
    ]
    await asyncio.sleep(0.01)
    assert len(script.requests) == 2
    waiting = pb_utils.metric("asr_windows_in_flight", front="front_0")
    assert waiting.value == 5
    gone.update((2, 3))
    tasks[4].cancel()
    open_gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [type(end) for end in ends]
    assert kinds == [np.ndarray, np.ndarray, Cancelled, Cancelled, asyncio.CancelledError]
    assert len(script.requests) == 2
    assert waiting.value == 0
