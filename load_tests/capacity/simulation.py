"""A server in simulated time: callers, fronts, the batcher, instances of the network.

What it keeps of the real one: a front takes a call when it has decoded the first window of the one
before; a window waits in the one queue of `wav2vec2` until an instance is free and the batch is
full or the queue delay over; a batch is sorted and split into forwards under a budget of padded
seconds and of waste; every process shares the machine's cores. What it leaves out: the network
between machines, memory, failures, and any variation of service times beyond that of the clips'
lengths.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from asr_backend.acoustic.forward_plan import FORWARD_START_S, plan_forwards
from load_tests.capacity.events import Clock, Processors
from load_tests.capacity.live import Speaker, hop_s
from load_tests.capacity.scenario import Load, Machine, Outcome
from load_tests.capacity.service import Service
from load_tests.run.listener import HOP_S

MAX_WINDOW_S = 20.0
OVERLAP_S = 2.0
"""The server's own constants."""
RATE_HZ = 16_000


@dataclass(kw_only=True)
class _Call:
    began: float
    length_s: float
    windows: Sequence[float]
    """Seconds of each; none for a look in silence."""
    stream: _Stream | None = None
    front: _Front | None = None
    waiting: deque[float] = field(default_factory=deque)
    """Windows not handed to the network yet, seconds."""
    unanswered: int = 0
    """Windows without an answer."""


@dataclass(kw_only=True)
class _Front:
    taking: _Call | None = None
    """The call whose first window it has to decode before it takes the next one."""
    work: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)
    """Its one interpreter does one thing at a time."""
    busy: bool = False


@dataclass(kw_only=True)
class _Stream:
    speaker: Speaker
    open_s: float | None = None
    """Of the last look's open segment."""
    heard_s: float = 0.0
    """When the last look was sent."""


@dataclass(frozen=True)
class _Window:
    call: _Call
    length_s: float
    since: float


def simulate(
    machine: Machine,
    service: Service,
    load: Load,
    *,
    seconds: float,
    warm_up_s: float = 5.0,
) -> Outcome:
    """Run a server for so many simulated seconds after a warm-up.

    The same seed gives the same outcome.
    """
    server = _Server(machine, service, load, warm_up_s, Outcome(seconds=seconds))
    server.run(warm_up_s + seconds)
    return server.outcome


class _Server:
    def __init__(
        self, machine: Machine, service: Service, load: Load, warm_up_s: float, outcome: Outcome
    ) -> None:
        self._machine, self._service, self._load = machine, service, load
        self._warm_up_s = warm_up_s
        self.outcome = outcome
        self._clock = Clock()
        self._cores = self._clock.processors(machine.cores)
        self._gpus = [self._clock.processors(1.0) for _ in range(machine.gpus)]
        devices: list[Processors] = self._gpus or [self._cores]
        self._idle = [device for device in devices for _ in range(machine.instances)]
        self._open = deque(_Front() for _ in range(machine.fronts))
        self._calls: deque[_Call] = deque()
        self._windows: deque[_Window] = deque()
        self._random = random.Random(load.seed)
        self._lengths = self._endless()
        self._front_work_s = self._instance_work_s = 0.0
        forward = max(1, int(machine.max_forward_s // MAX_WINDOW_S))
        self._in_flight = max(1, forward * len(self._idle) // machine.fronts)

    def run(self, until: float) -> None:
        for _ in range(self._load.callers):
            self._call_from_here()
        if self._load.calls_per_s:
            self._arrive()
        for index in range(self._load.streams):
            stream = _Stream(speaker=Speaker(self._random, self._load.lengths_s))
            self._look_at(HOP_S * index / self._load.streams, stream)
        self._clock.run(until)
        machine, outcome = self._machine, self.outcome
        outcome.cores_busy = self._cores.busy_s / until / machine.cores
        instances = machine.instances * max(1, machine.gpus)
        outcome.instances_busy = self._instance_work_s / until / instances
        outcome.fronts_busy = self._front_work_s / until / machine.fronts
        if self._gpus:
            outcome.gpus_busy = sum(gpu.busy_s for gpu in self._gpus) / until / machine.gpus

    def _endless(self) -> Iterator[float]:
        while True:
            yield from self._random.sample(self._load.lengths_s, len(self._load.lengths_s))

    def _arrive(self) -> None:
        self._send(self._next_call())
        pause_s = self._random.expovariate(self._load.calls_per_s)
        self._clock.at(self._clock.now + pause_s, self._arrive)

    def _call_from_here(self) -> None:
        call = self._next_call()
        work_s = self._service.stretch * self._service.caller_s
        self._cores.do(work_s, lambda: self._send(call))

    def _next_call(self) -> _Call:
        length_s = next(self._lengths)
        return _Call(began=self._clock.now, length_s=length_s, windows=windows_of(length_s))

    def _look_at(self, due: float, stream: _Stream) -> None:
        """Look at a stream when it is due, or at once if the last answer came later."""

        def look() -> None:
            windows, stream.open_s = stream.speaker.look(self._clock.now)
            stream.heard_s = self._clock.now
            self._send(_Call(began=due, length_s=sum(windows), windows=windows, stream=stream))

        self._clock.at(max(due, self._clock.now), look)

    def _send(self, call: _Call) -> None:
        def queue() -> None:
            self._calls.append(call)
            self._fill_fronts()

        self._cores.do(self._service.stretch * self._service.triton_s, queue)

    def _fill_fronts(self) -> None:
        while self._open and self._calls:
            front, call = self._open.popleft(), self._calls.popleft()
            front.taking, call.front = call, front
            call.waiting.extend(call.windows)
            call.unanswered = len(call.waiting)
            if not call.windows:
                self._answer_silence(call, front)
            for _ in range(min(self._in_flight, len(call.waiting))):
                self._prepare(call, front)

    def _answer_silence(self, call: _Call, front: _Front) -> None:
        def answer() -> None:
            front.taking = None
            self._open.append(front)
            self._fill_fronts()
            self._end(call)

        self._front_does(front, 1.0, answer)

    def _prepare(self, call: _Call, front: _Front) -> None:
        """Decode a window and hand it to the network."""
        length_s = call.waiting.popleft()

        def queue() -> None:
            self._windows.append(_Window(call, length_s, self._clock.now))
            self._fill_instances()
            if front.taking is call:
                front.taking = None
                self._open.append(front)
                self._fill_fronts()

        self._front_does(front, self._service.before_share, queue)

    def _front_does(self, front: _Front, share: float, then: Callable[[], None]) -> None:
        front.work.append((share * self._service.stretch * self._service.front_s, then))
        self._work(front)

    def _work(self, front: _Front) -> None:
        if front.busy or not front.work:
            return
        front.busy = True
        work_s, then = front.work.popleft()
        began = self._clock.now

        def done() -> None:
            front.busy = False
            self._front_work_s += self._clock.now - began
            then()
            self._work(front)

        self._cores.do(work_s, done)

    def _fill_instances(self) -> None:
        size, delay_s = self._machine.max_batch_size, self._machine.max_queue_delay_us / 1e6
        while self._idle and self._windows:
            ready_at = self._windows[0].since + delay_s
            if len(self._windows) < size and self._clock.now < ready_at:
                self._clock.at(ready_at, self._fill_instances)
                return
            batch = [self._windows.popleft() for _ in range(min(size, len(self._windows)))]
            forwards = plan_forwards(
                [round(window.length_s * RATE_HZ) for window in batch],
                max_padded=round(self._machine.max_forward_s * RATE_HZ),
                start=round(FORWARD_START_S["cuda" if self._gpus else "cpu"] * RATE_HZ),
                max_windows=None if self._gpus else self._service.max_forward_windows,
            )
            plan = deque([batch[index] for index in forward] for forward in forwards)
            self._forward(self._idle.pop(), plan)

    def _forward(self, device: Processors, plan: deque[list[_Window]]) -> None:
        """Run an instance's forwards one after the other; windows are answered with their own."""
        if not plan:
            self._idle.append(device)
            self._fill_instances()
            return
        forward = plan.popleft()
        padded_s = len(forward) * max(window.length_s for window in forward)
        began = self._clock.now

        def answer() -> None:
            self._instance_work_s += self._clock.now - began
            if self._clock.now >= self._warm_up_s:
                self.outcome.forwards += 1
                self.outcome.windows += len(forward)
            for window in forward:
                self._read(window.call)
            self._forward(device, plan)

        machine, service = self._machine, self._service
        if machine.gpus:
            device.do(machine.gpu_forward_s + padded_s / machine.gpu_rtfx, answer)
        else:
            work_s = service.forward_s + service.padded_s * padded_s
            device.do(service.stretch * work_s, answer, width=service.width(machine.threads))

    def _read(self, call: _Call) -> None:
        """Read the text off a window's answer."""
        front = call.front
        assert front is not None
        after = 1 - self._service.before_share
        self._front_does(front, after, lambda: self._answer(call, front))

    def _answer(self, call: _Call, front: _Front) -> None:
        call.unanswered -= 1
        if call.waiting:
            self._prepare(call, front)
        if not call.unanswered:
            self._end(call)

    def _end(self, call: _Call) -> None:
        stream = call.stream
        if self._clock.now >= self._warm_up_s and (stream is None or stream.open_s is not None):
            self.outcome.latencies_s.append(self._clock.now - call.began)
        if self._clock.now >= self._warm_up_s:
            self.outcome.audio_s += call.length_s
        if stream is not None:
            self._look_at(stream.heard_s + hop_s(stream.open_s), stream)
        elif self._load.callers:
            self._call_from_here()


def windows_of(length_s: float) -> list[float]:
    """The windows of a recording without pauses to cut it in: of maximum length."""
    lengths = []
    while length_s > MAX_WINDOW_S:
        lengths.append(MAX_WINDOW_S)
        length_s = max(length_s - MAX_WINDOW_S + OVERLAP_S, MAX_WINDOW_S / 2)
    return [*lengths, length_s]
