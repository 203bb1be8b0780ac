"""Prepares a checkpoint for this CPU before Triton starts, in a process of its own.

`python -m asr_backend.acoustic.engine.preparing REQUEST` takes and prints a line of JSON.
asr-server calls it: it must not import torch itself, and serving processes disturb a measurement.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.checkpoint.prepared import write_entry

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to prepare.

    Attributes:
        checkpoint: its folder.
        blank_id: of its CTC blank.
        precision: `auto`, `bf16` or `int8`.
        threads: for one operation.
        folder: an empty folder for the entry; "" keeps nothing.
        key: of the entry.
    """

    checkpoint: str
    blank_id: int
    precision: str
    threads: int
    folder: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found.

    Attributes:
        precision: the one to run in; "" if the checkpoint cannot be served.
        measured: how it was found, a line for people; "" if it was named.
        notes: lines for the log: which precisions are too inexact.
        refused: why the checkpoint cannot be served.
    """

    precision: str = ""
    measured: str = ""
    notes: tuple[str, ...] = ()
    refused: str = ""


class _Candidate:
    """An engine, and how to write its network to a folder where that is possible."""

    def __init__(self, engine: Engine, save: Callable[[Path], tuple[str, ...]] | None) -> None:
        self.engine = engine
        self.save = save


def prepare(request: Request) -> Answer:
    """Choose the precision, and write the entry.

    Raises:
        CheckpointError: the weights cannot be served, or not in the precision that was named.
        OSError: the entry cannot be written.
    """
    import torch

    from asr_backend.acoustic.engine.fastest import find_fastest
    from asr_backend.acoustic.engine.probe import speech_like

    torch.set_num_threads(request.threads)
    candidates, notes = _candidates(request)
    measured = ""
    name = next(iter(candidates))
    if request.precision == "auto":
        sound = speech_like(20 * SAMPLE_RATE_HZ)

        def run(engine: Engine, seconds: int) -> None:
            engine.forward([sound[: seconds * SAMPLE_RATE_HZ]])

        fastest = find_fastest(
            {each: partial(run, candidate.engine) for each, candidate in candidates.items()}
        )
        name, measured = fastest.name, str(fastest)
    if request.folder:
        folder = Path(request.folder)
        save = candidates[name].save
        names = save(folder) if save else ()
        write_entry(folder, key=request.key, precision=name, measured=measured, names=names)
    return Answer(precision=name, measured=measured, notes=tuple(notes))


def _candidates(request: Request) -> tuple[dict[str, _Candidate], list[str]]:
    """Engines that are accurate enough, the most exact first, and why others are not."""
    from asr_backend.acoustic.engine.loading import (
        MORE_EXACT,
        complaint_of,
        has_openvino,
        load_model,
    )
    from asr_backend.acoustic.engine.probe import TOLERANCES, Probe
    from asr_backend.acoustic.engine.torch_engine import TorchEngine
    from asr_backend.acoustic.precision import cpu_candidates

    checkpoint = load_checkpoint(Path(request.checkpoint), blank_id=request.blank_id)
    model = load_model(checkpoint)
    probe = Probe.of_model(checkpoint, model)
    on_openvino = has_openvino() and _reproduces(model.config)
    found: dict[str, _Candidate] = {}
    notes = []
    is_auto = request.precision == "auto"
    wanted = cpu_candidates() if is_auto else (request.precision,)
    # fp32 last, because its engine changes the model.
    for precision in reversed(wanted):
        if precision != "fp32" and on_openvino:
            candidate = _on_openvino(checkpoint, model, probe, precision, request.threads)
        else:
            own = model if precision == "fp32" else load_model(checkpoint)
            engine = TorchEngine(checkpoint, own, device="cpu", precision=precision)
            candidate = _Candidate(engine, None)
        if precision != "fp32":
            deviation = probe.deviation(candidate.engine)
            if not deviation <= TOLERANCES[precision]:
                limit = TOLERANCES[precision]
                notes.append(complaint_of(checkpoint, candidate.engine, deviation, limit))
                continue
        found[precision] = candidate
    if not found:
        exacter = MORE_EXACT[request.precision]
        raise CheckpointError(f"{notes[0]}; start with --precision {exacter}")
    return dict(reversed(found.items())), notes


def _reproduces(config: Any) -> bool:
    from asr_backend.acoustic.engine.openvino_graph import reproduces

    return reproduces(config)


def _on_openvino(
    checkpoint: Checkpoint, model: Any, probe: Any, precision: str, threads: int
) -> _Candidate:
    from asr_backend.acoustic.engine.openvino_engine import OpenVinoEngine
    from asr_backend.acoustic.engine.openvino_graph import build_graph
    from asr_backend.acoustic.engine.prepared import FILES, save_network

    graph, clip_norm = build_graph(model, precision)
    engine = OpenVinoEngine(checkpoint, graph, clip_norm, precision=precision, threads=threads)

    def save(folder: Path) -> tuple[str, ...]:
        save_network(folder, graph, clip_norm, probe, precision=precision)
        return FILES

    return _Candidate(engine, save)


def main(argv: list[str]) -> int:
    """Answer a request."""
    # As in a process of wav2vec2.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    try:
        answer = prepare(Request(**json.loads(argv[0])))
    except CheckpointError as error:
        answer = Answer(refused=str(error))
    print(json.dumps(asdict(answer)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
