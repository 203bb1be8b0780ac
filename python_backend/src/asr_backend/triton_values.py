"""What both Triton models read from Triton and hand back to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_backend.checkpoint import Checkpoint, demo_checkpoint, load_checkpoint
from asr_backend.errors import UNAVAILABLE_CODES, AsrError, ErrorCode


def model_parameters(args: dict[str, str]) -> dict[str, str]:
    """The `parameters` of config.pbtxt, from what Triton hands to `initialize`."""
    config = json.loads(args["model_config"])
    return {key: value["string_value"] for key, value in config["parameters"].items()}


def served_checkpoint(parameters: Mapping[str, str]) -> Checkpoint:
    """The checkpoint that the `parameters` name; the demo where they name none.

    Raises:
        CheckpointError: it cannot be served.
    """
    return load_checkpoint(
        Path(parameters["model"]) if parameters["model"] else demo_checkpoint(),
        id=parameters["model_id"] or None,
        revision=parameters["model_revision"] or None,
    )


def triton_error(pb_utils: Any, error: AsrError) -> Any:
    """A pb_utils.TritonError with the gRPC status that the contract gives the error's code."""
    if error.code in UNAVAILABLE_CODES:
        status = pb_utils.TritonError.UNAVAILABLE
    elif error.code is ErrorCode.INTERNAL_ERROR:
        status = pb_utils.TritonError.INTERNAL
    else:
        status = pb_utils.TritonError.INVALID_ARG
    return pb_utils.TritonError(str(error), status)
