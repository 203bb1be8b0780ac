"""The models of a server: what the supervisor has to know of each. A new model is one entry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the repository.

    Attributes:
        name: of its folder, and what callers name.
        idle_s: an instance of an earlier load has no work left when it has used next to nothing of
            the processor for so many seconds.
        upstream: the model whose answers this one waits for, "" for none. It is drained later.
    """

    name: str
    idle_s: float
    upstream: str = ""


MODELS = (
    # A front that waits for windows uses a little of the processor at each; windows may be slow.
    ModelSpec(name="transcribe", idle_s=120.0, upstream="wav2vec2"),
    # The network is never still for long while it has work.
    ModelSpec(name="wav2vec2", idle_s=5.0),
)
"""In the order in which they are drained: nobody's upstream comes before it."""
