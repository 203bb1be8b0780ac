"""Reads values that Triton passes to a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from asr_backend.checkpoint.description import Checkpoint, demo_checkpoint, load_checkpoint
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.triton_io.paths import decode_path


def model_parameters(args: dict[str, str]) -> dict[str, str]:
    """The `parameters` of config.pbtxt, from the arguments of Triton's `initialize`.

    An empty parameter counts as absent.
    """
    config = json.loads(args["model_config"])
    values = {key: value["string_value"] for key, value in config["parameters"].items()}
    return {key: value for key, value in values.items() if value}


def queue_capacity(args: dict[str, str]) -> int:
    """Requests that may wait for the model; 0 means any number."""
    batching = json.loads(args["model_config"]).get("dynamic_batching", {})
    return int(batching.get("default_queue_policy", {}).get("max_queue_size", 0))


def served_checkpoint(parameters: Mapping[str, str]) -> Checkpoint:
    """Load the checkpoint that the `parameters` name; the demo if they name none.

    Raises:
        CheckpointError: it cannot be served.
    """
    return load_checkpoint(
        decode_path(parameters["model"]) if "model" in parameters else demo_checkpoint(),
        id=parameters.get("model_id"),
        revision=parameters.get("model_revision"),
        blank_id=int(parameters["blank_id"]) if "blank_id" in parameters else None,
    )


def element(pb_utils: Any, request: Any, name: str) -> Any:
    """The only element of a BYTES input of a request.

    Raises:
        AsrError: BAD_SHAPE if the shape is not [1, 1].
    """
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    shape = tuple(tensor.shape())
    if shape != (1, 1):
        raise AsrError(
            ErrorCode.BAD_SHAPE,
            f"{name} has shape {list(shape)}, it must be [1, 1]: one recording a request; "
            "the server batches requests itself",
        )
    return tensor.as_numpy()[0, 0]
