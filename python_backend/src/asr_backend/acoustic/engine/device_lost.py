"""Errors of an accelerator that no retry in the same process can mend."""

from __future__ import annotations

from collections.abc import Callable

# Failures inside NVIDIA's libraries; their handles are not usable afterwards.
_FATAL = (
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR",
)


class DeviceLost(Exception):
    """The device's context has ended: only another process can use the device again."""


def is_lost(error: RuntimeError, synchronize: Callable[[], None]) -> bool:
    """Whether an error of a forward has ended the device's context.

    An illegal memory access, a launch failure, an uncorrectable ECC error and their like end a CUDA
    context: every later call fails with the same error. So one more call tells them from an error
    that concerns its own call alone, whatever its words are.

    Args:
        error: what torch raised, not for want of memory.
        synchronize: waits for the device, and raises RuntimeError where its context has ended.
    """
    if any(words in str(error) for words in _FATAL):
        return True
    try:
        synchronize()
    except RuntimeError:
        return True
    return False
