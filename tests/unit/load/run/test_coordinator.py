"""How a run is coordinated, by a runner that is not Locust's."""

import time
from types import SimpleNamespace

import pytest

from asr_client.testing import FakeServer
from load_tests.report.tally import Tally
from load_tests.run.coordinator import Coordinator, Target
from load_tests.run.worker import Plan, Run, Share


def coordinate(name, *, users=32, duration_s=90.0, clients=None):
    plan = Plan(name=name, users=users, duration_s=duration_s, arrivals=None, seed=0, timeout_s=5.0)
    runner = SimpleNamespace(user_count=0)
    if clients is not None:
        runner.clients = SimpleNamespace(ready=clients, all=clients)
        runner.send_message = lambda *_: None
    with FakeServer() as server:
        target = Target(url=server.url, metrics_url=None, pid=None)
        return Coordinator(runner, target, plan, (), None), runner


def at(coordinator, elapsed_s):
    """Let so much of the run be over."""
    counted = coordinator.run.tallies
    coordinator.run = Run(coordinator.plan, Share(began_s=time.time() - elapsed_s))
    coordinator.run.tallies = counted


def test_users_follow_the_stages_and_leave_before_the_run_ends():
    coordinator, runner = coordinate("spike")
    users = []
    for elapsed_s in (1, 35, 37, 53, 55, 89):
        at(coordinator, elapsed_s)
        users.append(coordinator.users())
    assert users == [4, 4, 32, 32, 4, 4]
    at(coordinator, 91)
    runner.user_count = 2
    assert coordinator.users() == 0
    runner.user_count = 0
    assert coordinator.users() is None


@pytest.mark.parametrize(
    ("audio_s", "knee"), [([10, 20, 40, 60, 80], None), ([10, 20, 40, 41, 40.5], 2)]
)
def test_a_ramp_ends_at_its_knee(audio_s, knee):
    coordinator, _ = coordinate("ramp")
    for stage, seconds in enumerate(audio_s):
        coordinator.run.tallies[stage, "commands"] = Tally(audio_s=seconds)
    at(coordinator, 51)
    assert coordinator.users() == (12 if knee is None else None)
    callers = coordinator.summary().data()["knee_callers"]
    assert callers == (None if knee is None else 4)


def test_the_counts_of_all_workers_are_waited_for():
    workers = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    coordinator, runner = coordinate("steady", clients=workers)
    at(coordinator, 91)
    runner.user_count = 1
    coordinator.take_report("a", {})
    coordinator.take_report("b", {})
    assert coordinator.users() == 0
    runner.user_count = 0
    assert coordinator.users() == 0
    coordinator.take_report("a", {})
    assert coordinator.users() == 0
    coordinator.take_report("b", {})
    assert coordinator.users() is None


def test_figures_that_cannot_be_written_leave_the_verdict(tmp_path):
    coordinator, _ = coordinate("steady")
    coordinator._output = tmp_path / "gone" / "run.json"
    coordinator.run.tallies[0, "commands"] = Tally(audio_s=1.0)
    assert coordinator.conclude() == 1
    assert "No such file or directory" in coordinator.verdict


def test_a_worker_that_is_lost_fails_the_run():
    workers = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    coordinator, runner = coordinate("steady", clients=list(workers))
    at(coordinator, 91)
    del runner.clients.all[0]
    assert coordinator.users() is None
    assert coordinator.conclude() == 1
    assert "gate broken: generators: 1 of 2 were lost" in coordinator.verdict


def test_a_worker_with_other_clips_fails_the_run():
    coordinator, _ = coordinate("steady", clients=[SimpleNamespace(id="a")])
    other = Run(Plan(**vars(coordinator.plan) | {"seed": 1}), coordinator.run.share)
    coordinator.take_report("a", other.take())
    assert coordinator.conclude() == 1
    assert "gate broken: generators: a generator has the corpus" in coordinator.verdict
