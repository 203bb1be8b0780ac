"""The Python-backend model of tutorials: the batch is padded to its longest clip."""

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from benchmarks.systems.tutorial import Recognizer


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        checkpoint, padding_log = (
            parameters[name]["string_value"] for name in ("checkpoint", "padding_log")
        )
        self._recognize = Recognizer(checkpoint, padding_log)

    def execute(self, requests: list[Any]) -> list[Any]:
        wavs = [
            pb_utils.get_input_tensor_by_name(request, "audio").as_numpy()[0, 0]
            for request in requests
        ]
        return [
            pb_utils.InferenceResponse(
                output_tensors=[pb_utils.Tensor("text", np.array([[text.encode()]], dtype=object))]
            )
            for text in self._recognize(wavs)
        ]
