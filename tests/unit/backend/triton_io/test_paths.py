"""Paths that pass through Triton's configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from asr_backend.server.prepare import pbtxt
from asr_backend.triton_io.paths import decode_path, encode_path


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name_comes_back(name: bytes) -> None:
    path = Path("/") / os.fsdecode(name)
    text = encode_path(path)
    assert text.isascii()
    assert text.isprintable()
    assert decode_path(text) == path
    config: pbtxt.Message = []
    pbtxt.put_parameter(config, "model", text)
    assert pbtxt.loads(pbtxt.dumps(config)) == config


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_text_is_what_protobuf_reads(text: str) -> None:
    config: pbtxt.Message = []
    pbtxt.put_parameter(config, "model_id", text)
    read = text_format.Parse(pbtxt.dumps(config), ModelConfig())
    assert read.parameters["model_id"].string_value == text


@pytest.mark.parametrize("path", ["/models/wav2vec2-base_960h", "/a b/100% (new) ~/x.arpa"])
def test_ordinary_paths_are_written_as_they_are(path: str) -> None:
    assert encode_path(Path(path)) == path
