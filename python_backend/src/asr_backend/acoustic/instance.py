"""The engine of one Triton instance of `wav2vec2`, from the parameters of its configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.prepared import BrokenEntryError
from asr_backend.triton_io.paths import decode_path
from asr_backend.triton_io.values import served_checkpoint

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine


def instance_engine(
    args: dict[str, str], parameters: Mapping[str, str], pb_utils: Any
) -> tuple[Engine, str]:
    """Load the engine: the network that asr-server prepared, or else the checkpoint.

    Args:
        args: of Triton's `initialize`.
        parameters: of config.pbtxt.
        pb_utils: Triton's module.

    Returns:
        The engine, and its kind of device, `cpu` or `cuda`.

    Raises:
        CheckpointError: the checkpoint cannot be served.
    """
    # Read once, when torch loads its OpenMP library. Threads that spin at a barrier while
    # others wait for a core made forwards 25 times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # By default oneDNN keeps 1,024 prepared operations: tens of megabytes for a small network.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    checkpoint = served_checkpoint(parameters)
    if engine := _prepared_engine(parameters, checkpoint, pb_utils):
        return engine, "cpu"
    return _loaded_engine(args, parameters, checkpoint, pb_utils)


def _prepared_engine(
    parameters: Mapping[str, str], checkpoint: Checkpoint, pb_utils: Any
) -> Engine | None:
    """The engine from asr-server's cache, which needs no torch; None without a whole entry."""
    if "prepared" not in parameters:
        return None
    from asr_backend.acoustic.engine.prepared import load_network

    folder = decode_path(parameters["prepared"])
    try:
        return load_network(folder, checkpoint, threads=_threads(parameters))
    except BrokenEntryError as error:
        pb_utils.Logger.log_warn(
            f"wav2vec2 loads the checkpoint, not the prepared network: {error}"
        )
        return None


def _loaded_engine(
    args: dict[str, str], parameters: Mapping[str, str], checkpoint: Checkpoint, pb_utils: Any
) -> tuple[Engine, str]:
    """The engine from the checkpoint itself, and its kind of device.

    Raises:
        CheckpointError: it cannot be served.
    """
    from asr_backend.acoustic.engine.loading import choose_device, limit_gpu_memory, load_engine

    device = choose_device(
        parameters["device"],
        kind=args["model_instance_kind"],
        device_id=int(args["model_instance_device_id"]),
    )
    if device != "cpu":
        limit_gpu_memory(
            device,
            float(parameters["gpu_memory_fraction"]),
            instances=int(parameters["instances"]),
        )
    engine = load_engine(
        checkpoint,
        device=device,
        precision=parameters["precision"],
        threads=_threads(parameters),
        compiled=parameters["compile"] == "1",
        log=pb_utils.Logger.log_warn,
    )
    return engine, device.partition(":")[0]


def _threads(parameters: Mapping[str, str]) -> int:
    cores = len(os.sched_getaffinity(0))
    return int(parameters["threads"]) or max(1, cores // int(parameters["instances"]))
