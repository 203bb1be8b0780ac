"""A program for the environment of kserve: arguments HOST:PORT and the path of a recording.

It prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main() -> None:
    url, recording = sys.argv[1:]
    inputs = []
    for name, value in (("AUDIO", Path(recording).read_bytes()), ("OPTIONS", b"{}")):
        inputs.append(InferInput(name, [1, 1], "BYTES"))
        inputs[-1].set_data_from_numpy(np.array([[value]], np.object_))
    async with InferenceGRPCClient(url, timeout=60) as client:
        found = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready("transcribe"),
        }
        response = await client.infer(InferRequest(model_name="transcribe", infer_inputs=inputs))
    for output in response.outputs:
        found[output.name] = output.as_numpy().item().decode()
    print(json.dumps(found))


asyncio.run(main())
