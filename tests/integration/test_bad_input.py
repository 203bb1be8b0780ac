"""Bad input gets the contract's code, its neighbours keep their words, and the server goes on."""

from __future__ import annotations

import itertools
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from asr_client import AsrError, Client, InvalidAudio
from tests.support import recordings
from tests.support.backend.files import encode, wav
from tools.local_server import LocalServer

pytestmark = pytest.mark.server


SECRET = "secret.wav"
WORDS = recordings.pcm("go-forward-ten-meters.wav")
BAD_AUDIO = {
    "empty file": (b"", "EMPTY_AUDIO"),
    "wav without samples": (wav(b""), "EMPTY_AUDIO"),
    "text named .wav": (b"these are words, not samples\n" * 50, "UNSUPPORTED_FORMAT"),
    "playlist": (f"#EXTM3U\n#EXTINF:1,\n{SECRET}\n".encode(), "UNSUPPORTED_FORMAT"),
    "hls playlist": (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{SECRET}\n#EXT-X-ENDLIST\n".encode(),
        "UNSUPPORTED_FORMAT",
    ),
    "ffconcat": (f"ffconcat version 1.0\nfile {SECRET}\n".encode(), "UNSUPPORTED_FORMAT"),
    "SDP": (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        "UNSUPPORTED_FORMAT",
    ),
    "0 channels": (wav(b"\0" * 3200, channels=0), ("CORRUPT_AUDIO", "UNSUPPORTED_FORMAT")),
    "0 Hz": (wav(b"\0" * 3200, rate_hz=0), ("CORRUPT_AUDIO", "BAD_SAMPLE_RATE")),
    "NaN": (
        wav(np.full(16_000, np.nan, "<f4").tobytes(), bits=32, is_float=True),
        "NON_FINITE_SAMPLES",
    ),
    "infinity": (
        wav(np.full(16_000, np.inf, "<f4").tobytes(), bits=32, is_float=True),
        "NON_FINITE_SAMPLES",
    ),
}


def code_of(call: Any) -> str | None:
    try:
        call()
    except AsrError as error:
        assert error.status == "INVALID_ARGUMENT", error.server_message
        assert error.attempts == 1
        return error.code
    return None


@pytest.mark.parametrize("name", BAD_AUDIO)
def test_bad_audio_has_its_code(client: Client, name: str):
    audio, wanted = BAD_AUDIO[name]
    assert code_of(lambda: client.transcribe(audio)) in (
        wanted if isinstance(wanted, tuple) else (wanted,)
    )


def test_bad_files_leave_their_neighbours_alone(client: Client):
    good = recordings.wav(WORDS)
    words = client.transcribe(good).text
    calls = [audio for pair in BAD_AUDIO.values() for audio in (pair[0], good)]

    def text_or_code(audio: bytes) -> str:
        try:
            return client.transcribe(audio).text
        except AsrError as error:
            return str(error.code)

    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(text_or_code, calls))
    assert answers[1::2] == [words] * len(BAD_AUDIO)
    assert all(answer.isupper() and "_" in answer for answer in answers[::2])


def test_limits_of_length_and_size(narrow_server: LocalServer):
    short, long = np.zeros(16_000, np.int16), np.zeros(16_000 * 6, np.int16)
    flac, mp3 = (
        encode(long, container=container, codec=codec, rate_hz=16_000)
        for container, codec in (("flac", "flac"), ("mp3", "libmp3lame"))
    )
    with Client(narrow_server.url, timeout_s=60) as client:
        for audio in (recordings.wav(long), flac, mp3):
            with pytest.raises(InvalidAudio) as caught:
                client.transcribe(audio)
            assert caught.value.code == "AUDIO_TOO_LONG"
            assert "the limit is 5 s" in caught.value.server_message
        with pytest.raises(InvalidAudio) as caught:
            client.transcribe(bytes(200_001))
        assert caught.value.code == "AUDIO_TOO_LARGE"
        assert "200001 bytes, the limit is 200000 bytes" in caught.value.server_message
        assert client.transcribe(recordings.wav(short)).duration_s == 1.0


def test_limits_of_work(narrow_server: LocalServer):
    fast = encode(np.zeros(192_000 * 4, np.int16), container="flac", codec="flac", rate_hz=192_000)
    refused = [
        (
            recordings.wav(np.zeros(16_000 * 3, np.int16)),
            {"decoder": "beam", "beam_width": 500},
            "2 s at beam_width 500",
        ),
        (fast, {}, "400000 (rate times channels times seconds)"),
    ]
    with Client(narrow_server.url, timeout_s=60) as client:
        for audio, options, says in refused:
            with pytest.raises(InvalidAudio) as caught:
                client.transcribe(audio, **options)
            assert caught.value.code == "AUDIO_TOO_LONG"
            assert f"the limit is {says}" in caught.value.server_message
        pcm = {"encoding": "pcm_s16le", "sample_rate": 8_000, "channel": "separate"}
        assert len(client.transcribe(bytes(160_000), channels=4, **pcm).channels) == 4
        with pytest.raises(InvalidAudio) as caught:
            client.transcribe(bytes(192_000), channels=4, **pcm)
        assert "3.0 s, the limit is 2.5 s for 4 channels apart" in caught.value.server_message


# What follows speaks to Triton without the SDK, which would never send it.


def bytes_tensor(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def infer_request(
    audio: list[bytes] | None,
    options: list[bytes] | None,
    *,
    shape: tuple[int, ...] | None = None,
) -> Any:
    request = service_pb2.ModelInferRequest(model_name="transcribe")
    for name, values in (("AUDIO", audio), ("OPTIONS", options)):
        if values is not None:
            request.inputs.add(name=name, datatype="BYTES", shape=shape or (len(values), 1))
            request.raw_input_contents.append(bytes_tensor(*values))
    return request


def float_audio() -> Any:
    request = infer_request(None, [b"{}"])
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="AUDIO", datatype="FP32", shape=(1, 1)
    )
    request.inputs.insert(0, tensor)
    request.raw_input_contents.insert(0, struct.pack("<f", 0.5))
    return request


def unknown_input() -> Any:
    request = infer_request([CLIP], [b"{}"])
    request.inputs[0].name = "SOUND"
    return request


CLIP = recordings.wav(WORDS)
BAD_OPTIONS = [
    "not JSON",
    "[]",
    '{"speed": 2}',
    '{"encoding": "pcm_s16le", "sample_rate": -8000, "channels": 1}',
    '{"timestamps": 1}',
    '{"decoder": "beam", "beam_width": 0}',
    '{"hotwords": ["clubs"]}',
    '{"channel": 7}',
]


def cut_short() -> Any:
    request = infer_request([CLIP], [b"{}"])
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]
    return request


MALFORMED = {
    "no OPTIONS": infer_request([CLIP], None),
    "three dimensions": infer_request([CLIP], [b"{}"], shape=(1, 1, 1)),
    "AUDIO of floats": float_audio(),
    "unknown input": unknown_input(),
    "AUDIO shorter than its length says": cut_short(),
}
BATCH_OF_TWO = infer_request([CLIP, CLIP], [b"{}", b"{}"])


def answers(server: LocalServer, *requests: Any) -> list[tuple[grpc.StatusCode, str]]:
    """Status and message (TEXT if it succeeded) of each request; all are sent at once."""
    with grpc.insecure_channel(server.url) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        return [outcome(call) for call in [infer.future(one, timeout=60) for one in requests]]


def outcome(call: Any) -> tuple[grpc.StatusCode, str]:
    if call.exception() is not None:
        return call.code(), call.details()
    outputs = zip(call.result().outputs, call.result().raw_output_contents, strict=True)
    return call.code(), {output.name: raw for output, raw in outputs}["TEXT"][4:].decode()


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options_name_the_key(server: LocalServer, options: str):
    ((status, words),) = answers(server, infer_request([CLIP], [options.encode()]))
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith("BAD_OPTIONS: ")
    if options.startswith("{"):
        assert any(key in words for key in json.loads(options))


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_tensors_are_triton_s_own_complaint(server: LocalServer, name: str):
    bad, good = answers(server, MALFORMED[name]), answers(server, infer_request([CLIP], [b"{}"]))
    assert bad[0][0] == grpc.StatusCode.INVALID_ARGUMENT, bad
    assert bad[0][1]
    assert good[0][0] == grpc.StatusCode.OK


def test_a_batch_dimension_of_two(server: LocalServer):
    ((status, words),) = answers(server, BATCH_OF_TWO)
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith("BAD_SHAPE: ")
    assert "[2, 1]" in words


def test_bad_requests_leave_their_neighbours_alone(narrow_server: LocalServer):
    bad = [infer_request([CLIP], [options.encode()]) for options in BAD_OPTIONS]
    bad += [*MALFORMED.values(), BATCH_OF_TWO]
    files = [(recordings.FOLDER / name).read_bytes() for name in recordings.texts()]
    files = [file for file in files if len(file) < 5 * 32_000]  # the server takes 5 s
    good = [
        infer_request([file], [b"{}"])
        for file in itertools.islice(itertools.cycle(files), len(bad))
    ]
    alone = [answers(narrow_server, request)[0] for request in good[: len(files)]]
    assert all(status == grpc.StatusCode.OK and text for status, text in alone)

    together = answers(narrow_server, *itertools.chain(*zip(bad, good, strict=True)))
    assert {status for status, _ in together[::2]} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert together[1::2] == list(itertools.islice(itertools.cycle(alone), len(bad)))
