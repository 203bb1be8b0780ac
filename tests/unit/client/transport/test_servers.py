from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import _errors
from asr_client._transport.dns import Name, dns_name
from asr_client._transport.server import (
    FIRST_PROBE_S,
    MAX_PROBE_S,
    MAX_TRIAL_PAUSE_S,
    SILENT_AFTER_S,
    Choice,
    Health,
)
from asr_client._transport.servers import (
    LOOK_UP_AFTER_FAILURE_S,
    LOOK_UP_S,
    PROBE_TIMEOUT_S,
    TRIAL_TIMEOUT_S,
    Servers,
)
from asr_client._types import ServerHealth
from asr_client.testing import Fault

GONE = _errors.ServerUnavailable


class Clock:
    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def made(*targets: str, clock: Clock | None = None, up: bool = True, draw: float = 0) -> Servers:
    servers = Servers(targets, clock=clock or Clock(), rng=lambda: draw)
    for address in targets if up else ():
        servers.answered(address)
    return servers


def choose(servers: Servers, tried: tuple[str, ...] = ()) -> Choice:
    """Where a request goes that ends at once."""
    choice = servers.choose(tried)
    servers.release(choice)
    return choice


def chosen(servers: Servers, count: int, tried: tuple[str, ...] = ()) -> list[str]:
    """The addresses of requests made one after the other."""
    return [choose(servers, tried).address for _ in range(count)]


def test_calls_go_round() -> None:
    assert chosen(made("a", "b", "c"), 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_clients_do_not_all_begin_with_the_same_server() -> None:
    first = Counter(chosen(made("a", "b", draw=n / 100), 1)[0] for n in range(100))
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
    assert choose(servers).probes == ()
    clock.time_s += FIRST_PROBE_S
    assert choose(servers).probes == ("a",)
    # One of many calls asks, and the others do not wait for the answer.
    assert [(c.address, c.probes) for c in (choose(servers), choose(servers))] == [("b", ())] * 2
    servers.note_ready("a", ready=True)
    assert set(chosen(servers, 2)) == {"a", "b"}


def test_an_answer_that_never_comes_does_not_end_the_asking() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    servers.failed("a", GONE)
    clock.time_s += FIRST_PROBE_S
    assert choose(servers).probes == ("a",)
    clock.time_s += PROBE_TIMEOUT_S
    assert choose(servers).probes == ("a",)


def test_a_server_that_stays_away_is_asked_less_and_less_but_always_again() -> None:
    clock = Clock()
    servers = made("a", "b", clock=clock)
    servers.failed("a", GONE)
    asked = []
    while len(asked) < 8:
        clock.time_s += 0.25
        if choose(servers).probes:
            asked.append(clock.time_s)
            servers.note_ready("a", ready=False)
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
    assert choose(servers).probes == ("a",)


def test_of_new_servers_one_must_say_that_it_is_ready_and_the_others_are_asked_meanwhile() -> None:
    choice = made("a", "b", "c", up=False).choose()
    assert (choice.address, choice.unproven, choice.probes) == ("a", True, ("b", "c"))


def test_one_server_alone_is_not_asked_whether_it_may_be_used() -> None:
    servers = made("a", up=False)
    for _ in range(3):
        choice = choose(servers, ("a",))
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


def test_a_server_that_did_not_say_in_time_whether_it_is_ready_is_asked_again() -> None:
    servers = made("a", "b")
    servers.doubt("a")
    choice = choose(servers)
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
        self.servers = Servers(["dns:///asr:1"], clock=self.clock, rng=lambda: 0)
        self.name = Name(host="asr", port=1)

    def now_has(self, *addresses: str) -> list[str]:
        self.servers.looked_up(self.name, addresses)
        return self.servers.take_unused()


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
    choice = cluster.servers.choose()
    assert choice.address == "a"
    assert cluster.now_has("c", "b") == []
    assert set(cluster.servers.addresses) == {"b", "c"}
    assert cluster.servers.name_of("a") == cluster.name
    cluster.servers.release(choice)
    assert cluster.servers.take_unused() == ["a"]
    assert cluster.servers.take_unused() == []
    assert cluster.now_has("b") == ["c"]


def test_an_address_that_comes_back_while_it_finishes_stays() -> None:
    cluster = Cluster()
    cluster.now_has("a")
    choice = cluster.servers.choose()
    cluster.now_has("b")
    cluster.now_has("a", "b")
    cluster.servers.release(choice)
    assert cluster.servers.take_unused() == []
    assert set(cluster.servers.addresses) == {"a", "b"}


def test_an_address_that_was_gone_and_comes_back_at_once_keeps_its_connection() -> None:
    cluster = Cluster()
    cluster.now_has("a", "b")
    cluster.servers.looked_up(cluster.name, ["b"])
    cluster.servers.looked_up(cluster.name, ["a", "b"])
    assert cluster.servers.take_unused() == []


class Pair:
    """Two servers, of which `a` leaves recordings unanswered."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.changes: list[ServerHealth] = []
        self.servers = Servers("ab", clock=self.clock, rng=lambda: 0, on_change=self.changes.append)
        for address in "ab":
            self.servers.answered(address)
        self.servers.failed("b", _errors.ServerBusy)

    def sent_to_a(self) -> Choice:
        choice = self.servers.choose(("b",))
        assert choice.address == "a"
        return choice

    def silent(self, wait_s: float = SILENT_AFTER_S) -> None:
        """A recording that `a` does not answer within its deadline."""
        choice = self.sent_to_a()
        self.clock.time_s += wait_s
        self.servers.unanswered(choice, "no answer within its deadline")
        self.servers.release(choice)

    def next_trial_s(self) -> float:
        """Seconds until `a` is sent a trial recording."""
        began_s = self.clock.time_s
        while "a" not in choose(self.servers).trials:
            self.clock.time_s += 0.25
            assert self.clock.time_s - began_s < 120
        return self.clock.time_s - began_s


NO_ANSWER = ("DEADLINE_EXCEEDED", "Deadline Exceeded")


def test_a_server_that_lets_a_deadline_pass_is_left_out_whatever_it_says() -> None:
    pair = Pair()
    pair.silent()
    assert set(chosen(pair.servers, 4)) == {"b"}
    pair.servers.note_ready("a", ready=True)
    assert set(chosen(pair.servers, 4)) == {"b"}
    (a, b) = pair.servers.views
    assert (a.state, a.left_out, a.reason) == ("silent", True, "no answer within its deadline")
    assert (b.state, b.left_out, b.reason) == ("up", False, "")


@pytest.mark.parametrize("failure", [None, Fault.INTERNAL_ERROR.value, Fault.BAD_OPTIONS.value])
def test_an_answer_to_a_trial_takes_it_back(failure: tuple[str, str] | None) -> None:
    pair = Pair()
    pair.silent()
    assert pair.next_trial_s() == FIRST_PROBE_S
    pair.servers.trial_ended("a", failure)
    assert set(chosen(pair.servers, 4)) == {"a", "b"}
    assert [change.state for change in pair.changes] == ["silent", "up"]


@pytest.mark.parametrize(
    "fault", [Fault.QUEUE_FULL, Fault.QUEUE_TIMEOUT, Fault.DEAD_FRONT, Fault.RESTRICTED]
)
def test_what_triton_says_without_the_model_is_no_answer_to_a_trial(fault: Fault) -> None:
    pair = Pair()
    pair.silent()
    pair.servers.trial_ended("a", fault.value)
    assert pair.servers.health("a") is Health.SILENT


def test_a_trial_that_finds_nobody_makes_it_a_server_that_is_gone() -> None:
    pair = Pair()
    pair.silent()
    pair.servers.trial_ended("a", Fault.CONNECTION_LOST.value)
    assert pair.servers.health("a") is Health.DOWN
    pair.servers.note_ready("a", ready=True)
    assert pair.servers.health("a") is Health.UP


def test_a_late_answer_to_a_call_takes_it_back_too() -> None:
    pair = Pair()
    pair.silent()
    pair.servers.answered("a")
    assert set(chosen(pair.servers, 4)) == {"a", "b"}


def test_one_trial_at_a_time_and_ever_less_often() -> None:
    pair = Pair()
    pair.silent()
    pauses = []
    for _ in range(10):
        pauses.append(pair.next_trial_s())
        pair.clock.time_s += TRIAL_TIMEOUT_S
        assert choose(pair.servers).trials == ()
        pair.servers.trial_ended("a", NO_ANSWER)
    assert pauses == sorted(pauses)
    assert pauses[0] == FIRST_PROBE_S
    assert pauses[-1] == MAX_TRIAL_PAUSE_S


def test_each_time_that_only_trials_are_answered_it_is_left_out_longer() -> None:
    pair = Pair()
    pauses = []
    for _ in range(3):
        pair.silent()
        pauses.append(pair.next_trial_s())
        pair.servers.trial_ended("a", None)
    assert pauses == [FIRST_PROBE_S, 2 * FIRST_PROBE_S, 4 * FIRST_PROBE_S]
    pair.servers.answered("a")
    pair.silent()
    assert pair.next_trial_s() == FIRST_PROBE_S


def test_an_answer_to_another_call_meanwhile_shows_that_it_is_only_slow() -> None:
    pair = Pair()
    slow, quick = pair.sent_to_a(), pair.sent_to_a()
    pair.clock.time_s += 60
    pair.servers.answered("a")
    pair.servers.release(quick)
    pair.servers.unanswered(slow, "no answer within 60 s")
    assert pair.servers.health("a") is Health.UP


def test_short_deadlines_count_together() -> None:
    pair = Pair()
    pair.silent(0.6 * SILENT_AFTER_S)
    assert pair.servers.health("a") is Health.UP
    pair.silent(0.6 * SILENT_AFTER_S)
    assert pair.servers.health("a") is Health.SILENT


def test_many_deadlines_at_once_leave_it_out_no_longer_than_one() -> None:
    pair = Pair()
    choices = [pair.sent_to_a() for _ in range(8)]
    pair.clock.time_s += SILENT_AFTER_S
    for choice in choices:
        pair.servers.unanswered(choice, "no answer")
    assert pair.next_trial_s() == FIRST_PROBE_S


def test_one_server_alone_gets_every_call_and_no_trial() -> None:
    clock = Clock()
    servers = made("a", clock=clock)
    for _ in range(3):
        choice = servers.choose()
        assert (choice.address, choice.trials) == ("a", ())
        clock.time_s += 60
        servers.unanswered(choice, "no answer")


def test_a_silent_server_comes_before_one_that_is_gone_and_after_those_tried() -> None:
    pair = Pair()
    pair.silent()
    assert chosen(pair.servers, 1, ("b",)) == ["b"]
    pair.servers.failed("b", GONE)
    assert chosen(pair.servers, 1) == ["a"]
    assert pair.servers.choose_second(()) is None


def test_a_server_that_answers_nothing_holds_no_more_than_its_share_of_the_calls() -> None:
    servers = made("a", "b")
    for _ in range(3):
        servers.choose()
    held = 0
    for _ in range(50):
        choice = servers.choose()
        held += choice.address == "a"
        if choice.address == "b":
            servers.answered("b")
            servers.release(choice)
    assert held == 0


def test_one_that_fails_fast_draws_no_more_than_its_turns() -> None:
    servers = made("a", "b")
    busy = [servers.choose() for _ in range(16)]
    for choice in busy:
        if choice.address == "a":
            servers.failed("a", _errors.ServerBusy)
            servers.release(choice)
    servers.answered("b")
    seen = Counter()
    for _ in range(20):
        choice = servers.choose()
        seen[choice.address] += 1
        if choice.address == "b":
            servers.answered("b")
        servers.release(choice)
    assert seen == {"a": 10, "b": 10}


EVENTS = st.sampled_from(
    ["choose", "gone", "busy", "answer", "ready", "not ready", "silence", "no trial", "later"]
)


@given(st.lists(st.tuples(EVENTS, st.sampled_from("abc")), max_size=60))
def test_whatever_happens_there_is_a_server_and_a_ready_one_comes_first(events: Any) -> None:
    clock = Clock()
    servers = made("a", "b", "c", clock=clock, up=False)
    last = {address: Choice(address=address) for address in "abc"}
    actions: dict[str, Any] = {
        "gone": lambda address: servers.failed(address, GONE),
        "busy": lambda address: servers.failed(address, _errors.ServerBusy),
        "answer": servers.answered,
        "ready": lambda address: servers.note_ready(address, ready=True),
        "not ready": lambda address: servers.note_ready(address, ready=False),
        "silence": lambda address: servers.unanswered(last[address], "no answer"),
        "no trial": lambda address: servers.trial_ended(address, NO_ANSWER),
    }
    for event, address in events:
        if event == "later":
            clock.time_s += 1
        elif event == "choose":
            choice = servers.choose()
            last[choice.address] = choice
            health = {one: servers.health(one) for one in "abc"}
            if Health.UP in health.values():
                assert health[choice.address] is Health.UP
            assert choice.unproven == (health[choice.address] is Health.UNPROVEN)
            assert all(health[probed] is not Health.UP for probed in choice.probes)
            assert all(health[tried] is Health.SILENT for tried in choice.trials)
            servers.release(choice)
        else:
            actions[event](address)


def test_threads_share_it() -> None:
    servers = made("a", "b")
    with ThreadPoolExecutor(8) as pool:
        counts = Counter(pool.map(lambda _: servers.choose().address, range(400)))
    assert counts == {"a": 200, "b": 200}
