"""The decisions of a model's supervisor, on doubles of the processes; real ones die in
tests/integration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from asr_backend.server.models import MODELS
from asr_backend.server.supervise.model_state import TRANSITIONS, Event, State
from asr_backend.server.supervise.model_supervisor import ModelSupervisor
from asr_backend.triton_io.progress import HANG_S, Signs


@dataclass
class Process:
    pid: int
    alive: bool = True
    used_s: float = 0.0
    said: Signs | None = None
    released: bool = False

    def is_alive(self) -> bool:
        return self.alive

    def cpu_s(self) -> float:
        return self.used_s

    def kill(self) -> None:
        self.alive = False

    def signs(self) -> Signs | None:
        return self.said

    def release(self) -> None:
        self.released = True


@dataclass
class World:
    """A tritonserver, its folder and its stubs in one."""

    stubs: list[Process]
    loads: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def touch(self, model: str) -> None:
        self.done.append(f"touch {model}")

    def withdraw(self, model: str) -> None:
        self.done.append(f"withdraw {model}")

    def restore(self, model: str) -> None:
        self.done.append(f"restore {model}")

    def living(self) -> list[Process]:
        return [stub for stub in self.stubs if stub.alive]


@pytest.fixture
def world() -> World:
    return World([Process(1), Process(2)])


def supervisor(
    world: World, model: str = "transcribe", upstream: ModelSupervisor | None = None
) -> ModelSupervisor:
    (spec,) = (spec for spec in MODELS if spec.name == model)
    kept = ModelSupervisor(spec, run=world, log=world.log.append, upstream=upstream)
    kept.begin(world, world.living)
    kept.adopt(now_s=0.0, load_s=1.0)
    return kept


def heal(kept: ModelSupervisor, world: World, now_s: float) -> None:
    world.stubs[0].alive = False
    kept.step(now_s)
    world.stubs += [Process(3), Process(4)]
    world.loads[kept.spec.name] += 1
    kept.step(now_s + 1)


def test_a_dead_instance_is_replaced_by_a_new_load(world):
    kept = supervisor(world)
    kept.step(0)
    assert (kept.state, world.done) == (State.READY, [])
    heal(kept, world, 10)
    assert (kept.state, kept.heals, world.done) == (State.READY, 1, ["touch transcribe"])
    assert [stub.pid for stub in kept.instances] == [3, 4]


def test_an_old_front_is_left_alone_while_it_works(world):
    kept = supervisor(world)
    heal(kept, world, 0)
    survivor = world.stubs[1]
    for now_s in range(10, 1000, 10):
        survivor.used_s += 0.01
        kept.step(now_s)
        assert survivor.alive
    for now_s in range(1000, 1300, 10):
        kept.step(now_s)
    assert not survivor.alive
    assert world.stubs[2].alive


def die_and_heal(kept: ModelSupervisor, world: World, now_s: float) -> None:
    """One death at `now_s`; both instances of the next load are there a second later."""
    kept.instances[0].alive = False
    kept.step(now_s)
    assert kept.state is State.HEALING
    world.stubs += [Process(len(world.stubs) + 1), Process(len(world.stubs) + 2)]
    world.loads[kept.spec.name] += 1
    kept.step(now_s + 1)
    assert kept.state is State.READY


def test_a_model_that_dies_again_and_again_is_healed_with_pauses_and_then_given_up(world):
    kept = supervisor(world, "wav2vec2")
    for now_s in (0, 2, 4):
        die_and_heal(kept, world, now_s)
    kept.instances[0].alive = False
    kept.step(6)
    assert (kept.state, kept.dead) == (State.READY, 1)
    for now_s in range(40, 40 + 7 * 40, 40):
        die_and_heal(kept, world, now_s)
    kept.instances[0].alive = False
    kept.step(590)
    assert (kept.state, kept.heals) == (State.FAILED, 10)


def test_rare_deaths_are_healed_at_once_for_ever(world):
    kept = supervisor(world, "wav2vec2")
    for hour in range(30):
        die_and_heal(kept, world, hour * 3600)
    assert kept.heals == 30


def test_an_instance_that_dies_before_it_is_found_is_healed_too(world):
    kept = supervisor(world)
    world.stubs[0].alive = False
    kept.step(0)
    world.stubs.append(Process(3))
    world.loads["transcribe"] += 1
    kept.step(1)
    assert (kept.state, kept.dead) == (State.READY, 1)
    kept.step(2)
    assert kept.state is State.HEALING
    world.stubs += [Process(4), Process(5)]
    world.loads["transcribe"] += 1
    kept.step(3)
    assert (kept.state, kept.dead) == (State.READY, 0)


def test_a_load_that_never_comes_asks_for_another_tritonserver(world):
    kept = supervisor(world)
    world.stubs[0].alive = False
    kept.step(0)
    kept.step(100)
    assert kept.state is State.HEALING
    kept.step(1000)
    assert kept.state is State.STUCK


def test_a_failed_load_is_tried_once_more_with_the_memory_freed(world):
    kept = supervisor(world, "wav2vec2")
    world.stubs[0].alive = False
    kept.step(0)
    world.failures["wav2vec2"] += 1
    kept.step(1)
    assert kept.state is State.RESTING
    assert world.living() == []
    kept.step(2)
    kept.step(6)
    assert kept.state is State.HEALING
    assert world.done == ["touch wav2vec2", "withdraw wav2vec2", "restore wav2vec2"]
    world.failures["wav2vec2"] += 1
    kept.step(7)
    assert kept.state is State.FAILED


def draining(world: World) -> tuple[ModelSupervisor, World, Process]:
    """A stop after one of two fronts died: supervisor, acoustic model's world, the other front."""
    acoustic = World([Process(11)])
    kept = supervisor(world, upstream=supervisor(acoustic, "wav2vec2"))
    heal(kept, world, 0)
    kept.drain(2)
    for fresh in kept.instances:
        fresh.alive = False
    return kept, acoustic, world.stubs[1]


def test_a_stop_ends_an_old_front_soon_when_nothing_works(world):
    kept, _, survivor = draining(world)
    kept.drain(4)
    assert survivor.alive
    assert kept.drain(5.5)
    assert not survivor.alive


def test_a_stop_leaves_an_old_front_alone_that_may_wait_for_windows(world):
    kept, acoustic, survivor = draining(world)
    for now_s in range(3, 12):
        acoustic.stubs[0].used_s += 0.5
        assert not kept.drain(now_s)
    # The acoustic model dies, and its successor loads without a sign of life.
    acoustic.stubs[0].alive = False
    for now_s in range(12, 20):
        assert not kept.drain(now_s)
    kept._upstream.step(20)
    acoustic.stubs.append(Process(12))
    acoustic.loads["wav2vec2"] += 1
    kept._upstream.step(20.5)
    assert not kept.drain(21)
    # Others may keep the acoustic model busy for ever; the front itself was idle for 20 s.
    acoustic.stubs[1].used_s += 0.5
    assert kept.drain(22.5)
    assert not survivor.alive


def test_draining_waits_for_a_load_under_way(world):
    kept = supervisor(world)
    world.stubs[0].alive = False
    kept.step(0)
    assert not kept.drain(1)
    assert world.done == ["touch transcribe"]
    world.stubs.append(Process(3))
    world.loads["transcribe"] += 1
    assert not kept.drain(2)
    assert not kept.drain(3)
    assert world.done == ["touch transcribe", "withdraw transcribe"]
    for stub in world.stubs:
        stub.alive = False
    assert kept.drain(4)


def say(
    process: Process, beats: int, steps: int = 0, busy: int = 0, patience_s: float = 20
) -> None:
    process.said = Signs(beats, steps, busy, patience_s)


def beat(kept: ModelSupervisor, process: Process, start_s: int, end_s: int, **said: int) -> None:
    """The process beats each second, and the supervisor looks."""
    for now_s in range(start_s, end_s):
        say(process, beats=now_s, **said)
        kept.step(now_s)


def test_an_instance_without_a_sign_of_life_is_ended_and_replaced(world):
    kept = supervisor(world, "wav2vec2")
    silent, lively = world.stubs
    say(silent, beats=1)
    beat(kept, lively, 0, round(HANG_S))
    assert silent.alive
    beat(kept, lively, round(HANG_S), round(HANG_S) + 2)
    assert (silent.alive, lively.alive, kept.hangs) == (False, True, 1)
    assert "process 1 hangs (no sign of life" in world.log[0]
    assert kept.state is State.HEALING
    assert kept.serves


def test_work_that_takes_too_long_is_a_hang_and_a_long_wait_without_work_is_none(world):
    kept = supervisor(world, "wav2vec2")
    worker, idle = world.stubs
    for now_s in range(20):
        say(idle, beats=now_s)
        beat(kept, worker, now_s, now_s + 1, steps=1, busy=1)
    # A step has ended: its time limit starts again.
    for now_s in range(20, 40):
        say(idle, beats=now_s)
        beat(kept, worker, now_s, now_s + 1, steps=2, busy=1)
    assert worker.alive
    say(idle, beats=40)
    beat(kept, worker, 40, 42, steps=2, busy=1)
    assert (worker.alive, idle.alive) == (False, True)


def test_where_the_supervisor_itself_stood_still_nothing_hangs(world):
    kept = supervisor(world, "wav2vec2")
    for process in world.stubs:
        say(process, beats=1, steps=1, busy=1)
    # A suspended machine: all clocks jump.
    for now_s in (0, 3600, 7200, 10800):
        kept.step(now_s)
    assert all(process.alive for process in world.stubs)


def test_a_process_that_says_nothing_of_itself_is_never_taken_to_hang(world):
    kept = supervisor(world)
    for now_s in range(1000):
        kept.step(now_s)
    assert kept.hangs == 0


def test_what_a_dead_instance_held_in_shared_memory_is_released(world):
    kept = supervisor(world)
    heal(kept, world, 0)
    kept.step(2)
    assert world.stubs[0].released
    assert not world.stubs[2].released


def test_before_the_first_tritonserver_health_can_ask(world):
    kept = ModelSupervisor(MODELS[0], run=world, log=world.log.append)
    assert (kept.state, kept.dead, kept.serves) == (State.STARTING, 0, False)


def test_a_new_tritonserver_begins_anew_and_the_counts_go_on(world):
    kept = supervisor(world, "wav2vec2")
    die_and_heal(kept, world, 0)
    successor = World([Process(11)])
    kept.begin(successor, successor.living)
    assert (kept.state, kept.dead, kept.serves, kept.is_loaded) == (State.STARTING, 0, False, False)
    successor.loads["wav2vec2"] += 1
    assert kept.is_loaded
    kept.adopt(now_s=10.0, load_s=1.0)
    assert (kept.state, kept.heals, kept.serves) == (State.READY, 1, True)


def test_one_living_instance_serves_while_the_other_is_replaced(world):
    kept = supervisor(world)
    world.stubs[0].alive = False
    kept.step(0)
    assert (kept.state, kept.serves) == (State.HEALING, True)
    world.stubs[1].alive = False
    assert not kept.serves


def test_every_state_but_the_last_ones_is_left_and_all_are_reached():
    left = {state for state, _ in TRANSITIONS}
    reached = set(TRANSITIONS.values())
    assert set(State) - left == {State.STUCK, State.FAILED, State.DRAINING}
    assert set(State) - reached == {State.STARTING}
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_while_all_live_the_table_of_processes_is_not_searched(world):
    kept = supervisor(world)
    searches = []
    kept._find = lambda: searches.append(1) or world.living()
    for now_s in range(10):
        kept.step(now_s)
    assert not searches
