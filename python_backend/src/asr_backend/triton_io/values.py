"""What both Triton models read from Triton and hand back to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from asr_backend.checkpoint.description import Checkpoint, demo_checkpoint, load_checkpoint


def model_parameters(args: dict[str, str]) -> dict[str, str]:
    """The `parameters` of config.pbtxt, from what Triton hands to `initialize`.

    An empty one counts as absent.
    """
    config = json.loads(args["model_config"])
    values = {key: value["string_value"] for key, value in config["parameters"].items()}
    return {key: value for key, value in values.items() if value}


def served_checkpoint(parameters: Mapping[str, str]) -> Checkpoint:
    """The checkpoint that the `parameters` name; the demo where they name none.

    Raises:
        CheckpointError: it cannot be served.
    """
    return load_checkpoint(
        Path(parameters["model"]) if "model" in parameters else demo_checkpoint(),
        id=parameters.get("model_id"),
        revision=parameters.get("model_revision"),
    )
