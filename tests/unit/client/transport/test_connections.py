"""When a connection is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from asr_client import _wire
from asr_client._transport.connections import SILENCE_S, Connections

ADDRESS = "asr:8001"


class World:
    """Connections whose channels are numbers, and their clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.opened = 0
        self.connections = Connections(self.open, clock=lambda: self.now)

    def open(self, address: str) -> int:
        self.opened += 1
        return self.opened


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(_wire, "stub", lambda channel: channel)
    return World()


def request(world: World, *, lasts_s: float, responded: bool | None) -> Any:
    connection = world.connections.begin(ADDRESS)
    world.now += lasts_s
    return world.connections.end(connection, responded=responded)


def test_an_answer_keeps_it_however_long_it_took(world: World) -> None:
    assert request(world, lasts_s=60, responded=True) is None
    assert request(world, lasts_s=60, responded=True) is None
    assert world.opened == 1


def test_a_deadline_without_a_word_replaces_it(world: World) -> None:
    assert request(world, lasts_s=SILENCE_S, responded=False) == 1
    request(world, lasts_s=0, responded=True)
    assert world.opened == 2


def test_short_deadlines_add_up(world: World) -> None:
    for _ in range(3):
        assert request(world, lasts_s=0.3 * SILENCE_S, responded=False) is None
    assert request(world, lasts_s=0.3 * SILENCE_S, responded=False) == 1


def test_an_answer_to_another_request_is_a_sign_of_life(world: World) -> None:
    slow, quick = world.connections.begin(ADDRESS), world.connections.begin(ADDRESS)
    world.now += SILENCE_S
    world.connections.end(quick, responded=True)
    world.now += SILENCE_S / 2
    assert world.connections.end(slow, responded=False) is None
    request(world, lasts_s=0, responded=True)
    assert world.opened == 1


def test_who_did_not_wait_says_nothing(world: World) -> None:
    assert request(world, lasts_s=60, responded=None) is None
    request(world, lasts_s=0, responded=True)
    assert world.opened == 1


def test_what_is_in_flight_keeps_the_old_one_open(world: World) -> None:
    patient = world.connections.begin(ADDRESS)
    assert request(world, lasts_s=SILENCE_S, responded=False) is None
    assert request(world, lasts_s=0, responded=True) is None
    assert world.opened == 2
    # A deadline on the old one says nothing of the new one.
    assert world.connections.end(patient, responded=False) == 1
    request(world, lasts_s=0, responded=True)
    assert world.opened == 2


def test_one_that_gives_no_sign_of_life_is_replaced_at_once_and_closed_when_it_is_free(
    world: World,
) -> None:
    used = world.connections.begin(ADDRESS)
    question = world.connections.begin(ADDRESS, used)
    world.connections.replace(used)
    world.connections.replace(used)
    assert world.connections.end(question, responded=False) is None
    request(world, lasts_s=0, responded=True)
    assert world.opened == 2
    assert world.connections.end(used, responded=None) == 1


def test_one_in_use_is_forgotten_and_closed_later(world: World) -> None:
    used = world.connections.begin(ADDRESS)
    assert world.connections.drop(ADDRESS) is None
    assert world.connections.end(used, responded=True) == 1
    request(world, lasts_s=0, responded=True)
    assert world.connections.drop(ADDRESS) == 2
    assert world.connections.drop(ADDRESS) is None


def test_closing_closes_the_old_ones_too(world: World) -> None:
    world.connections.begin(ADDRESS)
    request(world, lasts_s=SILENCE_S, responded=False)
    request(world, lasts_s=0, responded=True)
    assert sorted(world.connections.close()) == [1, 2]
