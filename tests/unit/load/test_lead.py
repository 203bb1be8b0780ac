"""How a run is led, by a runner that is not Locust's."""

import time
from types import SimpleNamespace

import pytest

from asr_client.testing import FakeServer
from load_tests.lead import Lead, Target
from load_tests.run import Plan, Run, Share
from load_tests.tally import Tally


def lead(name, *, users=32, duration_s=90.0, clients=None):
    plan = Plan(name=name, users=users, duration_s=duration_s, arrivals=None, seed=0, timeout_s=5.0)
    runner = SimpleNamespace(user_count=0)
    if clients is not None:
        runner.clients = SimpleNamespace(ready=clients, all=clients)
        runner.send_message = lambda *_: None
    with FakeServer() as server:
        target = Target(url=server.url, metrics_url=None, pid=None)
        return Lead(runner, target, plan, (), None), runner


def at(led, elapsed_s):
    """Let so much of the run be over."""
    counted = led.run.tallies
    led.run = Run(led.plan, Share(began_s=time.time() - elapsed_s))
    led.run.tallies = counted


def test_users_follow_the_stages_and_leave_before_the_run_ends():
    led, runner = lead("spike")
    users = []
    for elapsed_s in (1, 35, 37, 53, 55, 89):
        at(led, elapsed_s)
        users.append(led.users())
    assert users == [4, 4, 32, 32, 4, 4]
    at(led, 91)
    runner.user_count = 2
    assert led.users() == 0
    runner.user_count = 0
    assert led.users() is None


@pytest.mark.parametrize(
    ("audio_s", "knee"), [([10, 20, 40, 60, 80], None), ([10, 20, 40, 41, 40.5], 2)]
)
def test_a_ramp_ends_at_its_knee(audio_s, knee):
    led, _ = lead("ramp")
    for stage, seconds in enumerate(audio_s):
        led.run.tallies[stage, "commands"] = Tally(audio_s=seconds)
    at(led, 51)
    assert led.users() == (12 if knee is None else None)
    callers = led.summary().data()["knee_callers"]
    assert callers == (None if knee is None else 4)


def test_the_counts_of_all_workers_are_waited_for():
    workers = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    led, runner = lead("steady", clients=workers)
    at(led, 91)
    runner.user_count = 1
    led.take_report("a", {})
    led.take_report("b", {})
    assert led.users() == 0
    runner.user_count = 0
    assert led.users() == 0
    led.take_report("a", {})
    assert led.users() == 0
    led.take_report("b", {})
    assert led.users() is None


def test_figures_that_cannot_be_written_leave_the_verdict(tmp_path):
    led, _ = lead("steady")
    led._output = tmp_path / "gone" / "run.json"
    led.run.tallies[0, "commands"] = Tally(audio_s=1.0)
    assert led.conclude() == 1
    assert "No such file or directory" in led.verdict


def test_a_worker_that_is_lost_fails_the_run():
    workers = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    led, runner = lead("steady", clients=list(workers))
    at(led, 91)
    del runner.clients.all[0]
    assert led.users() is None
    assert led.conclude() == 1
    assert "gate broken: generators: 1 of 2 were lost" in led.verdict


def test_a_worker_with_other_clips_fails_the_run():
    led, _ = lead("steady", clients=[SimpleNamespace(id="a")])
    other = Run(Plan(**vars(led.plan) | {"seed": 1}), led.run.share)
    led.take_report("a", other.take())
    assert led.conclude() == 1
    assert "gate broken: generators: a generator has the corpus" in led.verdict
