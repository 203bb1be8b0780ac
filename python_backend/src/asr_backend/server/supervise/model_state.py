"""The states of a model and their transitions, as a table that the supervisor follows."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(str, Enum):
    """The state of a model. The values are in the body of `/readyz`."""

    STARTING = "starting"
    """tritonserver loads it for the first time."""
    READY = "ready"
    """Its instances serve."""
    HEALING = "healing"
    """It is being loaded again, beside its remaining instances."""
    RESTING = "resting"
    """Loading beside them failed; it is out of the repository and will be put back once."""
    STUCK = "stuck"
    """A load does not end: tritonserver has to be replaced."""
    FAILED = "failed"
    """It cannot be replaced; the server ends."""
    DRAINING = "draining"
    """It is out of the repository for good and finishes its calls."""


class Event(Enum):
    """What happens to a model."""

    LOADED = "Triton logged a successful load"
    DIED = "an instance of the present load has ended"
    DIED_TOO_OFTEN = "the same, and no further replacement is allowed"
    LOAD_FAILED = "Triton logged a failed load"
    LOAD_FAILED_AGAIN = "the same, after the old instances were killed"
    LOAD_OVERDUE = (
        "a load takes ten times as long as the first one did, or two minutes if that is more"
    )
    RESTED = "Triton has noticed that the model is gone"
    STOP = "the server stops"


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
hangs if a folder disappears during its load. An instance that hangs is killed, which is DIED."""
