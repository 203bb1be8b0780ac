"""What both Triton models read from Triton and hand back to it."""

from __future__ import annotations

import json
from typing import Any

from asr_backend.errors import UNAVAILABLE_CODES, AsrError, ErrorCode


def model_parameters(args: dict[str, str]) -> dict[str, str]:
    """The `parameters` of config.pbtxt, from what Triton hands to `initialize`."""
    config = json.loads(args["model_config"])
    return {key: value["string_value"] for key, value in config["parameters"].items()}


def triton_error(pb_utils: Any, error: AsrError) -> Any:
    """A pb_utils.TritonError with the gRPC status that the contract gives the error's code."""
    if error.code in UNAVAILABLE_CODES:
        status = pb_utils.TritonError.UNAVAILABLE
    elif error.code is ErrorCode.INTERNAL_ERROR:
        status = pb_utils.TritonError.INTERNAL
    else:
        status = pb_utils.TritonError.INVALID_ARG
    return pb_utils.TritonError(str(error), status)
