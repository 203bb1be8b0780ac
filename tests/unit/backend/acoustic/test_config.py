"""What the packaged config.pbtxt of `wav2vec2` says, and the model that is made from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import asr_backend
from asr_backend.acoustic.model import Wav2Vec2Model
from asr_backend.checkpoint.files import CheckpointError
from tests.support.backend.checkpoints import write_checkpoint
from tests.support.backend.doubles import PbUtils, Request

CONFIG = Path(asr_backend.__file__).parent / "model_repository" / "wav2vec2" / "config.pbtxt"


@pytest.fixture
def config() -> ModelConfig:
    return text_format.Parse(CONFIG.read_text(), ModelConfig())


def test_the_packaged_config(config: ModelConfig) -> None:
    assert config.name == "wav2vec2"
    assert config.backend == "python"
    assert config.max_batch_size > 1
    (samples,) = config.input
    assert (samples.name, list(samples.dims), samples.allow_ragged_batch) == ("SAMPLES", [-1], True)
    assert not samples.optional
    (log_probs,) = config.output
    assert (log_probs.name, list(log_probs.dims)) == ("LOG_PROBS", [-1, -1])
    # With any bound, Triton's batcher stands still beside a free instance for up to 0.5 s.
    assert not config.dynamic_batching.HasField("default_queue_policy")


def test_warm_up_windows_are_legal(config: ModelConfig) -> None:
    """Under every --max-window-s: an error at warm-up would end the server."""
    lengths = [warm_up.inputs["SAMPLES"].dims[0] for warm_up in config.model_warmup]
    assert len(lengths) == 2
    assert max(lengths) <= 16_000


def triton_arguments(config: ModelConfig, **parameters: str) -> dict[str, str]:
    """What Triton hands to `initialize`, as far as it is read."""
    packaged = {name: value.string_value for name, value in config.parameters.items()}
    assert parameters.keys() <= packaged.keys() | {"model"}
    values = {**packaged, **parameters}
    return {
        "model_config": json.dumps(
            {"parameters": {name: {"string_value": value} for name, value in values.items()}}
        ),
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }


def test_the_real_engine_from_the_packaged_config(config: ModelConfig, tmp_path: Path) -> None:
    folder, pb_utils = write_checkpoint(tmp_path / "tiny", "base-960h"), PbUtils()
    arguments = triton_arguments(config, model=str(folder), precision="fp32", threads="1")
    model = Wav2Vec2Model.from_triton(arguments, pb_utils)
    assert pb_utils.Logger.infos == ["wav2vec2 runs in fp32 on torch, cpu"]
    requests = [
        Request(SAMPLES=np.full((1, count), 0.5, np.float32)) for count in (16_000, 8_000, 1)
    ]
    model.execute(requests)
    for each, frames in zip(requests, (49, 24, 1), strict=True):
        log_probs = each.output("LOG_PROBS")
        assert log_probs.shape == (1, frames, 32)
        np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
    model.finalize()


def test_a_folder_that_cannot_be_served(config: ModelConfig, tmp_path: Path) -> None:
    arguments = triton_arguments(config, model=str(tmp_path / "absent"))
    pb_utils = PbUtils()
    with pytest.raises(CheckpointError, match="no such folder"):
        Wav2Vec2Model.from_triton(arguments, pb_utils)
    (line,) = pb_utils.Logger.errors
    assert line == f"wav2vec2 cannot start: {tmp_path / 'absent'}: no such folder"
