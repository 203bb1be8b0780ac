"""Instances of an earlier load: they finish their calls and are then ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asr_backend.server.supervise.stubs import Stub

_IDLE_CPU_S = 0.05
# At a stop. An instance whose upstream is idle too waits for nothing, and is ended sooner.
_DRAINING_IDLE_S = 20.0
_DRAINING_STILL_S = 3.0


class _Stillness:
    """Whether some processes are idle."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._cpu_s: dict[int, float] = {}

    def lasts(self, idle_s: float, stubs: Sequence[Stub], now_s: float) -> bool:
        """Whether the same processes have used next to no processor time for `idle_s`."""
        cpu_s = {stub.pid: stub.cpu_s() for stub in stubs}
        same = cpu_s.keys() == self._cpu_s.keys()
        if same and now_s <= self._since_s + idle_s:
            return False
        still = same and sum(cpu_s.values()) - sum(self._cpu_s.values()) < _IDLE_CPU_S
        self._since_s, self._cpu_s = now_s, cpu_s
        return still


@dataclass
class _Retired:
    stub: Stub
    alone: _Stillness = field(default_factory=_Stillness)
    with_upstream: _Stillness = field(default_factory=_Stillness)


class Retirement:
    """The instances of a model's earlier loads.

    Args:
        idle_s: an instance is ended after so many idle seconds.
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._retired: list[_Retired] = []

    def add(self, stubs: Sequence[Stub]) -> None:
        """Adds instances; dead ones too, whose shared memory is still to be released."""
        self._retired += [_Retired(stub) for stub in stubs]

    def stubs(self) -> list[Stub]:
        """All of them."""
        return [one.stub for one in self._retired]

    def end_idle_ones(self, now_s: float) -> None:
        """Ends idle instances, while the server serves."""
        self._end(lambda one: one.alone.lasts(self._idle_s, [one.stub], now_s))

    def end_drained_ones(self, now_s: float, upstream: Sequence[Stub] | None) -> None:
        """Ends idle instances at a stop, after less time: no new calls come.

        Args:
            now_s: the time.
            upstream: the processes of the model that they wait for; None if one is missing, because
                their idleness then says nothing.
        """
        idle_s = min(self._idle_s, _DRAINING_IDLE_S)

        def is_done(one: _Retired) -> bool:
            if one.alone.lasts(idle_s, [one.stub], now_s):
                return True
            if upstream is None:
                return False
            return one.with_upstream.lasts(_DRAINING_STILL_S, [one.stub, *upstream], now_s)

        self._end(is_done)

    def _end(self, is_done: Callable[[_Retired], bool]) -> None:
        for one in list(self._retired):
            if not one.stub.is_alive():
                self._retired.remove(one)
                one.stub.release()
            elif is_done(one):
                one.stub.kill()
