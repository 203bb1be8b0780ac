"""The contract on the wire, spoken by NVIDIA's own client, as any other language would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2
from tritonclient.utils import InferenceServerException

from tests.support.recordings import FOLDER, pcm

RECORDING = (FOLDER / "cards-001-ten-of-clubs.wav").read_bytes()


@pytest.fixture
def triton(url: str) -> Iterator[Any]:
    client = InferenceServerClient(url)
    yield client
    client.close()


def tensor(name: str, *values: bytes, shape: tuple[int, ...] | None = None) -> Any:
    shape = shape or (len(values), 1)
    made = InferInput(name, list(shape), "BYTES")
    made.set_data_from_numpy(np.array(values, dtype=np.object_).reshape(shape))
    return made


def fails(triton: Any, *inputs: Any, model: str = "transcribe") -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, list(inputs), client_timeout=60)
    status = str(caught.value.status()).removeprefix("StatusCode.")
    return status, caught.value.message()


def test_a_recording_becomes_text_and_result(triton: Any) -> None:
    answer = triton.infer(
        "transcribe",
        [tensor("AUDIO", RECORDING), tensor("OPTIONS", b"{}")],
        request_id="mine",
        client_timeout=60,
    )
    assert answer.get_response().id == "mine"
    text, result = (answer.as_numpy(name) for name in ("TEXT", "RESULT"))
    assert text.shape == result.shape == (1, 1)
    document = json.loads(result.item())
    assert document["text"] == text.item().decode() != ""
    assert document["contract"] == 1
    assert set(document) == {
        *("contract", "text", "duration_s", "confidence", "words", "model", "timing_ms"),
    }
    assert all(set(w) == {"text", "start_s", "end_s", "confidence"} for w in document["words"])
    assert set(document["model"]) == {"id", "revision", "precision", "fingerprint"}
    assert set(document["timing_ms"]) == {"decode", "acoustic", "ctc", "total"}


def test_what_was_not_asked_for_is_absent(triton: Any) -> None:
    keys = {}
    for timestamps in ("none", "word", "char"):
        options = json.dumps({"timestamps": timestamps}).encode()
        answer = triton.infer(
            "transcribe", [tensor("AUDIO", RECORDING), tensor("OPTIONS", options)]
        )
        keys[timestamps] = set(json.loads(answer.as_numpy("RESULT").item()))
    assert keys["word"] - keys["none"] == {"words"}
    assert keys["char"] - keys["word"] == {"chars"}


def test_raw_samples(triton: Any) -> None:
    samples = pcm("cards-001-ten-of-clubs.wav")
    options = {"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1}
    answer = triton.infer(
        "transcribe",
        [tensor("AUDIO", samples.tobytes()), tensor("OPTIONS", json.dumps(options).encode())],
    )
    result = json.loads(answer.as_numpy("RESULT").item())
    assert result["duration_s"] == pytest.approx(samples.size / 16000, abs=0.001)


@pytest.mark.parametrize(
    "options",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"unknown": 1}',
        b'{"timestamps": "sentence"}',
        b'{"timestamps": null}',
        b'{"timestamps": 1}',
        b'{"encoding": "mp3"}',
        b'{"encoding": "pcm_s16le"}',
        b'{"encoding": "pcm_s16le", "sample_rate": 16000}',
        b'{"encoding": "pcm_s16le", "channels": 1}',
        b'{"encoding": "pcm_s16le", "sample_rate": -16000, "channels": 1}',
        b'{"encoding": "pcm_s16le", "sample_rate": 16000.5, "channels": 1}',
        b'{"encoding": "pcm_s16le", "sample_rate": "16000", "channels": 1}',
        b'{"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 0}',
        b'{"encoding": "pcm_s16le", "sample_rate": 16000, "channels": true}',
        b'{"sample_rate": 16000}',
        b'{"channels": 1}',
        b'{"channel": -1}',
        b'{"channel": 1.5}',
        b'{"channel": true}',
        b'{"hotwords": "ace"}',
        b'{"decoder": "beam", "hotwords": [" "]}',
    ],
)
def test_options_outside_the_contract(triton: Any, options: bytes) -> None:
    status, message = fails(triton, tensor("AUDIO", RECORDING), tensor("OPTIONS", options))
    assert (status, message.partition(": ")[0]) == ("INVALID_ARGUMENT", "BAD_OPTIONS")


def test_a_key_that_is_refused_is_named(triton: Any) -> None:
    _, message = fails(triton, tensor("AUDIO", RECORDING), tensor("OPTIONS", b'{"unknwon": 1}'))
    assert "unknwon" in message


def test_a_batch_of_two(triton: Any) -> None:
    status, message = fails(
        triton, tensor("AUDIO", RECORDING, RECORDING), tensor("OPTIONS", b"{}", b"{}")
    )
    assert status == "INVALID_ARGUMENT"
    assert message.startswith("BAD_SHAPE: ")


def malformed() -> dict[str, list[Any]]:
    floats = InferInput("AUDIO", [1, 1], "FP32")
    floats.set_data_from_numpy(np.zeros((1, 1), np.float32))
    audio, options = tensor("AUDIO", RECORDING), tensor("OPTIONS", b"{}")
    return {
        "no OPTIONS": [audio],
        "no AUDIO": [options],
        "another input": [audio, options, tensor("EXTRA", b"")],
        "another dtype": [floats, options],
        "no batch dimension": [tensor("AUDIO", RECORDING, shape=(1,)), options],
        "a dimension too many": [tensor("AUDIO", RECORDING, shape=(1, 1, 1)), options],
        "two elements": [tensor("AUDIO", b"a", b"b", shape=(1, 2)), options],
        "unequal batches": [tensor("AUDIO", b"a", b"b"), options],
        "too large a batch": [
            tensor("AUDIO", *[b"a"] * 5000),
            tensor("OPTIONS", *[b"{}"] * 5000),
        ],
    }


@pytest.mark.parametrize("what", malformed())
def test_malformed_tensors_get_triton_s_own_words(triton: Any, what: str) -> None:
    status, message = fails(triton, *malformed()[what])
    assert status == "INVALID_ARGUMENT"
    assert "transcribe" in message


@pytest.mark.parametrize(
    "raw", [b"", b"ab", b"RIFFWAVE", b"\1\0\0\0ab"], ids=["empty", "short", "no length", "rest"]
)
def test_a_bytes_tensor_without_its_length(url: str, triton: Any, raw: bytes) -> None:
    audio = tensor("AUDIO", b"")
    audio._raw_content = raw
    status, _ = fails(triton, audio, tensor("OPTIONS", b"{}"))
    assert status == "INVALID_ARGUMENT"


def test_an_unknown_model(triton: Any) -> None:
    status, message = fails(triton, tensor("AUDIO", b"a"), model="whisper")
    assert status == "NOT_FOUND"
    assert "unknown model" in message
    assert not triton.is_model_ready("whisper")


def test_metadata_is_the_contract(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("wav2vec2")
    metadata = triton.get_model_metadata("transcribe")
    assert isinstance(metadata, service_pb2.ModelMetadataResponse)
    for tensors, names in (
        (metadata.inputs, {"AUDIO", "OPTIONS"}),
        (metadata.outputs, {"TEXT", "RESULT"}),
    ):
        assert {made.name for made in tensors} == names
        assert all((made.datatype, list(made.shape)) == ("BYTES", [-1, 1]) for made in tensors)


def test_after_all_of_this_the_server_serves(triton: Any) -> None:
    answer = triton.infer("transcribe", [tensor("AUDIO", RECORDING), tensor("OPTIONS", b"{}")])
    assert answer.as_numpy("TEXT").item()
