"""Errors of an accelerator after which its process must be replaced."""

from __future__ import annotations

from collections.abc import Callable

# Failures inside NVIDIA's libraries, whose handles cannot be used afterwards.
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

    An illegal memory access, a launch failure, an uncorrectable ECC error and similar errors end a
    CUDA context: every later call fails with the same error. So one more call distinguishes them
    from an error of a single call, whatever the message is.

    Args:
        error: raised by torch, and not an out-of-memory error.
        synchronize: waits for the device, and raises RuntimeError where its context has ended.
    """
    if any(words in str(error) for words in _FATAL):
        return True
    try:
        synchronize()
    except RuntimeError:
        return True
    return False
