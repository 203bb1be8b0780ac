"""Replacing dead model instances: nothing in Triton does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from asr_backend.server.process import TritonProcess
from asr_backend.server.run_directory import SHARED_MEMORY, RunDirectory
from asr_backend.server.stubs import Stub

# Triton looks at the repository every second; it must have seen that a model is gone.
_REST_S = 3.0
_LEAST_DEADLINE_S = 120.0
# An old instance that has used less than this much of the processor for so long has no work left.
# A front that waits for windows uses a little at each; the acoustic model is never still for long.
_IDLE_CPU_S = 0.05
_IDLE_S = {"wav2vec2": 5.0, "transcribe": 120.0}
_DRAINING_IDLE_S = 20.0
# One that waits for nobody else's work either, because that is still too, is done sooner.
_DRAINING_STILL_S = 3.0
# A model that dies again and again is healed a few times at once, then with pauses, and then not
# any more: a new container may help. One poisonous file, which `transcribe` and a client's retries
# bring back for three minutes, does not get as far as that.
_HEALS_AT_ONCE = 3
_PAUSE_S = 30.0
_MOST_HEALS = 10
_HEALS_COUNT_FOR_S = 600.0


class State(str, Enum):
    """What a model is at."""

    STARTING = "starting"
    READY = "ready"
    HEALING = "healing"
    RESTING = "resting"
    FAILED = "failed"
    DRAINING = "draining"


class _Stillness:
    """Whether some processes rest."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._cpu_s: dict[int, float] = {}

    def lasts(self, idle_s: float, stubs: Sequence[Stub], now_s: float) -> bool:
        """Whether they, the same ones, have used next to nothing of the processor for `idle_s`."""
        cpu_s = {stub.pid: stub.cpu_s() for stub in stubs}
        same = cpu_s.keys() == self._cpu_s.keys()
        if same and now_s <= self._since_s + idle_s:
            return False
        still = same and sum(cpu_s.values()) - sum(self._cpu_s.values()) < _IDLE_CPU_S
        self._since_s, self._cpu_s = now_s, cpu_s
        return still


@dataclass
class _Retired:
    """An instance of an earlier load, which finishes what it has begun."""

    stub: Stub
    alone: _Stillness = field(default_factory=_Stillness)
    with_upstream: _Stillness = field(default_factory=_Stillness)


@dataclass
class ModelKeeper:
    """Keeps one model's instances alive.

    A dead one is replaced by loading the model again beside the old instances, which go on with
    their work until they are idle. If that fails, for lack of memory say, the model is taken out,
    its old instances are ended, and it is put back once. One that dies too often is given up.

    Attributes:
        model: its name.
        find: the model's living stubs, those of earlier loads too.
        log: told each step in a line.
        upstream: of the model whose answers this one waits for.
        state: what it is at.
        instances: the stubs of the present load.
        heals: how often it was healed.
    """

    model: str
    triton: TritonProcess
    run: RunDirectory
    find: Callable[[], list[Stub]]
    log: Callable[[str], None]
    upstream: ModelKeeper | None = None
    state: State = State.STARTING
    instances: list[Stub] = field(default_factory=list)
    heals: int = 0
    _retired: list[_Retired] = field(default_factory=list)
    _load_s: float = 0.0
    _since_s: float = 0.0
    _began_s: float = 0.0
    _loads_before: int = 0
    _failures_before: int = 0
    _second_try: bool = False
    _healed_at_s: list[float] = field(default_factory=list)
    # Instances of the present load that died before they could be found.
    _missing: int = 0

    @property
    def dead(self) -> int:
        """Instances of the present load that do not run."""
        return self._missing + sum(not stub.is_alive() for stub in self.instances)

    def adopt(self, load_s: float) -> None:
        """Takes the first load's instances, which took `load_s` seconds to come."""
        self.instances, self._load_s, self.state = self.find(), load_s, State.READY

    def step(self, now_s: float) -> None:
        """Looks, and does what is due."""
        self._end_idle_ones(now_s)
        if self.state is State.READY and self.dead:
            self._heal(now_s)
        elif self.state is State.HEALING:
            self._follow_load(now_s)
        elif self.state is State.RESTING and now_s > self._since_s + _REST_S:
            self._second_try = True
            self._expect_load(now_s)
            self.run.restore(self.model)

    def drain(self, now_s: float) -> bool:
        """Takes the model out, lets it finish, and says whether it has: no instance is left."""
        if self.state is State.HEALING:
            self.step(now_s)  # its folder must stay where it is while Triton loads it
            return False
        if self.state is not State.DRAINING:
            if self.state is not State.RESTING:
                self.run.withdraw(self.model)
            self.state = State.DRAINING
        if self.dead and any(stub.is_alive() for stub in self.instances):
            # The calls of a dead instance never end, and Triton waits for them with the others.
            self._retire(self.instances, now_s)
            self.instances = []
        self._end_idle_ones(now_s)
        return not self.find()

    def _heal(self, now_s: float) -> None:
        self._healed_at_s = [
            at_s for at_s in self._healed_at_s if now_s < at_s + _HEALS_COUNT_FOR_S
        ]
        heals = len(self._healed_at_s)
        if heals >= _MOST_HEALS:
            self.state = State.FAILED
            self.log(
                f"{self.model}: given up, it died again after {heals} heals in "
                f"{_HEALS_COUNT_FOR_S:g} s"
            )
        elif heals < _HEALS_AT_ONCE or now_s > self._healed_at_s[-1] + _PAUSE_S:
            self._began_s, self._second_try = now_s, False
            count = len(self.instances) + self._missing
            self.log(f"{self.model}: {self.dead} of {count} instances died, healing")
            self._expect_load(now_s)
            self.run.touch(self.model)

    def _expect_load(self, now_s: float) -> None:
        self.state, self._since_s = State.HEALING, now_s
        self._loads_before = self.triton.loads[self.model]
        self._failures_before = self.triton.failures[self.model]

    def _follow_load(self, now_s: float) -> None:
        failed = self.triton.failures[self.model] > self._failures_before
        if self.triton.loads[self.model] > self._loads_before:
            old = {stub.pid for stub in self.instances} | {one.stub.pid for one in self._retired}
            count = len(self.instances) + self._missing
            self._retire(self.instances, now_s)
            self.instances = [stub for stub in self.find() if stub.pid not in old]
            self._missing = max(0, count - len(self.instances))
            self.heals += 1
            self._healed_at_s.append(now_s)
            self.state = State.READY
            self.log(f"{self.model}: healed in {now_s - self._began_s:.1f} s")
        elif failed and not self._second_try:
            # At once: Triton tries again a second later, and a folder must not go during a load.
            self.run.withdraw(self.model)
            for stub in self.find():
                stub.kill()
            self.state, self._since_s = State.RESTING, now_s
            self.log(f"{self.model}: failed to load beside its old instances; ending them first")
        elif failed or now_s > self._since_s + max(_LEAST_DEADLINE_S, 10 * self._load_s):
            self.state = State.FAILED
            self.log(f"{self.model}: cannot be healed")

    def _retire(self, stubs: list[Stub], now_s: float) -> None:
        self._retired += [_Retired(stub) for stub in stubs]
        self._end_idle_ones(now_s)

    def _end_idle_ones(self, now_s: float) -> None:
        """Ends those of earlier loads that have no work left."""
        for one in list(self._retired):
            if not one.stub.is_alive():
                self._retired.remove(one)
                (SHARED_MEMORY / one.stub.region).unlink(missing_ok=True)
            elif self._is_idle(one, now_s):
                one.stub.kill()

    def _is_idle(self, one: _Retired, now_s: float) -> bool:
        if self.state is not State.DRAINING:
            return one.alone.lasts(_IDLE_S[self.model], [one.stub], now_s)
        idle_s = min(_IDLE_S[self.model], _DRAINING_IDLE_S)
        if one.alone.lasts(idle_s, [one.stub], now_s):
            return True
        if self.upstream is None or self.upstream.state is not State.READY or self.upstream.dead:
            return False
        together = [one.stub, *self.upstream.find()]
        return one.with_upstream.lasts(_DRAINING_STILL_S, together, now_s)
