"""docs/contract.md says what the code does: its tables here, its statements on the real server."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from asr_backend.audio.containers import DEMUXERS
from asr_backend.audio.warning import AudioWarning, WarningCode
from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.ctc.transcription import Span, Transcription
from asr_backend.errors import UNAVAILABLE_CODES, ErrorCode
from asr_backend.front.build import reported_model
from asr_backend.front.options import MAX_OPTIONS_BYTES, Options
from asr_backend.front.result import CONTRACT_VERSION, encode_result
from asr_backend.server.settings import Settings
from asr_client._transport.retry import RETRIES_PER_CALL
from asr_client._transport.statuses import classify
from tests.support import recordings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
ERRORS = json.loads((ROOT / "contract" / "v1" / "errors.json").read_text(encoding="utf-8"))
RECORDING = (recordings.FOLDER / "go-forward-ten-meters.wav").read_bytes()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str, table: int = 0) -> list[list[str]]:
    """The cells of a section's table, without its header."""
    tables = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_options_are_those_of_the_server():
    table = {row[0].strip("`"): row for row in rows("OPTIONS")}
    assert list(table) == list(Options.model_fields)
    for key, field in Options.model_fields.items():
        assert table[key][1] == field.description
        assert table[key][2] == ("" if field.default is None else json.dumps(field.default))
    assert f"at most {MAX_OPTIONS_BYTES} bytes" in section("OPTIONS")


def test_the_result_is_that_of_the_server():
    span = Span(text="A", start_s=0, end_s=1, confidence=1)
    result = json.loads(
        encode_result(
            transcription=Transcription(text="A", confidence=1, words=(span,), chars=(span,)),
            duration_s=1,
            timestamps="char",
            model=reported_model(
                load_checkpoint(demo_checkpoint()), {"precision": "int8", "fingerprint": "f"}
            ),
            timing_ms={"decode": 1, "acoustic": 1, "ctc": 1, "total": 1},
            warnings=(AudioWarning(code=WarningCode.CLIPPED, message="loud"),),
        )
    )
    table = {row[0].strip("`"): row[2] for row in rows("RESULT")}
    assert [key for key in table if key != "channels"] == list(result)
    for inner in (result["model"], result["timing_ms"]):
        for key in inner:
            assert f"`{key}`" in table["model"] + table["timing_ms"]
    (example,) = re.findall(r"```json\n(.*?)```", section("RESULT"), re.DOTALL)
    shown = json.loads(example)
    assert set(shown) == set(result) - {"chars", "warnings"}
    assert shown["contract"] == CONTRACT_VERSION
    assert all(set(word) == set(result["words"][0]) for word in shown["words"])
    assert set(shown["timing_ms"]) == set(result["timing_ms"])


ADVICE = {"never": 0, "once, at another server": 1, "at most twice": 2}


def test_the_codes_are_those_of_the_server_and_the_client_agrees():
    assert [entry["code"] for entry in ERRORS["codes"]] == [code.value for code in ErrorCode]
    for entry in ERRORS["codes"]:
        code, status = ErrorCode(entry["code"]), entry["status"]
        expected = "UNAVAILABLE" if code in UNAVAILABLE_CODES else "INVALID_ARGUMENT"
        assert status == ("INTERNAL" if code is ErrorCode.INTERNAL_ERROR else expected)
        kind, found = classify(status, f"{code.value}: words")
        assert found == code.value
        assert RETRIES_PER_CALL.get(kind, 0) == ADVICE[entry["send_again"]]


def test_triton_s_words_mean_the_same_to_the_client():
    checked = 0
    for entry in ERRORS["without_code"]:
        for status in entry["statuses"]:
            kind, _ = classify(status, entry["words"].strip("`").replace("…", "123"))
            expected = ADVICE.get(entry["send_again"], float("inf"))
            assert RETRIES_PER_CALL.get(kind, 0) == expected, (entry["words"], status)
            checked += 1
    assert checked > 12


def test_the_page_s_tables_of_errors_are_the_contract_s():
    def plain(title: str, table: int) -> list[list[str]]:
        return [[re.sub(r"\[(\w+)\]\(#\w+\)", r"\1", c) for c in row] for row in rows(title, table)]

    assert plain("Errors", 0) == [
        [f"`{entry['code']}`", entry["status"], entry["meaning"], entry["send_again"]]
        for entry in ERRORS["codes"]
    ]
    assert plain("Errors", 1) == [
        [entry["words"], ", ".join(entry["statuses"]), entry["meaning"], entry["send_again"]]
        for entry in ERRORS["without_code"]
    ]


def test_the_pattern_finds_codes():
    (pattern,) = re.findall(r"```text\n(\^.*)\n```", section("Errors"))
    for prefix in ("", "[request id: <id_unknown>] "):
        match = re.match(pattern, f"{prefix}AUDIO_TOO_LONG: 7300.2 s, the limit is 7200 s")
        assert match
        assert match.groups() == ("AUDIO_TOO_LONG", "7300.2 s, the limit is 7200 s")
    assert not re.match(pattern, "Request timeout expired")


def test_the_limits_are_the_server_s_defaults():
    defaults = Settings()
    for _, value, flag in rows("Limits"):
        if flag:
            name = flag.strip("`-").replace("-", "_")
            assert float(value.split()[0]) == getattr(defaults, name)
    assert f"{MAX_OPTIONS_BYTES} bytes" in [row[1] for row in rows("Limits")]


def test_the_tensors_are_those_of_the_models():
    titles = {
        **{"transcribe": "The call", "wav2vec2": "The model `wav2vec2`"},
        "transcribe_stream": "The model `transcribe_stream`",
    }
    for model, title in titles.items():
        text = (ROOT / "model_repository" / model / "config.pbtxt").read_text(encoding="utf-8")
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        names = [f"in `{tensor.name}`" for tensor in config.input]
        names += [f"out `{tensor.name}`" for tensor in config.output]
        assert [row[0] for row in rows(title)] == names


def test_every_kind_of_file_is_named():
    text = section("AUDIO")
    assert [name for name in DEMUXERS if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", PAGE))))
def test_a_link_leads_somewhere(target: str):
    assert (ROOT / "docs" / target).exists()


def element(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


def test_the_bytes_shown_are_an_element():
    assert f"\n{element(b'{}').hex(' ')}\n" in section("The call")


@pytest.fixture
def stub(server_url: str) -> Iterator[Any]:
    with grpc.insecure_channel(server_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(audio: bytes = RECORDING, options: bytes = b"{}", **fields: Any) -> Any:
    # OPTIONS first: the order is free.
    made = service_pb2.ModelInferRequest(model_name="transcribe", **fields)
    for name, value in (("OPTIONS", options), ("AUDIO", audio)):
        made.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        made.raw_input_contents.append(element(value))
    return made


def infer(stub: Any, made: Any, **settings: Any) -> dict[str, bytes]:
    answer = stub.ModelInfer(made, timeout=60, **settings)
    return dict(zip((o.name for o in answer.outputs), answer.raw_output_contents, strict=True))


def fails(stub: Any, made: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(made, timeout=60)
    return caught.value.code().name, caught.value.details()


@pytest.mark.server
def test_outputs_can_be_named(stub: Any):
    made = request()
    made.outputs.add(name="TEXT")
    assert set(infer(stub, made)) == {"TEXT"}
    assert set(infer(stub, request(), compression=grpc.Compression.Gzip)) == {"TEXT", "RESULT"}


@pytest.mark.server
def test_the_queue_s_timeout(stub: Any):
    made = request()
    made.parameters["timeout"].int64_param = 1
    assert fails(stub, made) == ("UNAVAILABLE", "Request timeout expired")
    for microseconds in (0, -1, 10**15, 60_000_000):
        made.parameters["timeout"].int64_param = microseconds
        assert infer(stub, made)
    for kind, value in (("uint64_param", 60_000_000), ("string_param", "60000000")):
        setattr(made.parameters["timeout"], kind, value)
        assert fails(stub, made)[0] == "INVALID_ARGUMENT"


@pytest.mark.server
@pytest.mark.parametrize(("samples", "has_frame"), [(399, False), (400, True)])
def test_audio_of_less_than_25_ms(stub: Any, samples: int, has_frame: bool):
    options = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
    outputs = infer(stub, request(bytes(2 * samples), json.dumps(options).encode()))
    result = json.loads(outputs["RESULT"][4:])
    assert (result["confidence"] > 0) is has_frame
    if not has_frame:
        assert (result["text"], result["words"]) == ("", [])


@pytest.mark.server
def test_readiness_is_asked_of_both_models(stub: Any):
    for model in ("transcribe", "wav2vec2"):
        assert stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=10).ready


@pytest.mark.server
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 16_000])
def test_frames_of_a_window(stub: Any, samples: int):
    made = service_pb2.ModelInferRequest(model_name="wav2vec2")
    made.inputs.add(name="SAMPLES", datatype="FP32", shape=[1, samples])
    made.raw_input_contents.append(np.zeros(samples, "<f4").tobytes())
    (output,) = stub.ModelInfer(made, timeout=60).outputs
    assert output.shape[1] == max(1, (samples - 400) // 320 + 1)


@pytest.mark.server
def test_a_word_on_the_wire_takes_about_what_the_page_says(stub: Any):
    outputs = infer(stub, request(options=b'{"timestamps": "char"}'))
    result = json.loads(outputs["RESULT"][4:])
    spans = len(result["words"]) + len(result["chars"])
    assert 50 < len(outputs["RESULT"]) / spans < 90
