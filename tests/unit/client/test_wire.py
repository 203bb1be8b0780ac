from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from asr_client import _wire
from asr_client.testing import _model


@given(st.binary(max_size=100))
def test_one_bytes_element_is_what_tritonclient_writes_and_reads(value: bytes) -> None:
    tensor = serialize_byte_tensor(np.array([[value]], dtype=np.object_)).item()
    assert _wire.bytes_tensor(value) == tensor
    assert deserialize_bytes_tensor(tensor)[0] == value
    assert _wire.bytes_value(tensor) == value


@pytest.mark.parametrize("raw", [b"", b"\1\0\0", struct.pack("<I", 3) + b"ab", b"\1\0\0\0ab"])
def test_a_length_that_does_not_fit_is_refused(raw: bytes) -> None:
    with pytest.raises(_wire.ContractError):
        _wire.bytes_value(raw)


def test_the_request_is_the_contract_s() -> None:
    request = _wire.infer_request(request_id="r", audio=memoryview(b"wav"), options=b"{}")
    _wire.set_timeout(request, 10)
    assert (request.model_name, request.id) == ("transcribe", "r")
    assert request.parameters["timeout"].int64_param == 7_000_000
    assert [(t.name, t.datatype, list(t.shape)) for t in request.inputs] == [
        ("AUDIO", "BYTES", [1, 1]),
        ("OPTIONS", "BYTES", [1, 1]),
    ]
    assert _model.tensors(request) == (b"wav", b"{}")


def test_the_queue_timeout_is_never_zero_which_would_mean_none() -> None:
    request = _wire.infer_request(request_id="", audio=b"", options=b"{}")
    _wire.set_timeout(request, 1e-9)
    assert request.parameters["timeout"].int64_param == 1


@pytest.mark.parametrize("lacking", ["outputs", "TEXT", "RESULT", "raw", "dtype", "shape"])
def test_an_answer_without_its_outputs_is_refused(lacking: str) -> None:
    response = _model.response(
        "go",
        given={},
        channels=1,
        duration=1.0,
        request_id="r",
        model={"id": "m", "revision": "0"},
    )
    if lacking == "outputs":
        del response.outputs[:]
    elif lacking == "raw":
        del response.raw_output_contents[1:]
    elif lacking == "dtype":
        response.outputs[1].datatype = "FP32"
    elif lacking == "shape":
        response.outputs[1].shape[:] = [2, 1]
    else:
        next(output for output in response.outputs if output.name == lacking).name = "OTHER"
    with pytest.raises(_wire.ContractError):
        _wire.result(response)


@pytest.mark.parametrize(
    ("address", "proxied"),
    [
        ("localhost:8001", False),
        ("127.0.0.1:8001", False),
        ("[::1]:8001", False),
        ("asr.example:8001", True),
        ("dns:///asr:8001", True),
    ],
)
def test_loopback_never_goes_through_a_proxy(address: str, proxied: bool) -> None:
    options = dict(_wire.channel_options(address))
    assert ("grpc.enable_http_proxy" not in options) == proxied
    assert options["grpc.max_send_message_length"] == -1
    assert options["grpc.max_receive_message_length"] == -1


def test_an_address_that_a_name_led_to_is_spoken_to_by_that_name_and_without_a_proxy() -> None:
    options = dict(_wire.channel_options("10.0.0.7:8001", authority="asr.example:8001"))
    assert options["grpc.default_authority"] == "asr.example:8001"
    assert options["grpc.enable_http_proxy"] == 0


def test_pings_are_rarer_than_the_rarest_that_a_server_allows_by_default() -> None:
    options = dict(_wire.channel_options("localhost:8001"))
    # gRPC's grpc.http2.min_ping_interval_without_data_ms, and of Triton's flags
    # --grpc-http2-min-recv-ping-interval-without-data: 5 minutes while a call is in flight.
    assert options["grpc.keepalive_time_ms"] > 300_000
    assert options["grpc.keepalive_permit_without_calls"] == 0
