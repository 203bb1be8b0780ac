"""Replaces dead and hung processes of one model; Triton itself does not."""

from __future__ import annotations

from collections.abc import Callable

from asr_backend.server.models import ModelSpec
from asr_backend.server.prepare.run_directory import RunDirectory
from asr_backend.server.supervise.allowance import COUNT_FOR_S, MAX_REPLACEMENTS, Allowance
from asr_backend.server.supervise.hang_detector import HangDetector
from asr_backend.server.supervise.model_state import TRANSITIONS, Event, State
from asr_backend.server.supervise.process import TritonProcess
from asr_backend.server.supervise.retirement import Retirement
from asr_backend.server.supervise.stubs import Stub

# Triton polls the repository every second; it must notice that a model is gone.
_REST_S = 3.0
_MIN_LOAD_S = 120.0
_LOOK_S = 0.5
"""Between two looks for hung processes."""


class ModelSupervisor:
    """Watches one model in each tritonserver of a server, one after another.

    A dead instance is replaced by loading the model again beside the old instances, which finish
    their calls and are ended when idle. If that load fails, for lack of memory for example, the
    model is taken out, its old instances are killed, and it is put back once. An instance that
    hangs is killed first.

    Args:
        spec: which model.
        run: the repository that Triton watches.
        log: writes a log line.
        upstream: the model whose answers this one waits for.

    Attributes:
        spec: which model.
        state: its state.
        instances: the stubs of the present load.
        heals: times that dead instances were replaced.
        hangs: instances that were killed because they hung.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        run: RunDirectory,
        log: Callable[[str], None],
        upstream: ModelSupervisor | None = None,
    ) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.instances: list[Stub] = []
        self.heals = self.hangs = 0
        # Instances of the present load that died before they were found.
        self._missing = 0
        self._run, self._log, self._upstream = run, log, upstream
        self._allowance = Allowance()
        self._triton: TritonProcess
        self._find: Callable[[], list[Stub]]
        self._actions = {
            (State.HEALING, Event.LOADED): self._healed,
            (State.HEALING, Event.LOAD_FAILED): self._make_room,
            (State.HEALING, Event.LOAD_FAILED_AGAIN): self._give_up,
            (State.HEALING, Event.LOAD_OVERDUE): self._give_up_load,
            (State.READY, Event.DIED): self._heal,
            (State.READY, Event.DIED_TOO_OFTEN): self._give_up_healing,
            (State.READY, Event.STOP): self._withdraw,
            (State.RESTING, Event.RESTED): self._put_back,
        }

    def begin(self, triton: TritonProcess, find: Callable[[], list[Stub]]) -> None:
        """Starts over with a new tritonserver.

        Args:
            triton: the process that loads the model.
            find: returns the model's living stubs, those of earlier loads too.
        """
        self._triton, self._find = triton, find
        self.state = State.STARTING
        self.instances = []
        self._retirement = Retirement(self.spec.idle_s)
        self._hang_detectors: dict[int, HangDetector] = {}
        self._next_look_s = 0.0
        self._load_s = 0.0
        self._since_s = 0.0
        self._began_s = 0.0
        self._loads_before = self._failures_before = 0
        self._second_try = False
        self._missing = 0

    @property
    def is_loaded(self) -> bool:
        """Whether Triton has logged a successful load."""
        return self._triton.loads[self.spec.name] > 0

    @property
    def dead(self) -> int:
        """Dead instances of the present load."""
        return self._missing + sum(not stub.is_alive() for stub in self.instances)

    @property
    def serves(self) -> bool:
        """Whether an instance takes calls; one that hangs is killed, so it does not count."""
        return self.state in (State.READY, State.HEALING) and any(
            stub.is_alive() for stub in self.instances
        )

    def adopt(self, now_s: float, load_s: float) -> None:
        """Takes the instances of the first load, which took `load_s` seconds."""
        self._load_s, self.instances = load_s, self._find()
        self._on(Event.LOADED, now_s)

    def step(self, now_s: float) -> None:
        """Looks for dead, hung and idle instances, and acts."""
        self._end_hung_ones(now_s)
        self._retirement.end_idle_ones(now_s)
        if (event := self._event(now_s)) is not None:
            self._on(event, now_s)

    def drain(self, now_s: float) -> bool:
        """Takes the model out; True once its instances have finished and ended."""
        if self.state is State.HEALING:
            self.step(now_s)
            return False
        if self.state is not State.DRAINING:
            self._on(Event.STOP, now_s)
        self._end_hung_ones(now_s)
        if self.dead and any(stub.is_alive() for stub in self.instances):
            # A dead instance's calls may never end, and Triton would wait for them.
            self._retirement.add(self.instances)
            self.instances = []
        self._retirement.end_drained_ones(now_s, self._upstream_stubs())
        return not self._find()

    def _event(self, now_s: float) -> Event | None:
        """The event since the last look, None if there is none."""
        if self.state is State.READY and self.dead:
            if self._allowance.is_spent(now_s):
                return Event.DIED_TOO_OFTEN
            return Event.DIED if self._allowance.may_now(now_s) else None
        if self.state is State.HEALING:
            if self._triton.loads[self.spec.name] > self._loads_before:
                return Event.LOADED
            if self._triton.failures[self.spec.name] > self._failures_before:
                return Event.LOAD_FAILED_AGAIN if self._second_try else Event.LOAD_FAILED
            if now_s > self._since_s + max(_MIN_LOAD_S, 10 * self._load_s):
                return Event.LOAD_OVERDUE
        if self.state is State.RESTING and now_s > self._since_s + _REST_S:
            return Event.RESTED
        return None

    def _on(self, event: Event, now_s: float) -> None:
        """Makes the table's transition and runs its action."""
        before = self.state
        self.state = TRANSITIONS[before, event]
        if action := self._actions.get((before, event)):
            action(now_s)

    def _heal(self, now_s: float) -> None:
        count = len(self.instances) + self._missing
        self._log(
            f"{self.spec.name}: {self.dead} of {count} processes died; loading the model again to "
            "replace them"
        )
        self._began_s, self._second_try = now_s, False
        self._expect_load(now_s)
        self._run.touch(self.spec.name)

    def _put_back(self, now_s: float) -> None:
        self._second_try = True
        self._expect_load(now_s)
        self._run.restore(self.spec.name)

    def _expect_load(self, now_s: float) -> None:
        self._since_s = now_s
        self._loads_before = self._triton.loads[self.spec.name]
        self._failures_before = self._triton.failures[self.spec.name]

    def _healed(self, now_s: float) -> None:
        old = {stub.pid for stub in (*self.instances, *self._retirement.stubs())}
        count = len(self.instances) + self._missing
        self._retirement.add(self.instances)
        self.instances = [stub for stub in self._find() if stub.pid not in old]
        self._missing = max(0, count - len(self.instances))
        self.heals += 1
        self._allowance.spend(now_s)
        self._log(f"{self.spec.name}: replaced in {now_s - self._began_s:.1f} s")

    def _make_room(self, now_s: float) -> None:
        # At once: Triton tries again in a second, and a folder must not disappear during a load.
        self._withdraw(now_s)
        for stub in self._find():
            stub.kill()
        self._since_s = now_s
        self._log(
            f"{self.spec.name}: failed to load beside its old processes, perhaps for lack of "
            "memory; killing those and loading once more"
        )

    def _withdraw(self, now_s: float) -> None:
        self._run.withdraw(self.spec.name)

    def _give_up(self, now_s: float) -> None:
        self._log(
            f"{self.spec.name}: giving up: it failed to load twice, the log above says why; "
            "asr-server ends"
        )

    def _give_up_load(self, now_s: float) -> None:
        self._log(f"{self.spec.name}: the load has not ended after {now_s - self._since_s:.0f} s")

    def _give_up_healing(self, now_s: float) -> None:
        self._log(
            f"{self.spec.name}: giving up: its processes died again after {MAX_REPLACEMENTS} "
            f"replacements in {COUNT_FOR_S / 60:.0f} minutes; asr-server ends"
        )

    def _end_hung_ones(self, now_s: float) -> None:
        """Kills instances without progress, of this load and of earlier ones."""
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + _LOOK_S
        stubs = {stub.pid: stub for stub in self._living()}
        self._hang_detectors = {
            pid: self._hang_detectors.get(pid) or HangDetector(stub.signs)
            for pid, stub in stubs.items()
        }
        for pid, stub in stubs.items():
            if why := self._hang_detectors[pid].hangs(now_s):
                self._log(f"{self.spec.name}: process {pid} hangs ({why}); killing it")
                self.hangs += 1
                stub.kill()
                # Count it once: until the kernel can end it, it is still found.
                self._hang_detectors[pid] = HangDetector(lambda: None)

    def _living(self) -> list[Stub]:
        """The living processes of this load and of earlier ones."""
        if self.state is not State.READY:
            return self._find()
        # All are known, and a search reads the whole table of processes: 6 ms for 130 of them.
        known = (*self.instances, *self._retirement.stubs())
        return [stub for stub in known if stub.is_alive()]

    def _upstream_stubs(self) -> list[Stub] | None:
        if self._upstream is None or self._upstream.state is not State.READY or self._upstream.dead:
            return None
        return self._upstream._find()
