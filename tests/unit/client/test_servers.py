from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import _errors
from asr_client._servers import (
    FIRST_PROBE_S,
    LOOK_UP_AFTER_FAILURE_S,
    LOOK_UP_S,
    MAX_PROBE_S,
    PROBE_TIMEOUT_S,
    Health,
    Name,
    Servers,
    dns_name,
)

GONE = _errors.ServerUnavailable


class Clock:
    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def made(*targets: str, clock: Clock | None = None, up: bool = True, dice: float = 0) -> Servers:
    servers = Servers(targets, clock=clock or Clock(), dice=lambda: dice)
    for address in targets if up else ():
        servers.answered(address)
    return servers


def chosen(servers: Servers, count: int, tried: tuple[str, ...] = ()) -> list[str]:
    return [servers.choose(tried).address for _ in range(count)]


def test_calls_go_round() -> None:
    assert chosen(made("a", "b", "c"), 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_clients_do_not_all_begin_with_the_same_server() -> None:
    first = Counter(chosen(made("a", "b", dice=n / 100), 1)[0] for n in range(100))
    assert min(first["a"], first["b"]) > 30


def test_a_server_that_is_gone_is_left_out_and_the_others_share() -> None:
    servers = made("a", "b", "c")
    servers.failed("b", GONE)
    assert Counter(chosen(servers, 10)) == {"a": 5, "c": 5}


@pytest.mark.parametrize(
    ("kind", "health"),
    [
        (GONE, Health.DOWN),
        (_errors.ServerDraining, Health.DOWN),
        (_errors.ModelNotFound, Health.DOWN),
        (_errors.ServerBusy, Health.UP),
        (_errors.EngineRestarting, Health.UP),
        (_errors.OutOfMemory, Health.UP),
        (_errors.InvalidAudio, Health.UP),
        (_errors.AuthenticationError, Health.UP),
        (_errors.ServerFault, Health.UP),
    ],
)
def test_only_a_server_that_takes_no_requests_is_left_out(
    kind: type[_errors.AsrError], health: Health
) -> None:
    servers = made("a", "b")
    servers.failed("a", kind)
    assert servers.health("a") is health


def test_a_server_is_asked_in_passing_and_comes_back_when_it_is_ready() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    servers.failed("a", GONE)
    assert servers.choose().probes == ()
    clock.time_s += FIRST_PROBE_S
    assert servers.choose().probes == ("a",)
    # One of many calls asks, and the others do not wait for the answer.
    assert [(c.address, c.probes) for c in (servers.choose(), servers.choose())] == [("b", ())] * 2
    servers.answered("a", ready=True)
    assert set(chosen(servers, 2)) == {"a", "b"}


def test_an_answer_that_never_comes_does_not_end_the_asking() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    servers.failed("a", GONE)
    clock.time_s += FIRST_PROBE_S
    assert servers.choose().probes == ("a",)
    clock.time_s += PROBE_TIMEOUT_S
    assert servers.choose().probes == ("a",)


def test_a_server_that_stays_away_is_asked_less_and_less_but_always_again() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    servers.failed("a", GONE)
    asked = []
    while len(asked) < 8:
        clock.time_s += 0.25
        if servers.choose().probes:
            asked.append(clock.time_s)
            servers.answered("a", ready=False)
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2 * FIRST_PROBE_S
    assert pauses[-1] == MAX_PROBE_S


def test_many_calls_that_fail_at_once_do_not_keep_a_server_out_longer() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    for _ in range(16):
        servers.failed("a", GONE)
    clock.time_s += FIRST_PROBE_S
    assert servers.choose().probes == ("a",)


def test_of_new_servers_one_must_say_that_it_is_ready_and_the_others_are_asked_meanwhile() -> None:
    choice = made("a", "b", "c", up=False).choose()
    assert (choice.address, choice.unproven, choice.probes) == ("a", True, ("b", "c"))


def test_one_server_alone_is_not_asked_whether_it_may_be_used() -> None:
    servers = made("a", up=False)
    for _ in range(3):
        choice = servers.choose(("a",))
        assert (choice.address, choice.unproven, choice.probes) == ("a", False, ())
        servers.failed("a", GONE)


def test_elsewhere_is_elsewhere() -> None:
    servers = made("a", "b", "c")
    assert set(chosen(servers, 6, ("a",))) == {"b", "c"}
    assert set(chosen(servers, 6, ("a", "c"))) == {"b"}
    # All were tried: any but the last one.
    assert set(chosen(servers, 6, ("a", "c", "b"))) == {"a", "c"}


def test_a_tried_server_that_is_up_comes_before_one_that_is_gone() -> None:
    servers = made("a", "b")
    servers.failed("b", GONE)
    assert chosen(servers, 2, ("a",)) == ["a", "a"]
    assert not servers.has_other(("a",))


def test_when_all_are_gone_each_is_still_tried() -> None:
    servers = made("a", "b")
    servers.failed("a", GONE)
    servers.failed("b", GONE)
    assert set(chosen(servers, 4)) == {"a", "b"}
    assert chosen(servers, 1, ("a",)) == ["b"]


def test_a_server_that_let_a_deadline_pass_must_prove_itself_again() -> None:
    servers = made("a", "b")
    servers.doubt("a")
    choice = servers.choose()
    assert (choice.address, choice.unproven, choice.probes) == ("b", False, ("a",))
    servers.answered("a")
    assert set(chosen(servers, 2)) == {"a", "b"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("dns:///asr.default.svc:8001", Name(host="asr.default.svc", port=8001)),
        ("dns:///[::1]:8001", Name(host="::1", port=8001)),
        ("dns:///asr", None),
        ("dns://8.8.8.8/asr:8001", None),
        ("asr:8001", None),
        ("ipv4:1.2.3.4:1,5.6.7.8:2", None),
    ],
)
def test_which_targets_stand_for_several_servers(target: str, name: Name | None) -> None:
    assert dns_name(target) == name


class Cluster:
    """A name whose addresses change."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.servers = Servers(["dns:///asr:1"], clock=self.clock, dice=lambda: 0)
        self.name = Name(host="asr", port=1)

    def now_has(self, *addresses: str) -> list[str]:
        return self.servers.looked_up(self.name, addresses)


def test_a_name_is_looked_up_before_the_first_call_and_while_calls_are_made() -> None:
    cluster = Cluster()
    with pytest.raises(LookupError):
        cluster.servers.choose()
    assert cluster.servers.names_to_look_up() == [cluster.name]
    assert cluster.servers.names_to_look_up() == []
    cluster.now_has("a", "b")
    assert set(cluster.servers.addresses) == {"a", "b"}
    assert cluster.servers.name_of("a") == cluster.name
    cluster.clock.time_s += LOOK_UP_S
    assert cluster.servers.names_to_look_up() == [cluster.name]


def test_a_name_is_looked_up_soon_after_one_of_its_servers_has_gone() -> None:
    cluster = Cluster()
    cluster.servers.names_to_look_up()
    cluster.now_has("a", "b")
    cluster.servers.failed("a", GONE)
    cluster.clock.time_s += LOOK_UP_AFTER_FAILURE_S
    assert cluster.servers.names_to_look_up() == [cluster.name]


def test_a_look_up_that_fails_keeps_what_was_known_and_is_tried_again_soon() -> None:
    cluster = Cluster()
    cluster.servers.names_to_look_up()
    cluster.now_has("a")
    assert cluster.now_has() == []
    assert cluster.servers.addresses == ("a",)
    cluster.clock.time_s += LOOK_UP_AFTER_FAILURE_S
    assert cluster.servers.names_to_look_up() == [cluster.name]


def test_while_nothing_is_known_each_call_looks_up_again() -> None:
    cluster = Cluster()
    for _ in range(3):
        assert cluster.servers.names_to_look_up() == [cluster.name]
        assert cluster.servers.names_to_look_up() == []
        cluster.now_has()


def test_an_address_that_is_gone_gets_no_calls_and_may_finish_those_it_has() -> None:
    cluster = Cluster()
    cluster.now_has("a", "b")
    cluster.servers.answered("a")
    assert cluster.servers.choose().address == "a"
    assert cluster.now_has("c", "b") == []
    assert set(cluster.servers.addresses) == {"b", "c"}
    assert cluster.servers.name_of("a") == cluster.name
    assert cluster.servers.release("a")
    assert not cluster.servers.release("a")
    assert cluster.now_has("b") == ["c"]


def test_an_address_that_comes_back_while_it_finishes_stays() -> None:
    cluster = Cluster()
    cluster.now_has("a")
    cluster.servers.choose()
    cluster.now_has("b")
    cluster.now_has("a", "b")
    assert not cluster.servers.release("a")
    assert set(cluster.servers.addresses) == {"a", "b"}


EVENTS = st.sampled_from(["choose", "gone", "busy", "ready", "not ready", "doubt", "later"])


@given(st.lists(st.tuples(EVENTS, st.sampled_from("abc")), max_size=60))
def test_whatever_happens_there_is_a_server_and_a_ready_one_comes_first(events: Any) -> None:
    clock = Clock()
    servers = made("a", "b", "c", clock=clock, up=False)
    actions: dict[str, Any] = {
        "gone": lambda address: servers.failed(address, GONE),
        "busy": lambda address: servers.failed(address, _errors.ServerBusy),
        "ready": servers.answered,
        "not ready": lambda address: servers.answered(address, ready=False),
        "doubt": servers.doubt,
    }
    for event, address in events:
        if event == "later":
            clock.time_s += 1
        elif event == "choose":
            choice = servers.choose()
            health = {one: servers.health(one) for one in "abc"}
            if Health.UP in health.values():
                assert health[choice.address] is Health.UP
            assert choice.unproven == (health[choice.address] is Health.UNPROVEN)
            assert all(health[probed] is not Health.UP for probed in choice.probes)
            servers.release(choice.address)
        else:
            actions[event](address)


def test_threads_share_it() -> None:
    servers = made("a", "b")
    with ThreadPoolExecutor(8) as pool:
        counts = Counter(pool.map(lambda _: servers.choose().address, range(400)))
    assert counts == {"a": 200, "b": 200}
