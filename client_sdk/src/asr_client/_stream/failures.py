"""What the failure of a look means for its stream. Pure functions."""

from __future__ import annotations

from asr_client import _errors
from asr_client._errors import AsrError

_PASSING = (_errors.ServerUnavailable, _errors.DeadlineExceeded, _errors.Cancelled)


def may_have_felled(error: AsrError) -> bool:
    """Whether the look may have ended a process, or met a defect that it would meet again."""
    return isinstance(error, (_errors.EngineRestarting, _errors.ServerFault))


def is_fatal(error: AsrError) -> bool:
    """Whether the next look would fail alike."""
    if isinstance(error, _errors.ServerFault):
        # A connection that breaks may end a call with these two.
        return error.code is None and error.status not in ("INTERNAL", "UNKNOWN")
    return not isinstance(error, _PASSING)
