"""contract/v1 says what every program of the contract does: backend, SDK, fake, page, examples."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

import asr_client
from asr_backend.audio.warning import WarningCode
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.options import MAX_OPTIONS_BYTES, Options, parse_options
from asr_client import AsyncClient, Client
from asr_client.testing import FakeServer
from tests.contract.schemas import OPTIONS, RESULT, allows, closed
from tests.support.recordings import FOLDER

ROOT = Path(__file__).parents[2]
RECORDING = (FOLDER / "cards-001-ten-of-clubs.wav").read_bytes()
PCM = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
BEAM = {"decoder": "beam"}

# Those that a server of the demo checkpoint takes with any recording of one channel.
ALLOWED: list[dict[str, Any]] = [
    {},
    {"encoding": "container"},
    PCM,
    {**PCM, "sample_rate": 1_000},
    {**PCM, "sample_rate": 384_000},
    {"encoding": "pcm_f32le", "sample_rate": 16_000, "channels": 1},
    *({"timestamps": value} for value in ("none", "word", "char")),
    *({"decoder": value} for value in ("greedy", "beam")),
    *({**BEAM, "beam_width": value} for value in (1, 100, 1_000)),
    *({**BEAM, "hotwords": value} for value in ([], ["ace"], ["ace of clubs", " ten "])),
    {**BEAM, "hotwords": ["ace"] * 100},
    {**BEAM, "hotwords": ["a" * 200]},
    *({**BEAM, "hotword_weight": value} for value in (0, 0.5, 100)),
    *({"channel": value} for value in ("mix", "separate", 0)),
]
# Wrong by themselves, whatever the recording.
REFUSED: list[Any] = [
    [],
    None,
    "{}",
    {"unknown": 1},
    {"encoding": "mp3"},
    {"encoding": None},
    {"encoding": "pcm_s16le"},
    {**PCM, "sample_rate": 999},
    {**PCM, "sample_rate": 384_001},
    {**PCM, "sample_rate": 16_000.0},
    {**PCM, "sample_rate": "16000"},
    {**PCM, "channels": 0},
    {**PCM, "channels": 65},
    {**PCM, "channels": True},
    {"sample_rate": 16_000},
    {"encoding": "container", "channels": 1},
    {"timestamps": "sentence"},
    {"timestamps": 1},
    {"decoder": "viterbi"},
    {"beam_width": 10},
    {"hotwords": ["ace"]},
    {"decoder": "greedy", "hotword_weight": 1},
    {**BEAM, "beam_width": 0},
    {**BEAM, "beam_width": 1_001},
    {**BEAM, "hotwords": "ace"},
    {**BEAM, "hotwords": [" "]},
    {**BEAM, "hotwords": [1]},
    {**BEAM, "hotwords": ["ace"] * 101},
    {**BEAM, "hotwords": ["ace of clubs"] * 34},
    {**BEAM, "hotwords": ["a" * 201]},
    {**BEAM, "hotword_weight": -1},
    {**BEAM, "hotword_weight": 100.5},
    {**BEAM, "hotword_weight": "1"},
    {"language": ""},
    {"language": 1},
    {"channel": -1},
    {"channel": 0.0},
    {"channel": False},
    {"channel": "left"},
]


@pytest.fixture
def stub(url: str) -> Iterator[Any]:
    with grpc.insecure_channel(url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def transcribed(stub: Any, options: Any) -> bytes:
    """RESULT, or the call's error."""
    is_pcm = isinstance(options, dict) and options.get("encoding", "container") != "container"
    audio = bytes(6400) if is_pcm else RECORDING
    request = service_pb2.ModelInferRequest(model_name="transcribe")
    for name, value in (("AUDIO", audio), ("OPTIONS", json.dumps(options).encode())):
        request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(len(value).to_bytes(4, "little") + value)
    answer = stub.ModelInfer(request, timeout=60)
    return dict(zip((o.name for o in answer.outputs), answer.raw_output_contents, strict=True))[
        "RESULT"
    ][4:]


@pytest.mark.parametrize("options", ALLOWED, ids=json.dumps)
def test_what_the_schema_allows_is_answered(stub: Any, options: dict[str, Any]) -> None:
    assert allows(options)
    assert parse_options(json.dumps(options).encode())
    result = json.loads(transcribed(stub, options))
    assert not list(closed(RESULT).iter_errors(result))
    timestamps = options.get("timestamps", "word")
    assert ("words" in result, "chars" in result) == (timestamps != "none", timestamps == "char")
    assert ("channels" in result) == (options.get("channel") == "separate")


@pytest.mark.parametrize("options", REFUSED, ids=json.dumps)
def test_what_the_schema_refuses_is_refused(stub: Any, options: Any) -> None:
    assert not allows(options)
    with pytest.raises(AsrError) as refused:
        parse_options(json.dumps(options).encode())
    assert refused.value.code is ErrorCode.BAD_OPTIONS
    with pytest.raises(grpc.RpcError) as caught:
        transcribed(stub, options)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("BAD_OPTIONS: ")


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 400_000),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.lists(st.text(max_size=3) | st.integers(), max_size=3),
)
_LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "encoding": st.sampled_from(["container", "pcm_s16le", "pcm_f32le"]),
    "sample_rate": st.integers(900, 400_000),
    "channels": st.integers(0, 66),
    "timestamps": st.sampled_from(["none", "word", "char"]),
    "decoder": st.sampled_from(["beam", "greedy"]),
    "beam_width": st.integers(0, 1_001),
    "hotwords": st.lists(
        st.one_of(
            st.text(max_size=8),
            st.integers(198, 202).map(lambda letters: "a" * letters),
            st.integers(0, 60).map(lambda words: "ab " * words),
        ),
        max_size=4,
    ),
    "hotword_weight": st.floats(-1, 101) | st.integers(-1, 101),
    "language": st.text(max_size=3),
    "channel": st.sampled_from(["mix", "separate"]) | st.integers(-1, 66),
}


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional={key: likely | _SCALARS for key, likely in _LIKELY.items()}
    ).flatmap(lambda options: st.sampled_from([options, {**options, **BEAM}, {**PCM, **options}]))
)
def test_backend_and_schema_agree_on_any_options(options: dict[str, Any]) -> None:
    accepted = False
    with suppress(AsrError):
        parse_options(json.dumps(options).encode())
        accepted = True
    assert allows(options) == accepted


def test_the_tables_have_every_key() -> None:
    keys = set(OPTIONS["properties"])
    assert set(_LIKELY) == keys
    # The demo checkpoint has no language adapters, and the fake none either.
    assert {key for options in ALLOWED for key in options} == keys - {"language"}
    assert keys < {key for options in REFUSED if isinstance(options, dict) for key in options}


def test_keys_and_defaults_are_those_of_the_backend() -> None:
    assert list(OPTIONS["properties"]) == list(Options.model_fields)
    for key, field in Options.model_fields.items():
        assert OPTIONS["properties"][key].get("default") == field.default
    assert OPTIONS["x-maxBytes"] == MAX_OPTIONS_BYTES


# One value for each key, none of which goes without saying.
SENT = {
    **{"sample_rate": 16_000, "channels": 1, "encoding": "pcm_f32le", "timestamps": "char"},
    **{"decoder": "beam", "beam_width": 7, "hotwords": ["ace"], "hotword_weight": 3.5},
    **{"language": "deu", "channel": 0},
}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_the_sdk_sends_every_key(kind: type[Any]) -> None:
    assert set(SENT) == set(OPTIONS["properties"])
    with FakeServer() as server:
        if kind is Client:
            with Client(server.url) as client, pytest.raises(asr_client.InvalidOptions):
                client.transcribe(bytes(4), **SENT)  # type: ignore[arg-type]
        else:
            async with AsyncClient(server.url) as aio:
                with pytest.raises(asr_client.InvalidOptions):
                    await aio.transcribe(bytes(4), **SENT)  # type: ignore[arg-type]
        (request,) = server.requests
    assert json.loads(request.options) == SENT
    assert allows(SENT)


def test_the_sdk_s_types_are_those_of_the_result() -> None:
    def fields(kind: Any) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    properties, span = RESULT["properties"], RESULT["$defs"]["span"]["properties"]
    assert fields(asr_client.Transcript) - {"request_id"} == set(properties) - {"contract"}
    assert fields(asr_client.Word) == fields(asr_client.Char) == set(span)
    assert fields(asr_client.ModelInfo) == set(properties["model"]["properties"])
    assert fields(asr_client.Timing) == set(properties["timing_ms"]["properties"])
    warning = properties["warnings"]["items"]["properties"]
    assert fields(asr_client.AudioWarning) == set(warning)
    channels = properties["channels"]["items"]["properties"]
    assert fields(asr_client.ChannelTranscript) == set(channels)


def test_the_codes_of_warnings_are_those_of_the_backend_and_of_the_page() -> None:
    codes = [code.value for code in WarningCode]
    assert RESULT["properties"]["warnings"]["items"]["properties"]["code"]["examples"] == codes
    page = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    section = page.split("### Warnings")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE) == codes


def test_the_examples_keys_are_of_the_contract() -> None:
    known = {*OPTIONS["properties"], *RESULT["properties"], *RESULT["$defs"]["span"]["properties"]}
    go = (ROOT / "examples" / "go" / "transcribe.go").read_text(encoding="utf-8")
    tags = re.findall(r'`json:"(\w+)', go)
    typescript = (ROOT / "examples" / "node" / "src" / "transcribe.ts").read_text(encoding="utf-8")
    keys = re.findall(
        r"^  (\w+)\??: ",
        "".join(re.findall(r"^export interface \w+ \{\n(.*?)^\}", typescript, re.M | re.S)),
        re.MULTILINE,
    )
    java = (ROOT / "examples" / "java" / "src" / "main" / "java" / "asr" / "Main.java").read_text()
    sent = re.findall(r'\\"(\w+)\\":', java)
    for found in (tags, keys, sent):
        assert found
        assert set(found) <= known
    required = set(RESULT["required"])
    assert required <= set(keys)
    assert required - {"model", "timing_ms"} <= set(tags)
