"""NVIDIA's pytriton has a client of its own. It reads the models' configuration first."""

from __future__ import annotations

import pytest
from pytriton.client import AsyncioModelClient, FuturesModelClient, ModelClient
from pytriton.client.exceptions import PyTritonClientInferenceServerError

from tests.conformance.call import JUNK, MODEL, array, audio, expected

pytestmark = [
    pytest.mark.server,
    # Every client says over gRPC that it has no timeout for calls other than inference.
    pytest.mark.filterwarnings("ignore:tritonclient.grpc doesn't support timeout"),
]


def test_the_model_client(server_url: str) -> None:
    with ModelClient(f"grpc://{server_url}", MODEL) as client:
        assert {spec.name for spec in client.model_config.inputs} == {"AUDIO", "OPTIONS"}
        batch = client.infer_batch(AUDIO=array(audio()), OPTIONS=array(b"{}"))
        assert batch["TEXT"].tolist() == [[expected()]]
        sample = client.infer_sample(AUDIO=array(audio())[0], OPTIONS=array(b"{}")[0])
        assert sample["TEXT"].tolist() == [expected()]
        with pytest.raises(PyTritonClientInferenceServerError, match="UNSUPPORTED_FORMAT: "):
            client.infer_batch(AUDIO=array(JUNK), OPTIONS=array(b"{}"))


def test_the_acoustic_model_can_be_read_too(server_url: str) -> None:
    with ModelClient(f"grpc://{server_url}", "wav2vec2") as client:
        assert [spec.name for spec in client.model_config.outputs] == ["LOG_PROBS"]


def test_the_client_of_futures(server_url: str) -> None:
    # One worker: a second one of pytriton 0.7.0 forgets "grpc://" and speaks HTTP to the same port.
    with FuturesModelClient(f"grpc://{server_url}", MODEL, max_workers=1) as client:
        calls = [client.infer_batch(AUDIO=array(audio()), OPTIONS=array(b"{}")) for _ in range(3)]
        texts = [call.result(timeout=60)["TEXT"].tolist() for call in calls]
    assert texts == [[[expected()]]] * 3


async def test_the_client_of_asyncio(server_url: str) -> None:
    async with AsyncioModelClient(f"grpc://{server_url}", MODEL) as client:
        batch = await client.infer_batch(AUDIO=array(audio()), OPTIONS=array(b"{}"))
    assert batch["TEXT"].tolist() == [[expected()]]
