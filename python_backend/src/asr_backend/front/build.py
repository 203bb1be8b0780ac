"""Builds the recognizer of a front from the arguments of Triton's `initialize`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asr_backend.audio.limits import AudioLimits
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.decoders import Decoders
from asr_backend.ctc.ngram_files import find_ngrams
from asr_backend.front.acoustic_client import BlsAcousticClient
from asr_backend.front.recognition import Recognizer
from asr_backend.front.window_budget import WindowBudget
from asr_backend.front.work_limits import WorkLimits
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.paths import decode_path
from asr_backend.triton_io.values import model_parameters, served_checkpoint

OVERLAP_S = 2.0
"""Overlap of two neighbouring windows of a long recording, in seconds; at most a quarter window."""
DECODE_THREADS = 4
IN_FLIGHT = 2
"""Audio that one front has at the acoustic model, in units of `long_audio_s`. More would not run
sooner, and what is there cannot be dropped when its caller goes."""


def build_recognizer(args: dict[str, str], pb_utils: Any, metrics: Metrics) -> Recognizer:
    """Build the recognizer that the `parameters` of config.pbtxt describe.

    Args:
        args: of Triton's `initialize`.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.

    Raises:
        CheckpointError: the checkpoint or the language model cannot be served.
    """
    parameters = model_parameters(args)
    checkpoint = served_checkpoint(parameters)
    max_window_s = float(parameters["max_window_s"])
    long_audio = round(float(parameters["long_audio_s"]) * checkpoint.sample_rate_hz)
    language_model = str(decode_path(parameters["lm"])) if "lm" in parameters else ""
    return Recognizer(
        checkpoint=checkpoint,
        acoustic=BlsAcousticClient(
            pb_utils,
            metrics=metrics,
            front=args["model_instance_name"],
            room=WindowBudget(IN_FLIGHT * long_audio),
        ),
        decoders=Decoders(checkpoint, find_ngrams(checkpoint, language_model)),
        limits=AudioLimits(
            max_audio_s=float(parameters["max_audio_s"]),
            max_audio_bytes=int(parameters["max_audio_bytes"]),
            max_audio_samples=int(parameters["max_audio_samples"]),
        ),
        work_limits=WorkLimits(
            max_beam_work=float(parameters["max_beam_work"]),
            max_channels_audio_s=float(parameters["max_channels_audio_s"]),
        ),
        max_window_s=max_window_s,
        overlap_s=min(OVERLAP_S, max_window_s / 4),
        budget=WindowBudget(long_audio // int(parameters["frontends"])),
        decode_pool=ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode"),
        # More threads would not help: a search holds the interpreter lock.
        search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
    )


def reported_model(checkpoint: Checkpoint, parameters: Mapping[str, str]) -> dict[str, str]:
    """The object `model` of RESULT.

    `precision` and `fingerprint` are there if asr-server wrote them: wav2vec2 then loads in that
    precision or not at all. On a plain Triton it may run in any.
    """
    reported = {"id": checkpoint.id, "revision": checkpoint.revision}
    keys = ("precision", "fingerprint")
    return reported | {key: parameters[key] for key in keys if key in parameters}
