"""The Triton model `transcribe`: requests in, transcripts out, many at a time.

Triton gives a front its next requests only when `execute` returns. So `execute` waits until the
lengths of its recordings are known, or for a short time: each answers through its own response
sender when it is done, and none keeps another waiting. What a front has in work is capped, in
recordings and in the seconds and bytes of long ones; at the cap `execute` waits, Triton's queue
fills, and Triton refuses what does not fit.
"""

from __future__ import annotations

import asyncio
import mmap
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from asr_backend.audio.limits import AudioLimits
from asr_backend.ctc.decoders import Decoders
from asr_backend.ctc.ngram_files import find_ngrams
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.acoustic_client import AcousticCalls
from asr_backend.front.options import Options, parse_options
from asr_backend.front.recognition import Recognition, Recognizer
from asr_backend.front.result import encode_result
from asr_backend.front.spool import SPOOL_BYTES, spool
from asr_backend.front.unfinished import UnfinishedCall, UnfinishedCalls
from asr_backend.front.work_limits import WorkLimits
from asr_backend.triton_io.errors import Cancelled, Failure, failure
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.progress import Progress
from asr_backend.triton_io.shared_memory import SharedMemory
from asr_backend.triton_io.values import model_parameters, served_checkpoint

LENGTH_WAIT_S = 0.5
"""How long `execute` waits for the length of a recording, whose first sound may lie deep in it."""
MAX_UNFINISHED_FULL = 4.0
"""What a front has in work at most, in recordings of the greatest length, or of the greatest
size."""
OVERLAP_S = 2.0
"""What two neighbouring windows of a long recording share, in seconds; at most a quarter of one."""
DECODE_THREADS = 4
CALL_THREADS = 128
"""Threads in which `async_exec` waits; the loop's default, cores + 4, is a silent cap."""
MAX_UNFINISHED = CALL_THREADS
"""What a front has in work at most, in recordings: more would only wait for one of those threads,
out of sight of Triton's queue and its limit."""
INLINE_SPANS = 1_000
"""Words and characters that are encoded on the event loop, in about three milliseconds; more are
encoded in a thread."""


class Transcribe:
    """One front.

    Args:
        recognizer: does the work for one recording.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        model_id: reported in RESULT.
        model_revision: reported in RESULT.
        limits: the longest and the largest recording.
        max_unfinished: recordings of that length or size that may be unfinished when `execute`
            returns; a smaller one counts as the larger of its two shares.
        shared_memory: where answers need room; None for Triton's.
        progress: what asr-server is told of this process; None tells nothing.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        pb_utils: Any,
        metrics: Metrics,
        model_id: str,
        model_revision: str,
        limits: AudioLimits,
        max_unfinished: float = MAX_UNFINISHED_FULL,
        shared_memory: SharedMemory | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._model_id = model_id
        self._model_revision = model_revision
        self._limits = limits
        self._shared_memory = shared_memory or SharedMemory(pb_utils)
        self._progress = progress or Progress(None)
        self._unfinished = UnfinishedCalls(max_count=MAX_UNFINISHED, max_share=max_unfinished)
        self._call_threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="bls")

    @classmethod
    def from_triton(cls, args: dict[str, str], pb_utils: Any) -> Transcribe:
        """Build a front from what Triton hands to `initialize`."""
        parameters = model_parameters(args)
        checkpoint = served_checkpoint(parameters)
        limits = AudioLimits(
            max_audio_s=float(parameters["max_audio_s"]),
            max_audio_bytes=int(parameters["max_audio_bytes"]),
            max_audio_samples=int(parameters["max_audio_samples"]),
        )
        max_window_s = float(parameters["max_window_s"])
        metrics = Metrics(pb_utils)
        recognizer = Recognizer(
            checkpoint=checkpoint,
            acoustic=AcousticCalls(pb_utils, metrics=metrics, front=args["model_instance_name"]),
            limits=limits,
            max_window_s=max_window_s,
            overlap_s=min(OVERLAP_S, max_window_s / 4),
            long_audio_s=float(parameters["long_audio_s"]) / int(parameters["frontends"]),
            decode_pool=ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode"),
            decoders=Decoders(checkpoint, find_ngrams(checkpoint, parameters.get("lm", ""))),
            # Python runs one search at a time however many threads there are.
            search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
            work_limits=WorkLimits(
                max_beam_work=float(parameters["max_beam_work"]),
                max_channels_audio_s=float(parameters["max_channels_audio_s"]),
            ),
        )
        return cls(
            recognizer=recognizer,
            pb_utils=pb_utils,
            metrics=metrics,
            model_id=checkpoint.id,
            model_revision=checkpoint.revision,
            limits=limits,
            progress=Progress.of_this_process(),
        )

    async def execute(self, requests: list[Any]) -> None:
        """Take up a batch of requests; each is answered through its own response sender.

        The list is emptied: Triton holds it until this returns, and each request its tensors.
        """
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self._call_threads)
        self._progress.beat_with(loop)
        batch = [self._take_up(request) for request in requests]
        requests.clear()
        await asyncio.wait(batch, timeout=LENGTH_WAIT_S)
        while self._unfinished.is_full():
            await self._unfinished.one_ended()

    def finalize(self) -> None:
        """Release the threads; Triton calls this when every request has been answered."""
        self._call_threads.shutdown(wait=False)

    def _take_up(self, request: Any) -> asyncio.Future[None]:
        """Begin a request's work; the future is done once its length is known, or it has failed."""
        return self._unfinished.begin(partial(self._answer, request)).known

    async def _answer(self, request: Any, call: UnfinishedCall) -> None:
        """Answer one request, whatever happens to it, and nobody else's."""
        sender = request.get_response_sender()
        call.is_cancelled = sender.is_cancelled
        # Held until they are sent. Triton 24.10 drops outputs that the caller did not name without
        # the interpreter's lock: as the last reference, it corrupts memory.
        outputs: list[Any] = []
        seconds: dict[str, float] = {}
        failed: Failure | None = None
        try:
            options = parse_options(self._element(request, "OPTIONS"))
            audio = self._element(request, "AUDIO")
            # With its tensors it would hold the audio until the answer.
            del request
            call.weigh(len(audio) / self._limits.max_audio_bytes)
            if SPOOL_BYTES < len(audio) <= self._limits.max_audio_bytes:
                audio = await asyncio.to_thread(spool, audio)
            recognition = await self._recognize(audio, options, sender.is_cancelled, call)
            seconds = _seconds(recognition)
            outputs = await self._outputs(recognition, options, seconds)
            response = self._pb_utils.InferenceResponse(output_tensors=outputs)
        except asyncio.CancelledError:
            failed = failure(self._pb_utils, Cancelled())
        except Exception as error:
            failed = failure(self._pb_utils, error)
        if failed is not None:
            response = self._pb_utils.InferenceResponse(error=failed.error)
        # A question behind the answer ends tritonserver.
        call.is_cancelled = None
        try:
            sender.send(response, flags=self._pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception:
            # The sender is closed all the same: a second response would be refused.
            _log(f"An answer cannot be sent, its caller gets none.\n{traceback.format_exc()}")
        self._count(seconds, failed)

    def _count(self, seconds: dict[str, float], failed: Failure | None) -> None:
        """Count a call, behind its answer: each metric is a message to Triton and back."""
        if failed is not None and failed.log:
            _log(failed.log)
        try:
            if failed is not None and failed.counter:
                self._metrics.add(failed.counter, 1, **failed.labels)
            if failed is None:
                for stage, value in seconds.items():
                    self._metrics.observe("asr_stage_seconds", value, stage=stage)
        except Exception:
            _log(f"A call is not counted in the metrics.\n{traceback.format_exc()}")

    async def _recognize(
        self,
        audio: bytes | mmap.mmap,
        options: Options,
        is_cancelled: Callable[[], bool],
        call: UnfinishedCall,
    ) -> Recognition:
        def on_length(audio_s: float) -> None:
            call.weigh(audio_s / self._limits.max_audio_s)
            call.let_go()

        return await self._recognizer.recognize(audio, options, is_cancelled, on_length)

    def _element(self, request: Any, name: str) -> Any:
        """The one element of a BYTES input."""
        tensor = self._pb_utils.get_input_tensor_by_name(request, name)
        shape = tuple(tensor.shape())
        if shape != (1, 1):
            raise AsrError(
                ErrorCode.BAD_SHAPE,
                f"{name} has shape {list(shape)}, it must be [1, 1]: one recording a request; "
                "the server batches requests itself",
            )
        return tensor.as_numpy()[0, 0]

    async def _outputs(
        self, recognition: Recognition, options: Options, seconds: dict[str, float]
    ) -> list[Any]:
        transcription = recognition.transcription
        encode = partial(
            encode_result,
            transcription=transcription,
            duration_s=recognition.duration_s,
            timestamps=options.timestamps,
            model_id=self._model_id,
            model_revision=self._model_revision,
            timing_ms={stage: 1000 * value for stage, value in seconds.items()},
        )
        is_long = len(transcription.words) + len(transcription.chars) > INLINE_SPANS
        result = await asyncio.to_thread(encode) if is_long else encode()
        values = {"TEXT": transcription.text.encode(), "RESULT": result}
        outputs = [
            self._pb_utils.Tensor(name, np.array([[value]], dtype=object))
            for name, value in values.items()
        ]
        await self._shared_memory.hold(outputs, sum(map(len, values.values())))
        return outputs


def _log(text: str) -> None:
    # Not by Triton's logger: it needs shared memory, and ends the process where there is none left.
    print(text, file=sys.stderr, flush=True)


def _seconds(recognition: Recognition) -> dict[str, float]:
    """Seconds of each stage, up to now."""
    stages = recognition.stages
    return {
        "decode": stages.decode_s,
        "acoustic": stages.acoustic_s,
        "ctc": stages.ctc_s,
        "total": stages.total_s(),
    }
