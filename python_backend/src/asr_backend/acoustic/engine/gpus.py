"""The GPUs that torch can use.

`python -m asr_backend.acoustic.engine.gpus` prints them as a line of JSON.

A process of its own asks: CUDA keeps memory and may hang or end the process.
"""

from __future__ import annotations

import json

import torch


def report() -> dict[str, object]:
    """What torch finds when it uses each GPU for a moment.

    Returns:
        `gpus`, a list of `[index, name]` of those that computed something, and `said`, one line
        with the reason why there are none or why others are left out; "" where all is well.
    """
    gpus, said = [], ""
    try:
        # Unlike is_available, it says why there is none.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except Exception as error:
        return {"gpus": [], "said": _line(error)}
    for index in range(count):
        try:
            # Another process may own it, or this torch have no code for it.
            (torch.ones(8, device=f"cuda:{index}") * 2).sum().item()
        except Exception as error:
            said = f"GPU {index}: {_line(error)}"
        else:
            gpus.append([index, torch.cuda.get_device_name(index)])
    return {"gpus": gpus, "said": said}


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    print(json.dumps(report()))
