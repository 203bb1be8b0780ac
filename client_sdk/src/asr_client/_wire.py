"""The KServe v2 messages of the contract, and gRPC's settings. No channel, no I/O.

This is the only module that imports tritonclient, for its generated messages and stub. Its client
classes drop their own message-size limits when they get channel settings.
"""

from __future__ import annotations

import json
import struct
import uuid
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

messages: Any = service_pb2
"""The generated messages; they are not typed."""

MODEL = "transcribe"
STREAM_MODEL = "transcribe_stream"
ACOUSTIC_MODEL = "wav2vec2"
SERVICE = "inference.GRPCInferenceService"
TOKEN_HEADER = "triton-grpc-protocol-authorization"
"""The header of the token."""

KEEPALIVE_MS = 330_000
_UNLIMITED = -1
_LOOPBACK = ("localhost", "127.", "[::1]", "ipv4:127.", "ipv6:[::1]", "dns:///localhost")


class ContractError(Exception):
    """A message breaks the contract; the text has the reason."""


def channel_options(address: str, *, authority: str | None = None) -> list[tuple[str, int | str]]:
    """GRPC settings of a client's channel.

    Args:
        address: HOST:PORT of the server.
        authority: HOST:PORT of the DNS name that has this address.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", _UNLIMITED),
        ("grpc.max_receive_message_length", _UNLIMITED),
        # The client retries itself; gRPC's own retries would be invisible.
        ("grpc.enable_retries", 0),
        # By default gRPC waits up to two minutes before it connects again.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Clients share no connections, so that a closed client leaves none open.
        ("grpc.use_local_subchannel_pool", 1),
        # Pings detect a peer that disappeared, and keep the connection of a long call alive in
        # routers. By default a gRPC server, such as Triton, allows one ping in five minutes, and
        # only while a call is in flight; it answers more of them with too_many_pings.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if authority is not None:
        options.append(("grpc.default_authority", authority))
    if authority is not None or address.startswith(_LOOPBACK):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def stub(channel: Any) -> Any:
    """The methods of the service on a `grpc.Channel` or a `grpc.aio.Channel`."""
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infer_request(
    *,
    request_id: str,
    audio: bytes | bytearray | memoryview,
    options: bytes,
    model: str = MODEL,
) -> Any:
    """Both tensors of `transcribe` and `transcribe_stream`: BYTES [1, 1]."""
    request = messages.ModelInferRequest(model_name=model, id=request_id)
    for name, value in (("AUDIO", audio), ("OPTIONS", options)):
        request.inputs.add(name=name, datatype="BYTES", shape=(1, 1))
        request.raw_input_contents.append(bytes_tensor(value))
    return request


QUEUE_SHARE = 0.7
"""Share of a request's time that it may wait in the queue. The queue is first in, first out: under
overload, a request that may wait as long as its caller is begun when there is no time left."""

TRIAL_PCM = bytes(3200)
"""0.1 s of silence, 16-bit samples at 16 kHz. A recording of 25 ms or more needs both models."""
TRIAL_FORM: dict[str, Any] = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}


def trial_request(timeout_s: float) -> Any:
    """A short recording that tests whether a server answers recordings."""
    made = infer_request(
        request_id=f"trial-{uuid.uuid4().hex}",
        audio=TRIAL_PCM,
        options=json.dumps({**TRIAL_FORM, "timestamps": "none"}).encode(),
    )
    set_timeout(made, timeout_s)
    return made


def set_timeout(request: Any, timeout_s: float) -> None:
    """Set the time after which Triton's queue drops the request, from that of the whole request."""
    request.parameters["timeout"].int64_param = max(1, int(QUEUE_SHARE * timeout_s * 1e6))


def request(method: str, **fields: Any) -> Any:
    """The request message of a method such as `ModelReady`."""
    return getattr(messages, f"{method}Request")(**fields)


def result(response: Any, *, required: frozenset[str] = frozenset({"TEXT", "RESULT"})) -> bytes:
    """The RESULT document of an answer that must have these outputs.

    Raises:
        ContractError: an output is missing or is not one string. For example, Triton's response
            cache answers the repetition of a failed request with OK and no outputs.
    """
    values = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
        if output.datatype == "BYTES" and list(output.shape) == [1, 1]:
            values[output.name] = bytes_value(raw)
    if missing := required - values.keys():
        raise ContractError(f"no output {' or '.join(sorted(missing))} of type BYTES [1, 1]")
    return values["RESULT"]


def bytes_tensor(value: bytes | bytearray | memoryview) -> bytes:
    """A BYTES tensor of one element: the length in 4 bytes, little-endian, then the bytes."""
    return b"".join((struct.pack("<I", len(value)), value))


def bytes_value(raw: bytes) -> bytes:
    """The element of a BYTES tensor of one element."""
    if len(raw) < 4 or struct.unpack_from("<I", raw)[0] != len(raw) - 4:
        raise ContractError("a BYTES tensor whose length does not fit")
    return raw[4:]


def failure(error: grpc.RpcError) -> tuple[str, str]:
    """The gRPC status and the message of a failed call."""
    status: str = error.code().name
    words: str | None = error.details()
    return status, words or ""
