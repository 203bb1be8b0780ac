from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_backend.acoustic.engine.device_lost import DeviceLost
from asr_backend.acoustic.live_precedence import LIVE_S, MAX_DEFERRALS
from asr_backend.acoustic.model import DEVICE_LOST_STATUS, Wav2Vec2Model
from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.triton_io.metrics import Metrics
from tests.support.backend.checkpoints import write_checkpoint
from tests.support.backend.doubles import PbUtils, Request


class FakeEngine:
    """Answers each window's first sample in every place; fails when asked to.

    Args:
        capacity: windows that fit the memory together.
        poison: a first sample at which the forward raises.
    """

    name = "a double"
    max_windows: int | None = None
    overflows = 0

    def __init__(self, checkpoint: Checkpoint, *, capacity: int = 99, poison: float = -1) -> None:
        self.checkpoint = checkpoint
        self.capacity = capacity
        self.poison = poison
        self.forwards: list[list[int]] = []
        self.language: str | None = None
        self.languages: list[str | None] = []

    def computed_samples(self, lengths: Sequence[int]) -> int:
        return len(lengths) * max(lengths)

    def use_language(self, language: str) -> None:
        self.language = language

    def forward(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.forwards.append([window.size for window in windows])
        self.languages.append(self.language)
        if len(windows) > self.capacity:
            raise MemoryError
        if any(window[0] == self.poison for window in windows):
            raise ZeroDivisionError("poison")
        return [
            np.full((self.checkpoint.frame_count(window.size), 32), window[0], np.float32)
            for window in windows
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("acoustic") / "tiny", "base-960h")


@pytest.fixture
def pb_utils() -> PbUtils:
    return PbUtils()


@pytest.fixture
def engine(folder: Path) -> FakeEngine:
    return FakeEngine(load_checkpoint(folder))


@pytest.fixture
def model(engine: FakeEngine, pb_utils: PbUtils) -> Wav2Vec2Model:
    return Wav2Vec2Model(
        engine=engine,
        pb_utils=pb_utils,
        metrics=Metrics(pb_utils),
        max_window_s=2.0,
        max_batch_audio_s=8.0,
    )


def request(length: int = 1_600, value: float = 0.5, **settings: Any) -> Request:
    return Request(SAMPLES=np.full((1, length), value, np.float32), **settings)


def test_each_request_gets_its_own_frames(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    requests = [request(1_600, 0.1), request(800, 0.2), request(3_200, 0.3), request(399, 0.4)]
    model.execute(requests)
    for each, value, frames in zip(requests, (0.1, 0.2, 0.3, 0.4), (4, 2, 9, 1), strict=True):
        output = each.output("LOG_PROBS")
        assert output.shape == (1, frames, 32)
        assert output.dtype == np.float32
        assert (output == np.float32(value)).all()
    assert engine.forwards == [[400, 800, 1_600, 3_200]]
    assert pb_utils.metric("asr_forward_windows").observed == [4]
    assert pb_utils.metric("asr_audio_seconds_total").value == pytest.approx(6_000 / 16_000)
    assert pb_utils.metric("asr_padded_seconds_total").value == pytest.approx(4 * 3_200 / 16_000)


def test_no_answer_waits_for_the_metrics(
    model: Wav2Vec2Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [request(1_600), request(800)]
    answered: list[bool] = []

    def observe(*_: Any, **__: Any) -> None:
        answered.append(all(each.response is not None for each in requests))

    monkeypatch.setattr(Metrics, "observe", observe)
    model.execute(requests)
    assert set(answered) == {True}


def test_forwards_stay_under_the_budget(model: Wav2Vec2Model, engine: FakeEngine) -> None:
    requests = [request(32_000) for _ in range(9)]
    model.execute(requests)
    assert [len(forward) for forward in engine.forwards] == [4, 4, 1]
    assert all(each.output("LOG_PROBS").shape == (1, 99, 32) for each in requests)


def test_an_engine_that_takes_one_window_a_forward(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    engine.max_windows = 1
    requests = [request(length) for length in (3_200, 800, 1_600)]
    model.execute(requests)
    assert engine.forwards == [[800], [1_600], [3_200]]
    assert [each.output("LOG_PROBS").shape[1] for each in requests] == [9, 2, 4]
    audio, padded = "asr_audio_seconds_total", "asr_padded_seconds_total"
    assert pb_utils.metric(audio).value == pytest.approx(pb_utils.metric(padded).value)


SAMPLES_WITH_HOLES = np.zeros((1, 1_000), np.float32)
SAMPLES_WITH_HOLES[0, [7, 9]] = np.nan, np.inf

BAD = {
    "EMPTY_AUDIO: 0 samples": request(0),
    "AUDIO_TOO_LONG: 2.1 s, the limit of one window is 2 s": request(32_001),
    "NON_FINITE_SAMPLES: 2 of 1000 samples are NaN or infinite, the first at 7": Request(
        SAMPLES=SAMPLES_WITH_HOLES
    ),
    "BAD_SHAPE: SAMPLES has shape [2, 800], it must be [1, samples]": Request(
        SAMPLES=np.zeros((2, 800), np.float32)
    ),
    "UNKNOWN_LANGUAGE: 'eng' was asked for": request(parameters={"language": "eng"}),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_request_fails_alone(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils, message: str
) -> None:
    bad = BAD[message]
    bad.caller.response = None
    good = [request(), request()]
    model.execute([good[0], bad, good[1]])
    text, status = bad.failure()
    assert text.startswith(message)
    assert status == "INVALID_ARG"
    assert all(each.output("LOG_PROBS").shape == (1, 4, 32) for each in good)
    code = message.partition(":")[0]
    assert pb_utils.metric("asr_errors_total", code=code).value == 1


def test_a_batch_of_bad_requests_alone_is_no_fault(model: Wav2Vec2Model) -> None:
    requests = [request(0), request(value=np.nan)]
    # What left `execute` would have Triton answer them once more, which ruins its memory.
    model.execute(requests)
    codes = [each.failure()[0].partition(":")[0] for each in requests]
    assert codes == ["EMPTY_AUDIO", "NON_FINITE_SAMPLES"]


def test_an_answer_that_cannot_be_sent_leaves_the_others(
    model: Wav2Vec2Model, pb_utils: PbUtils, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room() -> Any:
        raise RuntimeError("no shared memory")

    good, lost = request(), request()
    monkeypatch.setattr(lost, "get_response_sender", no_room)
    model.execute([lost, good])
    assert good.output("LOG_PROBS").shape == (1, 4, 32)
    assert "no shared memory" in pb_utils.Logger.errors[-1]


def test_an_empty_language_is_none(model: Wav2Vec2Model) -> None:
    asked = request(parameters={"language": "", "other": 1})
    model.execute([asked])
    assert asked.output("LOG_PROBS").shape == (1, 4, 32)


def test_a_cancelled_request_is_never_computed(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    gone, there = request(900, cancelled=True), request(800)
    model.execute([gone, there])
    assert gone.failure()[1] == "CANCELLED"
    assert there.output("LOG_PROBS").shape == (1, 2, 32)
    assert engine.forwards == [[800]]
    assert pb_utils.metric("asr_cancelled_total").value == 1
    model.execute([request(cancelled=True)])
    assert engine.forwards == [[800]]


def test_cancellation_is_asked_for_before_each_forward(
    model: Wav2Vec2Model, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = request(8_000), request(32_000)
    run = engine.forward

    def forward(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        second.caller.cancelled = True
        return run(windows)

    monkeypatch.setattr(engine, "forward", forward)
    model.execute([first, second])
    assert first.output("LOG_PROBS").shape == (1, 24, 32)
    assert second.failure()[1] == "CANCELLED"
    assert engine.forwards == [[8_000]]


def test_the_engine_gets_the_windows_of_one_forward_and_no_others(
    model: Wav2Vec2Model, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window handed over ahead of its forward could be taken for a later caller's."""
    engine.max_windows = 1
    first, left = request(800, 0.1), request(1_600, 0.2)
    run = engine.forward
    given: list[float] = []

    def forward(*arguments: Any) -> list[np.ndarray]:
        left.caller.cancelled = True
        given.extend(window[0] for windows in arguments for window in windows)
        return run(*arguments)

    monkeypatch.setattr(engine, "forward", forward)
    model.execute([first, left])
    model.execute([request(1_600, 0.3)])
    assert left.failure()[1] == "CANCELLED"
    assert given == [np.float32(0.1), np.float32(0.3)]


LIVE: dict[str, Any] = {"parameters": {"live": True}}


def long(length: int, deferrals: int = 0, **more: Any) -> Request:
    """A window of a long recording."""
    return request(length, parameters={"deferrals": deferrals, **more})


def put_off(requests: Sequence[Request]) -> list[bool]:
    """Which of the requests are to come again; the others have their frames."""
    again = [each.response is not None and each.response.has_error() for each in requests]
    for each, is_put_off in zip(requests, again, strict=True):
        if is_put_off:
            assert each.failure() == ("COME_AGAIN: live audio goes first", "UNAVAILABLE")
        else:
            assert each.output("LOG_PROBS").size
    return again


def test_long_recordings_yield_to_live_audio_and_to_nothing_else(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    engine.max_windows = 1
    files = [long(1_600), long(800)]
    short, live = request(16_000), request(32_000, **LIVE)
    model.execute([files[0], short, files[1], live])
    assert engine.forwards == [[16_000], [32_000]]
    assert put_off([short, live, *files]) == [False, False, True, True]
    assert pb_utils.metric("asr_deferred_windows_total").value == 2
    assert not pb_utils.MetricFamily.families["asr_errors_total"].metrics
    # Live audio is there still, though not in this batch: it may come at any moment.
    files = [long(1_600, 1), long(800, 1), long(2_400, 2)]
    model.execute(files)
    assert engine.forwards[2:] == [[2_400]]
    assert put_off(files) == [True, True, False]


def test_what_was_put_off_is_answered_before_live_audio_is_computed(
    model: Wav2Vec2Model, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is in the queue again when the batch ends."""
    engine.max_windows = 1
    files = [long(800), long(1_600)]
    run = engine.forward
    seen: list[bool] = []

    def forward(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        seen.append(files[1].response is not None)
        return run(windows)

    monkeypatch.setattr(engine, "forward", forward)
    model.execute([*files, request(400, **LIVE)])
    assert seen == [True]


def test_a_window_that_was_put_off_often_has_its_turn(
    model: Wav2Vec2Model, engine: FakeEngine
) -> None:
    """However many live windows and shorter ones arrive, long recordings advance."""
    engine.max_windows = 1
    waiting = 0
    while True:
        longest = long(32_000, waiting)
        others = [long(800, deferrals) for deferrals in (0, MAX_DEFERRALS - 1)]
        model.execute([*(request(400, **LIVE) for _ in range(8)), *others, longest])
        if put_off([*others, longest]) == [True, True, False]:
            break
        assert put_off([*others, longest]) == [True, True, True]
        waiting += 1
    assert waiting == MAX_DEFERRALS
    assert engine.forwards[-1] == [32_000], "behind live audio"
    # One forward of two that have waited so long.
    both = [long(800, MAX_DEFERRALS), long(32_000, MAX_DEFERRALS + 1)]
    model.execute([*both, request(400, **LIVE)])
    assert put_off(both) == [True, False]


def test_windows_of_long_recordings_share_their_forward(
    model: Wav2Vec2Model, engine: FakeEngine
) -> None:
    """Where a forward takes several windows, as on a GPU, live audio costs no batches."""
    files = [long(32_000 - index, MAX_DEFERRALS) for index in range(6)]
    model.execute([*files, request(800, **LIVE)])
    assert [len(forward) for forward in engine.forwards] == [1, 3]
    assert sum(put_off(files)) == 3


def test_nothing_yields_without_live_audio(model: Wav2Vec2Model, engine: FakeEngine) -> None:
    plain = [request(length) for length in (3_200, 800, 32_000, 31_000, 16_000)]
    model.execute(plain)
    expected = list(engine.forwards)
    engine.forwards.clear()
    model.execute([long(each.inputs["SAMPLES"].size) for each in plain])
    assert engine.forwards == expected


def test_long_recordings_yield_for_a_while_after_live_audio(
    engine: FakeEngine, pb_utils: PbUtils
) -> None:
    engine.max_windows = 1
    now_s = [100.0]
    model = Wav2Vec2Model(
        engine=engine,
        pb_utils=pb_utils,
        metrics=Metrics(pb_utils),
        max_window_s=2.0,
        max_batch_audio_s=8.0,
        clock=lambda: now_s[0],
    )
    model.execute([request(400, **LIVE)])
    for seconds, expected in ((LIVE_S - 0.1, [False, True]), (0.2, [False, False])):
        now_s[0] += seconds
        files = [long(800), long(1_600)]
        model.execute(files)
        assert put_off(files) == expected


@pytest.mark.parametrize("odd", [{"live": 1}, {"live": "true"}, {"deferrals": "7"}])
def test_odd_parameters_of_other_callers_mean_nothing(
    model: Wav2Vec2Model, engine: FakeEngine, odd: dict[str, Any]
) -> None:
    engine.max_windows = 1
    model.execute([request(400, **LIVE)] if "deferrals" in odd else [])
    windows = [request(800, parameters=odd), request(1_600, parameters=odd)]
    model.execute(windows)
    assert put_off(windows) == [False, False]


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_a_forward_that_does_not_fit_is_split(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils, count: int, capacity: int
) -> None:
    engine.capacity = capacity
    requests = [request(1_600 + index, index / 10) for index in range(count)]
    model.execute(requests)
    for index, each in enumerate(requests):
        assert (each.output("LOG_PROBS") == np.float32(index / 10)).all()
    splits = sum(len(forward) > capacity for forward in engine.forwards)
    assert pb_utils.metric("asr_oom_splits_total").value == splits


def test_a_window_that_does_not_fit_alone(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    engine.capacity = 0
    requests = [request(), request(800)]
    model.execute(requests)
    for each, seconds in zip(requests, ("0.1 s", "0.1 s"), strict=True):
        message, status = each.failure()
        assert message.startswith(f"OUT_OF_MEMORY: a window of {seconds}")
        assert status == "UNAVAILABLE"
    engine.capacity = 9
    again = request()
    model.execute([again])
    assert again.output("LOG_PROBS").shape == (1, 4, 32)


def test_a_defect_of_ours_hits_its_own_request_alone(
    model: Wav2Vec2Model, engine: FakeEngine, pb_utils: PbUtils
) -> None:
    engine.poison = 0.75
    requests = [request(value=value) for value in (0.1, 0.2, 0.75, 0.3, 0.4)]
    model.execute(requests)
    message, status = requests.pop(2).failure()
    assert message.startswith("INTERNAL_ERROR: id ")
    assert status == "INTERNAL"
    assert all(each.output("LOG_PROBS").shape == (1, 4, 32) for each in requests)
    (logged,) = pb_utils.Logger.errors
    assert logged.startswith(message)
    assert "ZeroDivisionError: poison" in logged
    assert pb_utils.metric("asr_oom_splits_total").value == 0


NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.fixture
def overflow(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first value of a window that the engine cannot compute, and what it gives for that."""
    bad: list[float] = []
    run = engine.forward

    def forward(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = run(windows)
        for window, output in zip(windows, outputs, strict=True):
            if window[0] == np.float32(bad[0]):
                output[1, 3] = bad[1]
        return outputs

    monkeypatch.setattr(engine, "forward", forward)
    return bad


@pytest.mark.parametrize("output", NOT_FINITE)
@pytest.mark.parametrize(("value", "do_normalize"), [(0.5, True), (0.5, False), (1e30, True)])
def test_finite_samples_that_give_no_numbers_are_not_the_caller_s_fault(
    model: Wav2Vec2Model,
    engine: FakeEngine,
    pb_utils: PbUtils,
    overflow: list[float],
    output: float,
    value: float,
    do_normalize: bool,
) -> None:
    """However loud: what is brought to unit variance overflows for another reason."""
    overflow += [value, output]
    engine.checkpoint = replace(engine.checkpoint, do_normalize=do_normalize)
    bad, plain = request(value=value), request(value=0.25)
    model.execute([bad, plain])
    message, status = bad.failure()
    assert message.startswith("INTERNAL_ERROR: id ")
    assert status == "INTERNAL"
    assert plain.output("LOG_PROBS").shape == (1, 4, 32)
    (logged,) = pb_utils.Logger.errors
    assert logged.startswith(message)
    assert "a double: NaN or infinity for 1600 finite samples" in logged


@pytest.mark.parametrize("output", NOT_FINITE)
def test_amplitudes_that_overflow_the_network_are_the_caller_s_fault(
    model: Wav2Vec2Model, engine: FakeEngine, overflow: list[float], output: float
) -> None:
    overflow += [1e30, output]
    engine.checkpoint = replace(engine.checkpoint, do_normalize=False)
    loud, plain = request(value=1e30), request()
    model.execute([loud, plain])
    assert loud.failure() == (
        "NON_FINITE_SAMPLES: amplitudes of up to 1.0e+30 overflow the network; full scale is 1",
        "INVALID_ARG",
    )
    assert plain.output("LOG_PROBS").shape == (1, 4, 32)


def test_windows_that_were_computed_in_fp32_after_all_are_logged(
    model: Wav2Vec2Model,
    engine: FakeEngine,
    pb_utils: PbUtils,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = engine.forward

    def forward(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        engine.overflows += sum(window[0] > 1 for window in windows)
        return run(windows)

    monkeypatch.setattr(engine, "forward", forward)
    requests = [request(value=value) for value in (0.1, 3.0, 2.0)]
    model.execute(requests)
    model.execute([request()])
    assert all(each.output("LOG_PROBS").size for each in requests)
    assert pb_utils.Logger.warnings == [
        "2 windows overflowed a double; they were computed again in fp32"
    ]


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the process ended with."""
    seen: list[int] = []

    def end(status: int) -> None:
        seen.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    return seen


@pytest.mark.parametrize("together", [False, True])
def test_a_lost_device_ends_the_process_when_all_are_answered(
    model: Wav2Vec2Model,
    engine: FakeEngine,
    pb_utils: PbUtils,
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[int],
    together: bool,
) -> None:
    engine.max_windows = None if together else 1
    run = engine.forward
    requests = [request(800, 0.1), request(1_600, 0.2), request(3_200, 0.3)]
    bad = request(0)

    def forward(windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        if any(window.size == 1_600 for window in windows):
            raise DeviceLost("CUDA error: an illegal memory access was encountered")
        return run(windows)

    monkeypatch.setattr(engine, "forward", forward)
    with pytest.raises(Ended):
        model.execute([*requests, bad])
    assert statuses == [DEVICE_LOST_STATUS]
    # What was answered before stays so; a second answer would ruin Triton's memory.
    answered = [] if together else requests[:1]
    assert [each.output("LOG_PROBS").shape[2] for each in answered] == [32] * len(answered)
    for each in requests[len(answered) :]:
        message, status = each.failure()
        assert message.startswith("ENGINE_RESTARTING: ")
        assert status == "UNAVAILABLE"
    assert bad.failure()[0].startswith("EMPTY_AUDIO")
    assert pb_utils.Logger.errors == [
        "the device is lost, this process ends and is to be replaced: "
        "CUDA error: an illegal memory access was encountered"
    ]
    lost = pb_utils.metric("asr_errors_total", code="ENGINE_RESTARTING").value
    assert lost == len(requests) - len(answered)


def test_a_lost_device_ends_the_process_where_answers_fail(
    model: Wav2Vec2Model,
    pb_utils: PbUtils,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[int],
) -> None:
    def lost(*_: Any) -> Any:
        raise DeviceLost("CUDA error: unspecified launch failure")

    def broken(*_: Any) -> Any:
        raise RuntimeError("no shared memory")

    monkeypatch.setattr(engine, "forward", lost)
    monkeypatch.setattr(pb_utils.Logger, "log_error", broken)
    with pytest.raises(Ended):
        model.execute([request()])
    assert statuses == [DEVICE_LOST_STATUS]
