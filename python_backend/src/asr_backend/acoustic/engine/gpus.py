"""The GPUs that torch can use.

`python -m asr_backend.acoustic.engine.gpus` prints them as a line of JSON.

This runs in a separate process: CUDA keeps memory and may hang or crash.
"""

from __future__ import annotations

import json

import torch

from asr_backend.acoustic.precision import gpu_precision


def report() -> dict[str, object]:
    """Use each GPU briefly and report the result.

    Returns:
        `gpus`, a list of `[index, name, precision]` of the GPUs that work, where the precision is
        the one that `auto` means there, and `said`, one line with the
        reason why there are none or why others are left out; "" if all work.
    """
    gpus, said = [], ""
    try:
        # Unlike is_available, this raises an error with the reason.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except Exception as error:
        return {"gpus": [], "said": _line(error)}
    for index in range(count):
        try:
            # Another process may own it, or this torch may lack code for it.
            (torch.ones(8, device=f"cuda:{index}") * 2).sum().item()
        except Exception as error:
            said = f"GPU {index}: {_line(error)}"
        else:
            precision = gpu_precision(torch.cuda.get_device_capability(index))
            gpus.append([index, torch.cuda.get_device_name(index), precision])
    return {"gpus": gpus, "said": said}


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    print(json.dumps(report()))
