"""The systems, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.systems import offline_engine, pipeline
from benchmarks.systems.base import System
from benchmarks.systems.bento import Bento
from benchmarks.systems.litserve import LitServe
from benchmarks.systems.naive_triton import NaiveTriton
from benchmarks.systems.offline import Offline
from benchmarks.systems.peer import Peer
from benchmarks.systems.pytriton import PyTriton
from benchmarks.systems.ray_serve import RayServe
from benchmarks.systems.service import Service

Maker = Callable[[bool], System]


def _service(precision: str) -> Maker:
    def make(full: bool) -> System:
        return Service(precision=precision, at_once=(1, 4, 16, 64) if full else (1, 4, 16))

    return make


def _offline_engine(precision: str) -> Maker:
    def make(_: bool) -> System:
        return Offline(
            offline_engine.NAME.format(precision),
            offline_engine.load,
            setting=precision,
            at_once=(1, 16),
            is_peer=False,
        )

    return make


def _pipeline(precision: str) -> Maker:
    def make(_: bool) -> System:
        name = f"Hugging Face pipeline, {precision}"
        return Offline(name, pipeline.load, setting=precision, at_once=(1, 16))

    return make


def _peer(peer: type[Peer]) -> Maker:
    return lambda _: peer()


SYSTEMS: Mapping[str, Maker] = {
    "service": _service("auto"),
    "engine": _offline_engine("auto"),
    "service-fp32": _service("fp32"),
    "engine-fp32": _offline_engine("fp32"),
    "pipeline": _pipeline("fp32"),
    "pipeline-bf16": _pipeline("bf16"),
    "naive-triton": _peer(NaiveTriton),
    "pytriton": _peer(PyTriton),
    "litserve": _peer(LitServe),
    "ray-serve": _peer(RayServe),
    "bentoml": _peer(Bento),
}
"""Makers by the name that the command line takes; called with whether the run is a full one."""

TOGETHER: Sequence[frozenset[str]] = (
    frozenset({"service", "engine"}),
    frozenset({"service-fp32", "engine-fp32"}),
)
"""Systems that run at the same time and are measured pass by pass in turn, because their ratio is
what counts."""
