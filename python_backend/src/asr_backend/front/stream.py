"""The Triton model `transcribe_stream`: one call is one look at the live audio that is not final.

Nothing is kept between two calls: the caller keeps the audio and the text `state`. So any front of
any server can answer the next look.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from asr_backend.front.admission import Admission, Call
from asr_backend.front.answer import Answer, Answers
from asr_backend.front.build import build_recognizer, reported_model
from asr_backend.front.look import Look, LookResult
from asr_backend.front.recognition import Recognizer
from asr_backend.front.stream_options import parse_stream_options
from asr_backend.front.stream_result import encode_look
from asr_backend.front.transcribe import CALL_THREADS, MAX_UNFINISHED_CALLS, MAX_UNFINISHED_WORK
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.progress import Progress
from asr_backend.triton_io.shared_memory import SharedMemory
from asr_backend.triton_io.start_failure import reported
from asr_backend.triton_io.values import element, model_parameters


class TranscribeStream:
    """One front of `transcribe_stream`.

    Args:
        recognizer: transcribes one segment.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        model: the object `model` in RESULT; None has the checkpoint's id and revision alone.
        shared_memory: the memory that answers need room in; None for Triton's.
        progress: reports this process to asr-server; None reports nothing.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        pb_utils: Any,
        metrics: Metrics,
        model: Mapping[str, str] | None = None,
        shared_memory: SharedMemory | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._pb_utils = pb_utils
        self._metrics = metrics
        checkpoint = recognizer.checkpoint
        self._model = model or {"id": checkpoint.id, "revision": checkpoint.revision}
        self._answers = Answers(
            pb_utils,
            metrics,
            shared_memory or SharedMemory(pb_utils),
            failures="asr_stream_failures_total",
        )
        self._progress = progress or Progress(None)
        self._admission = Admission(max_calls=MAX_UNFINISHED_CALLS, max_share=MAX_UNFINISHED_WORK)
        self._call_threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="bls")

    @classmethod
    def from_triton(cls, args: dict[str, str], pb_utils: Any) -> TranscribeStream:
        """Build a front from the arguments of Triton's `initialize`."""
        with reported("transcribe_stream", pb_utils):
            metrics = Metrics(pb_utils)
            recognizer = build_recognizer(args, pb_utils, metrics)
            return cls(
                recognizer=recognizer,
                pb_utils=pb_utils,
                metrics=metrics,
                model=reported_model(recognizer.checkpoint, model_parameters(args)),
                progress=Progress.of_this_process(),
            )

    async def execute(self, requests: list[Any]) -> None:
        """Begin a batch of looks; each is answered through its own response sender.

        The list is emptied: Triton keeps it until this returns, and each request keeps its tensors.
        """
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self._call_threads)
        self._progress.beat_with(loop)
        calls = [self._admission.begin(partial(self._answer, request)) for request in requests]
        requests.clear()
        await self._admission.wait_for_room(calls)

    def finalize(self) -> None:
        """Release the threads; Triton calls this when every request has been answered."""
        self._call_threads.shutdown(wait=False)

    async def _answer(self, request: Any, call: Call) -> None:
        """Answer one look. Its errors end here."""
        with self._answers.to(request, call) as answer:
            options = parse_stream_options(
                element(self._pb_utils, request, "OPTIONS"),
                max_window_s=self._recognizer.max_window_s,
            )
            audio = element(self._pb_utils, request, "AUDIO")
            # The request would keep its tensors, and so the audio, until the answer.
            del request
            call.weigh(len(audio) / self._recognizer.limits.max_audio_bytes)
            call.end_weighing()
            look = await Look(
                self._recognizer,
                options,
                audio,
                is_cancelled=answer.is_cancelled,
                stages=answer.stages,
            ).run()
            seconds = answer.stages.seconds()
            result = encode_look(
                look,
                timestamps=options.timestamps,
                model=self._model,
                timing_ms={stage: 1000 * value for stage, value in seconds.items()},
            )
            await self._give(answer, look, result, seconds["total"])

    async def _give(self, answer: Answer, look: LookResult, result: bytes, took_s: float) -> None:
        # `asr_stage_seconds` is of recordings: looks are many, and short.
        await answer.give(
            {"RESULT": result}, {}, count=partial(_count, self._metrics, look, took_s)
        )


def _count(metrics: Metrics, look: LookResult, took_s: float) -> None:
    kind = "final" if look.segments else "interim" if look.interim else "silence"
    metrics.observe("asr_stream_look_seconds", took_s, kind=kind)
    metrics.add("asr_stream_audio_seconds_total", (look.consumed - look.position) / look.rate_hz)
    metrics.add("asr_stream_computed_seconds_total", look.computed_s)
    for reason, count in Counter(segment.reason for segment in look.segments).items():
        metrics.add("asr_stream_segments_total", count, reason=reason)
