"""What a model is at, and what takes it from there: the table that the supervisor goes by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(str, Enum):
    """What a model is at. The values stand in the body of `/readyz`."""

    STARTING = "starting"
    """tritonserver loads it for the first time."""
    READY = "ready"
    """Its instances serve."""
    HEALING = "healing"
    """It is being loaded again, beside what is left of its instances."""
    RESTING = "resting"
    """That failed; it is out of the repository, and will be put back once."""
    STUCK = "stuck"
    """A load does not come to an end: only a new tritonserver helps."""
    FAILED = "failed"
    """Nothing helps."""
    DRAINING = "draining"
    """It is out of the repository for good and finishes its work."""


class Event(Enum):
    """What happens to a model."""

    LOADED = "Triton says that it was loaded"
    DIED = "an instance of the present load does not run any more"
    DIED_TOO_OFTEN = "the same, and it was healed as often as is allowed"
    LOAD_FAILED = "Triton says that a load failed"
    LOAD_FAILED_AGAIN = "the same, with no old instance in the way"
    LOAD_OVERDUE = "a load takes many times as long as the first one did"
    RESTED = "Triton has seen that the model is gone"
    STOP = "the server is to end"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.STARTING, Event.LOADED): State.READY,
    (State.READY, Event.DIED): State.HEALING,
    (State.READY, Event.DIED_TOO_OFTEN): State.FAILED,
    (State.READY, Event.STOP): State.DRAINING,
    (State.HEALING, Event.LOADED): State.READY,
    (State.HEALING, Event.LOAD_FAILED): State.RESTING,
    (State.HEALING, Event.LOAD_FAILED_AGAIN): State.FAILED,
    (State.HEALING, Event.LOAD_OVERDUE): State.STUCK,
    (State.RESTING, Event.RESTED): State.HEALING,
    (State.RESTING, Event.STOP): State.DRAINING,
}
"""Every other pair is impossible. A stop waits for the end of HEALING: Triton's polling thread
hangs when a folder goes while it is being loaded. An instance that hangs is killed, and so DIED."""
