from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from asr_backend.server.prepare import pbtxt
from asr_backend.server.prepare.run_directory import packaged_repository

MODELS = sorted(path.parent.name for path in packaged_repository().glob("*/config.pbtxt"))


def as_triton_reads_it(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("model", MODELS)
def test_a_configuration_survives_the_round_trip(model):
    text = (packaged_repository() / model / "config.pbtxt").read_text()
    assert as_triton_reads_it(pbtxt.dumps(pbtxt.loads(text))) == as_triton_reads_it(text)


def test_all_ways_to_write_a_field():
    text = """
        name: 'it''s' # a comment with "quotes" and {
        input < name: "A" dims: [ -1, 3 ], dims: 4; >
        output: { name: "B" "C" data_type: TYPE_FP32 }
        instance_group [ { count: 1 }, { count: 2 kind: KIND_CPU } ]
        parameters { key: "a" value: { string_value: "x\\"y" } }
    """
    assert as_triton_reads_it(pbtxt.dumps(pbtxt.loads(text))) == as_triton_reads_it(text)


@pytest.mark.parametrize("text", ["name", "name: ", "a { b: 1", "a: }", "a: 1 }", "a: [1", "a: @"])
def test_what_is_not_in_the_format_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|not protobuf text"):
        pbtxt.loads(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")))
def test_any_string_can_be_a_parameter(text):
    config = pbtxt.loads("")
    pbtxt.put_parameter(config, "model", "before")
    pbtxt.put_parameter(config, "model", text)
    read = as_triton_reads_it(pbtxt.dumps(config))
    assert dict(read.parameters.items())["model"].string_value == text
    assert pbtxt.loads(pbtxt.dumps(config)) == config
