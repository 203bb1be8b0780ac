"""The keeper's decisions, on doubles of the processes; the real ones die in tests/integration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asr_backend.server.healing import ModelKeeper, State


@dataclass
class Process:
    pid: int
    region: str = "none"
    alive: bool = True
    used_s: float = 0.0

    def is_alive(self) -> bool:
        return self.alive

    def cpu_s(self) -> float:
        return self.used_s

    def kill(self) -> None:
        self.alive = False


@dataclass
class World:
    """A tritonserver, its folder and its stubs in one."""

    stubs: list[Process]
    loads: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)

    def touch(self, model: str) -> None:
        self.done.append(f"touch {model}")

    def withdraw(self, model: str) -> None:
        self.done.append(f"withdraw {model}")

    def restore(self, model: str) -> None:
        self.done.append(f"restore {model}")

    def living(self) -> list[Process]:
        return [stub for stub in self.stubs if stub.alive]


@pytest.fixture
def world(monkeypatch, tmp_path: Path) -> World:
    monkeypatch.setattr("asr_backend.server.healing.SHARED_MEMORY", tmp_path)
    return World([Process(1), Process(2)])


def keeper(world: World, model: str = "transcribe") -> ModelKeeper:
    kept = ModelKeeper(model, world, world, world.living, lambda line: None)
    kept.adopt(load_s=1.0)
    return kept


def heal(kept: ModelKeeper, world: World, now_s: float) -> None:
    world.stubs[0].alive = False
    kept.step(now_s)
    world.stubs += [Process(3), Process(4)]
    world.loads[kept.model] += 1
    kept.step(now_s + 1)


def test_a_dead_instance_is_replaced_by_a_new_load(world):
    kept = keeper(world)
    kept.step(0)
    assert (kept.state, world.done) == (State.READY, [])
    heal(kept, world, 10)
    assert (kept.state, kept.heals, world.done) == (State.READY, 1, ["touch transcribe"])
    assert [stub.pid for stub in kept.instances] == [3, 4]


def test_an_old_front_is_left_alone_while_it_works(world):
    kept = keeper(world)
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


def die_and_heal(kept: ModelKeeper, world: World, now_s: float) -> None:
    """One death at `now_s`; both instances of the next load are there a second later."""
    kept.instances[0].alive = False
    kept.step(now_s)
    assert kept.state is State.HEALING
    world.stubs += [Process(len(world.stubs) + 1), Process(len(world.stubs) + 2)]
    world.loads[kept.model] += 1
    kept.step(now_s + 1)
    assert kept.state is State.READY


def test_a_model_that_dies_again_and_again_is_healed_with_pauses_and_then_given_up(world):
    kept = keeper(world, "wav2vec2")
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
    kept = keeper(world, "wav2vec2")
    for hour in range(30):
        die_and_heal(kept, world, hour * 3600)
    assert kept.heals == 30


def test_an_instance_that_dies_before_it_is_found_is_healed_too(world):
    kept = keeper(world)
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


def test_a_load_that_never_comes_is_a_failure(world):
    kept = keeper(world)
    world.stubs[0].alive = False
    kept.step(0)
    kept.step(100)
    assert kept.state is State.HEALING
    kept.step(1000)
    assert kept.state is State.FAILED


def test_a_failed_load_is_tried_once_more_with_the_memory_freed(world):
    kept = keeper(world, "wav2vec2")
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


def draining(world: World) -> tuple[ModelKeeper, World, Process]:
    """A front that has died, a stop, the world of the acoustic model, and the other old front."""
    acoustic = World([Process(11)])
    kept = keeper(world)
    kept.upstream = keeper(acoustic, "wav2vec2")
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
    kept.upstream.step(20)
    acoustic.stubs.append(Process(12))
    acoustic.loads["wav2vec2"] += 1
    kept.upstream.step(20.5)
    assert not kept.drain(21)
    # Others may keep it busy for ever; the front itself has done nothing for 20 s.
    acoustic.stubs[1].used_s += 0.5
    assert kept.drain(22)
    assert not survivor.alive


def test_draining_waits_for_a_load_under_way(world):
    kept = keeper(world)
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
