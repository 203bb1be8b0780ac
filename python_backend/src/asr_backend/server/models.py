"""The models of a server, as the supervisor needs them. A new model is one entry in MODELS."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the repository.

    Attributes:
        name: the model's folder in the repository, and its name in requests.
        idle_s: an instance of an earlier load counts as idle, and is ended, after so many seconds
            with next to no processor time.
        upstream: the model whose answers this one waits for; "" for none. It is drained later.
        is_required: whether the server is ready only while this model serves.
    """

    name: str
    idle_s: float
    upstream: str = ""
    is_required: bool = True


MODELS = (
    # A front uses processor time only when a window is answered, and windows may be slow.
    ModelSpec(name="transcribe", idle_s=120.0, upstream="wav2vec2"),
    ModelSpec(name="transcribe_stream", idle_s=120.0, upstream="wav2vec2", is_required=False),
    # While the network computes, it uses the processor all the time.
    ModelSpec(name="wav2vec2", idle_s=5.0),
)
"""In the order in which they are drained: a model comes before its upstream."""
