"""The Triton model `wav2vec2`: turns windows of many callers into log-probabilities.

Triton's dynamic batcher delivers windows of different lengths. They are sorted and split into
forwards under a budget. A window is answered when its forward is done, so that short windows do not
wait for the longest of the batch. While there is live audio, windows of long recordings yield to it
(live_precedence.py). A request that cannot be served fails alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_backend.acoustic.answers import Answers
from asr_backend.acoustic.engine.device_lost import DeviceLost
from asr_backend.acoustic.features import Emissions
from asr_backend.acoustic.forward_plan import FORWARD_START_S, MAX_BATCH_AUDIO_S, plan_forwards
from asr_backend.acoustic.instance import instance_engine
from asr_backend.acoustic.live_precedence import LivePrecedence
from asr_backend.acoustic.window import Window, read_window
from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.progress import Progress
from asr_backend.triton_io.start_failure import reported
from asr_backend.triton_io.values import model_parameters

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine

MAX_PLAUSIBLE_AMPLITUDE = 1e6
"""If a window with a larger amplitude (full scale is 1) overflows, that is the caller's mistake."""

DEVICE_LOST_STATUS = 70
"""Exit status of a process whose device is lost."""


class Wav2Vec2Model:
    """One instance of `wav2vec2`.

    Args:
        engine: runs the network.
        pb_utils: Triton's module.
        metrics: counters that Triton exports.
        max_window_s: maximum length of a window in seconds.
        max_batch_audio_s: maximum seconds of one forward including padding; a longer window runs
            alone.
        forward_start_s: fixed cost of a forward, in seconds of audio.
        progress: reports this process's progress to asr-server; None reports nothing.
        clock: seconds, monotonic; tells how long ago live audio was there.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        pb_utils: Any,
        metrics: Metrics,
        max_window_s: float,
        max_batch_audio_s: float,
        forward_start_s: float = FORWARD_START_S["cpu"],
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._pb_utils = pb_utils
        self._metrics = metrics
        self._max_window_s = max_window_s
        self._max_padded = round(max_batch_audio_s * SAMPLE_RATE_HZ)
        self._forward_start = round(forward_start_s * SAMPLE_RATE_HZ)
        self._answers = Answers(pb_utils, metrics)
        self._live = LivePrecedence(clock)
        self._progress = progress or Progress(None)

    @classmethod
    def from_triton(cls, args: dict[str, str], pb_utils: Any) -> Wav2Vec2Model:
        """Load the checkpoint that Triton's `initialize` arguments name.

        Raises:
            CheckpointError: it cannot be served.
        """
        with reported("wav2vec2", pb_utils):
            return cls._from_triton(args, pb_utils)

    @classmethod
    def _from_triton(cls, args: dict[str, str], pb_utils: Any) -> Wav2Vec2Model:
        parameters = model_parameters(args)
        engine, kind = instance_engine(args, parameters, pb_utils)
        pb_utils.Logger.log_info(f"wav2vec2 runs in {engine.name}")
        budget_s = float(parameters["max_batch_audio_s"])
        return cls(
            engine=engine,
            pb_utils=pb_utils,
            metrics=Metrics(pb_utils),
            max_window_s=float(parameters["max_window_s"]),
            max_batch_audio_s=budget_s or MAX_BATCH_AUDIO_S[kind],
            forward_start_s=FORWARD_START_S[kind],
            progress=Progress.of_this_process(),
        )

    def execute(self, requests: Sequence[Any]) -> None:
        """Answer every request through its own response sender.

        If the device is lost, all unanswered requests get ENGINE_RESTARTING and the process ends:
        only a new process can use the device again.
        """
        self._answers.expect(requests)
        overflows = self._engine.overflows
        try:
            with self._progress.work():
                self._execute(requests)
        except DeviceLost as lost:
            self._end(lost)
        if more := self._engine.overflows - overflows:
            self._pb_utils.Logger.log_warn(
                f"{more} windows overflowed {self._engine.name}; they were computed again in fp32"
            )

    def _execute(self, requests: Sequence[Any]) -> None:
        windows = []
        for request in requests:
            try:
                windows.append(
                    read_window(
                        self._pb_utils,
                        request,
                        self._engine.checkpoint,
                        max_window_s=self._max_window_s,
                    )
                )
            except Exception as error:
                self._answers.fail(request, error)
        has_live = any(window.is_live for window in windows)
        if self._live.is_there(has_live):
            yielding = [window for window in windows if window.deferrals is not None]
            forwards = self._plan([window for window in windows if window.deferrals is None])
            forwards += self._yield(self._plan(yielding), has_live)
        else:
            forwards = self._plan(windows)
        for forward in forwards:
            self._run(forward)

    def _yield(self, forwards: list[list[Window]], has_live: bool) -> list[list[Window]]:
        """Keep the forward that has its turn, if any; the windows of the others come again."""
        deferrals = [[window.deferrals or 0 for window in forward] for forward in forwards]
        turn = self._live.turn(deferrals, has_live)
        for index, forward in enumerate(forwards):
            if index != turn:
                for window in forward:
                    self._answers.defer(window.request)
        return [] if turn is None else [forwards[turn]]

    def finalize(self) -> None:
        """Do nothing: the end of the process releases everything."""

    def _plan(self, windows: list[Window]) -> list[list[Window]]:
        """Split windows into forwards of one language each."""
        return [
            forward
            for language in dict.fromkeys(window.language for window in windows)
            for forward in self._split([one for one in windows if one.language == language])
        ]

    def _split(self, windows: list[Window]) -> list[list[Window]]:
        """Split windows of one language into forwards under the budget."""
        plan = plan_forwards(
            [window.samples.size for window in windows],
            max_padded=self._max_padded,
            start=self._forward_start,
            max_windows=self._engine.max_windows,
        )
        return [[windows[index] for index in forward] for forward in plan]

    def _run(self, windows: list[Window]) -> None:
        """Run windows in one forward; if that fails, in halves, down to the window at fault."""
        windows = [
            window for window in windows if not self._answers.drop_if_cancelled(window.request)
        ]
        if not windows:
            return
        audio_s = len(windows) * max(window.samples.size for window in windows) / SAMPLE_RATE_HZ
        self._progress.expect(audio_s)
        started = time.perf_counter()
        try:
            log_probs = self._forward(windows)
        except DeviceLost:
            raise
        except Exception as error:
            if len(windows) == 1:
                self._answers.fail(windows[0].request, _as_asr_error(error, windows[0]))
                return
            if isinstance(error, MemoryError):
                self._metrics.add("asr_oom_splits_total")
        else:
            took_s = time.perf_counter() - started
            self._progress.done(audio_s, took_s)
            for window, output in zip(windows, log_probs, strict=True):
                if np.isfinite(output).all():
                    self._answers.send(window.request, output)
                else:
                    self._answers.fail(window.request, self._overflow(window))
            # After the answers: each metric is a message to Triton and back.
            self._count([window.samples.size for window in windows], took_s)
            return
        # Outside the except clause: the failed forward's tensors live as long as its traceback.
        middle = len(windows) // 2
        self._run(windows[:middle])
        self._run(windows[middle:])

    def _forward(self, windows: list[Window]) -> list[Emissions]:
        if (language := windows[0].language) is not None:
            self._engine.use_language(language)
        return self._engine.forward([window.samples for window in windows])

    def _count(self, lengths: list[int], took_s: float) -> None:
        """Put a forward into the metrics."""
        audio_s = sum(lengths) / SAMPLE_RATE_HZ
        self._metrics.observe("asr_stage_seconds", took_s, stage="forward")
        self._metrics.observe("asr_forward_windows", len(lengths))
        self._metrics.observe("asr_forward_audio_seconds", audio_s)
        self._metrics.add("asr_audio_seconds_total", audio_s)
        computed_s = self._engine.computed_samples(lengths) / SAMPLE_RATE_HZ
        self._metrics.add("asr_padded_seconds_total", computed_s)

    def _overflow(self, window: Window) -> Exception:
        """The error for finite samples whose output is not: the caller's fault or the service's."""
        loudest = float(np.abs(window.samples).max())
        if loudest > MAX_PLAUSIBLE_AMPLITUDE and not self._engine.checkpoint.do_normalize:
            return AsrError(
                ErrorCode.NON_FINITE_SAMPLES,
                f"amplitudes of up to {loudest:.1e} overflow the network; full scale is 1",
            )
        return FloatingPointError(
            f"{self._engine.name}: NaN or infinity for {window.samples.size} finite samples with "
            f"amplitudes of up to {loudest:.3g}"
        )

    def _end(self, lost: DeviceLost) -> None:
        """Answer the remaining requests and end the process."""
        try:
            self._pb_utils.Logger.log_error(
                f"the device is lost, this process ends and is to be replaced: {lost}"
            )
            detail = "the device failed, and its process starts again; try again"
            self._answers.fail_the_rest(AsrError(ErrorCode.ENGINE_RESTARTING, detail))
        finally:
            # Answers are already with Triton, so the process does not end in the middle of a
            # message, which could end Triton too (docs/triton.md). An orderly exit would wait for
            # the lost device.
            os._exit(DEVICE_LOST_STATUS)


def _as_asr_error(error: Exception, window: Window) -> Exception:
    """The error to answer for a window that failed alone."""
    if not isinstance(error, MemoryError):
        return error
    return AsrError(
        ErrorCode.OUT_OF_MEMORY,
        f"a window of {window.samples.size / SAMPLE_RATE_HZ:.1f} s does not fit the device's "
        "memory by itself now",
    )
