"""The acoustic model on the real server, called directly over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.support.server.metrics_page import value
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

CALL_S = 60.0
"""Deadline of one call: generous, the machine may be busy."""


@pytest.fixture
async def client(server_url: str) -> AsyncIterator[InferenceServerClient]:
    async with InferenceServerClient(server_url) as client:
        yield client


def clip(length: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((1, length)).astype(np.float32)
    return np.float32(0.1) * noise


async def log_probs(
    client: InferenceServerClient, samples: np.ndarray, **options: Any
) -> np.ndarray:
    tensor = InferInput("SAMPLES", list(samples.shape), "FP32")
    tensor.set_data_from_numpy(samples)
    result = await client.infer("wav2vec2", [tensor], client_timeout=CALL_S, **options)
    return result.as_numpy("LOG_PROBS")


async def test_32_unequal_clips_at_once_equal_one_by_one(
    client: InferenceServerClient, server: LocalServer
) -> None:
    lengths = np.random.default_rng(1).integers(400, 32_000, 30).tolist()
    clips = [clip(length, seed) for seed, length in enumerate([400, 32_000, *lengths])]
    alone = [await log_probs(client, samples) for samples in clips]
    before = value(server.metrics(), "asr_forward_windows_count")
    together = await asyncio.gather(*(log_probs(client, samples) for samples in clips))
    assert value(server.metrics(), "asr_forward_windows_count") - before < len(clips)
    for samples, one, other in zip(clips, alone, together, strict=True):
        assert one.shape == (1, (samples.size - 400) // 320 + 1, 32)
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-4 * one.std()
        assert (one.argmax(-1) == other.argmax(-1)).all()


async def test_a_clip_shorter_than_a_frame_is_one_frame(client: InferenceServerClient) -> None:
    assert (await log_probs(client, clip(1))).shape == (1, 1, 32)


HOLES = clip(1_000).copy()
HOLES[0, 5] = np.nan


@pytest.mark.parametrize(
    ("samples", "parameters", "message"),
    [
        (clip(0), {}, "EMPTY_AUDIO: "),
        (clip(21 * 16_000), {}, "AUDIO_TOO_LONG: 21.0 s, the limit of one window is 20 s"),
        (HOLES, {}, "NON_FINITE_SAMPLES: 1 of 1000 samples"),
        (clip(1_600).reshape(2, 800), {}, "BAD_SHAPE: SAMPLES has shape [2, 800]"),
        (clip(800), {"language": "deu"}, "UNKNOWN_LANGUAGE: 'deu'"),
    ],
)
async def test_errors_have_a_code_and_leave_their_neighbours_alone(
    client: InferenceServerClient, samples: np.ndarray, parameters: dict[str, str], message: str
) -> None:
    good = [log_probs(client, clip(16_000)) for _ in range(4)]
    bad = log_probs(client, samples, parameters=parameters)
    results = await asyncio.gather(*good[:2], bad, *good[2:], return_exceptions=True)
    error = results.pop(2)
    assert isinstance(error, InferenceServerException)
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert message in error.message()
    assert [result.shape for result in results] == [(1, 49, 32)] * 4


async def test_bad_windows_without_a_good_one_do_no_harm(client: InferenceServerClient) -> None:
    for _ in range(30):
        with pytest.raises(InferenceServerException, match="NON_FINITE_SAMPLES"):
            await log_probs(client, HOLES)
    assert (await log_probs(client, clip(16_000))).shape == (1, 49, 32)


async def test_a_wrong_dtype_is_tritons_own_complaint(client: InferenceServerClient) -> None:
    tensor = InferInput("SAMPLES", [1, 800], "INT16")
    tensor.set_data_from_numpy(np.zeros((1, 800), np.int16))
    with pytest.raises(InferenceServerException, match="data-type") as caught:
        await client.infer("wav2vec2", [tensor], client_timeout=CALL_S)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


async def leave_early(client: InferenceServerClient, window: np.ndarray, *, callers: int) -> None:
    """Cancel all calls when two are answered; return when the model has finished."""
    calls = [asyncio.ensure_future(log_probs(client, window)) for _ in range(callers)]
    while sum(call.done() for call in calls) < 2:
        await asyncio.wait(
            [call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED
        )
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await log_probs(client, clip(800))


async def test_windows_of_callers_who_left_are_not_computed(
    client: InferenceServerClient, server: LocalServer
) -> None:
    before = value(server.metrics(), "asr_cancelled_total")
    # Triton chooses the batches. The model drops the windows of a running batch, Triton drops those
    # that still wait, and a batch of one leaves none to drop.
    for _ in range(10):
        await leave_early(client, clip(20 * 16_000), callers=24)
        if value(server.metrics(), "asr_cancelled_total") > before:
            break
    else:
        pytest.fail("no window was dropped")
    assert (await log_probs(client, clip(800))).shape == (1, 2, 32)
