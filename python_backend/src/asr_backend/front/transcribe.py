"""The Triton model `transcribe`: requests in, transcripts out, many at a time.

`execute` returns before its requests are answered. Each is answered through its own response sender
when it is done, so none waits for another. front/admission.py limits the unfinished work of a
front: the number of calls, and the seconds and bytes of long recordings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from asr_backend.front.admission import Admission, Call
from asr_backend.front.answer import Answer, Answers
from asr_backend.front.build import build_recognizer, reported_model
from asr_backend.front.options import Options, parse_options
from asr_backend.front.recognition import Job, Recognition, Recognizer
from asr_backend.front.result import encode_result
from asr_backend.front.spool import SPOOL_BYTES, spool
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.progress import Progress
from asr_backend.triton_io.shared_memory import SharedMemory
from asr_backend.triton_io.start_failure import reported
from asr_backend.triton_io.values import element, model_parameters, queue_capacity

MAX_UNFINISHED_WORK = 4.0
"""Maximum unfinished work of one front, in units of one recording of maximum length or size."""
CALL_THREADS = 128
"""Threads in which `async_exec` waits. The loop's default, cores + 4, would limit the calls."""
MAX_UNFINISHED_CALLS = CALL_THREADS
"""Maximum unfinished calls of one front. More would only wait for one of those threads, where
Triton's queue limit does not count them."""
INLINE_SPANS = 1_000
"""Up to so many words and characters are encoded on the event loop, which takes about three
milliseconds; more are encoded in a thread."""


class Transcribe:
    """One front.

    Args:
        recognizer: transcribes one recording.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        model: the object `model` in RESULT; None has the checkpoint's id and revision alone.
        max_unfinished: maximum unfinished work when `execute` returns, in units of one recording
            of maximum length or size. A smaller one counts as the larger of its two shares.
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
        max_unfinished: float = MAX_UNFINISHED_WORK,
        shared_memory: SharedMemory | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._pb_utils = pb_utils
        checkpoint = recognizer.checkpoint
        self._model = model or {"id": checkpoint.id, "revision": checkpoint.revision}
        self._answers = Answers(
            pb_utils, metrics, shared_memory or SharedMemory(pb_utils), timed="asr_call_seconds"
        )
        self._progress = progress or Progress(None)
        self._admission = Admission(
            max_calls=MAX_UNFINISHED_CALLS,
            max_share=max_unfinished,
            is_crowded=recognizer.budget.is_crowded,
        )
        self._call_threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="bls")

    @classmethod
    def from_triton(cls, args: dict[str, str], pb_utils: Any) -> Transcribe:
        """Build a front from the arguments of Triton's `initialize`."""
        with reported("transcribe", pb_utils):
            metrics = Metrics(pb_utils)
            metrics.set("asr_queue_capacity", queue_capacity(args))
            recognizer = build_recognizer(args, pb_utils, metrics)
            return cls(
                recognizer=recognizer,
                pb_utils=pb_utils,
                metrics=metrics,
                model=reported_model(recognizer.checkpoint, model_parameters(args)),
                progress=Progress.of_this_process(),
            )

    async def execute(self, requests: list[Any]) -> None:
        """Begin a batch of requests; each is answered through its own response sender.

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
        """Answer one request. Its errors end here."""
        limits = self._recognizer.limits
        with self._answers.to(request, call) as answer:
            options = parse_options(element(self._pb_utils, request, "OPTIONS"))
            audio = element(self._pb_utils, request, "AUDIO")
            # The request would keep its tensors, and so the audio, until the answer.
            del request
            call.weigh(len(audio) / limits.max_audio_bytes)
            if SPOOL_BYTES < len(audio) <= limits.max_audio_bytes:
                audio = await asyncio.to_thread(spool, audio)

            def on_length(audio_s: float) -> None:
                call.weigh(audio_s / limits.max_audio_s)
                call.end_weighing()

            job = Job(
                audio=audio,
                options=options,
                is_cancelled=answer.is_cancelled,
                on_length=on_length,
                stages=answer.stages,
            )
            await self._give(answer, await self._recognizer.recognize(job), options)

    async def _give(self, answer: Answer, recognition: Recognition, options: Options) -> None:
        transcription = recognition.transcription
        seconds = answer.stages.seconds()
        encode = partial(
            encode_result,
            transcription=transcription,
            duration_s=recognition.duration_s,
            warnings=recognition.warnings,
            timestamps=options.timestamps,
            model=self._model,
            timing_ms={stage: 1000 * value for stage, value in seconds.items()},
        )
        is_long = len(transcription.words) + len(transcription.chars) > INLINE_SPANS
        result = await asyncio.to_thread(encode) if is_long else encode()
        await answer.give({"TEXT": transcription.text.encode(), "RESULT": result}, seconds)
