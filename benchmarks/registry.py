"""The systems, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType

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


def _service(precision: str, full: bool) -> System:
    return Service(precision=precision, at_once=(1, 4, 16, 64) if full else (1, 4, 16))


def _offline(module: ModuleType, precision: str, _: bool) -> System:
    """A program without a server; its module has NAME, IS_PEER and `load`."""
    name = module.NAME.format(precision)
    peer = module.IS_PEER
    return Offline(name, module.load, setting=precision, at_once=(1, 16), is_peer=peer)


def _peer(peer: type[Peer], _: bool) -> System:
    return peer()


SYSTEMS: Mapping[str, Maker] = {
    "service": partial(_service, "auto"),
    "engine": partial(_offline, offline_engine, "auto"),
    "service-fp32": partial(_service, "fp32"),
    "engine-fp32": partial(_offline, offline_engine, "fp32"),
    "pipeline": partial(_offline, pipeline, "fp32"),
    "pipeline-bf16": partial(_offline, pipeline, "bf16"),
    "naive-triton": partial(_peer, NaiveTriton),
    "pytriton": partial(_peer, PyTriton),
    "litserve": partial(_peer, LitServe),
    "ray-serve": partial(_peer, RayServe),
    "bentoml": partial(_peer, Bento),
}
"""Makers by the name that the command line takes; called with whether the run is a full one."""

TOGETHER: Sequence[frozenset[str]] = (
    frozenset({"service", "engine"}),
    frozenset({"service-fp32", "engine-fp32"}),
)
"""Systems that run at the same time and are measured pass by pass in turn, because their ratio is
what counts."""
