"""NVIDIA's tritonclient over gRPC: its classes, sync, asyncio and stream, and the bare stubs."""

from __future__ import annotations

import asyncio
import queue
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.conformance.call import JUNK, MODEL, audio, expected, tritonclient_inputs

pytestmark = pytest.mark.server

RECORDINGS = [audio(), JUNK, audio()]


def test_the_client(server_url: str) -> None:
    with tritonclient.grpc.InferenceServerClient(server_url) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.get_server_metadata().name == "triton"
        metadata = client.get_model_metadata(MODEL)
        assert [output.name for output in metadata.outputs] == ["TEXT", "RESULT"]
        assert client.get_model_config(MODEL).config.name == MODEL
        assert client.get_inference_statistics(MODEL).model_stats[0].name == MODEL
        inputs = tritonclient_inputs(tritonclient.grpc, audio())
        named = [tritonclient.grpc.InferRequestedOutput("TEXT")]
        result = client.infer(MODEL, inputs, request_id="mine", outputs=named)
        assert result.as_numpy("TEXT").tolist() == [[expected()]]
        assert result.as_numpy("RESULT") is None
        assert result.get_response().id == "mine"

        answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.async_infer(MODEL, inputs, lambda result, error: answers.put((result, error)))
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.as_numpy("TEXT").tolist() == [[expected()]]


async def test_the_client_of_asyncio(server_url: str) -> None:
    async with tritonclient.grpc.aio.InferenceServerClient(server_url) as client:
        assert await client.is_model_ready(MODEL)
        inputs = tritonclient_inputs(tritonclient.grpc.aio, audio())
        results = await asyncio.gather(*(client.infer(MODEL, inputs) for _ in range(3)))
        assert [result.as_numpy("TEXT").item() for result in results] == [expected()] * 3
        with pytest.raises(InferenceServerException, match="UNSUPPORTED_FORMAT: "):
            await client.infer(MODEL, tritonclient_inputs(tritonclient.grpc.aio, JUNK))


def test_a_stream(server_url: str) -> None:
    """One answer for each request; an error in one of them leaves the stream open."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server_url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        texts = []
        # One after another: a stream answers in the order in which calls finish.
        for recording in RECORDINGS:
            inputs = tritonclient_inputs(tritonclient.grpc, recording)
            client.async_stream_infer(MODEL, inputs)
            result, error = answers.get(timeout=60)
            texts.append(error.message() if error else result.as_numpy("TEXT").item())
        client.stop_stream()
    assert texts[::2] == [expected()] * 2
    assert texts[1].startswith("UNSUPPORTED_FORMAT: ")


async def test_a_stream_of_asyncio(server_url: str) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for _ in range(2):
            inputs = tritonclient_inputs(tritonclient.grpc.aio, audio())
            yield {"model_name": MODEL, "inputs": inputs}

    async with tritonclient.grpc.aio.InferenceServerClient(server_url) as client:
        answers = [answer async for answer in client.stream_infer(requests())]
    assert [error for _, error in answers] == [None, None]
    assert [result.as_numpy("TEXT").item() for result, _ in answers] == [expected()] * 2


def test_the_generated_stubs(server_url: str) -> None:
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, value in (("OPTIONS", b"{}"), ("AUDIO", audio())):
        request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(struct.pack("<I", len(value)) + value)
    typed = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, value in (("AUDIO", audio()), ("OPTIONS", b"{}")):
        tensor = typed.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        tensor.contents.bytes_contents.append(value)
    with grpc.insecure_channel(server_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for one in (request, typed):
            response = stub.ModelInfer(one, timeout=60)
            names = [output.name for output in response.outputs]
            values = dict(zip(names, response.raw_output_contents, strict=True))
            assert values["TEXT"][4:] == expected()
