import pytest

from load_tests.run.corpus import KINDS
from load_tests.run.scenarios import SCENARIOS, SENDS, knee, stage_at
from load_tests.run.worker import Plan

WANTED = {"steady", "ramp", "spike", "soak", "mixed", "longform", "abusive"}


def test_all_scenarios_are_there():
    assert set(SCENARIOS) >= WANTED


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_whole(name):
    scenario = SCENARIOS[name]
    assert sum(stage.time for stage in scenario.stages) == pytest.approx(1)
    assert max(stage.load for stage in scenario.stages) == 1
    assert min(stage.load for stage in scenario.stages) > 0
    assert sum(scenario.callers.values()) == pytest.approx(1)
    assert scenario.callers.keys() <= SENDS.keys()
    assert scenario.mix.keys() <= KINDS.keys()


def plan(name: str, users: int) -> Plan:
    return Plan(name=name, users=users, duration_s=100, arrivals=None, seed=0, timeout_s=1)


def test_ramp_only_grows_and_spike_comes_back():
    ramp = [plan("ramp", 32).callers(i) for i in range(len(SCENARIOS["ramp"].stages))]
    assert ramp == [1, 2, 4, 6, 8, 12, 16, 24, 32]
    assert [plan("spike", 16).callers(i) for i in range(3)] == [2, 16, 2]
    assert [plan("spike", 1).callers(i) for i in range(3)] == [1, 1, 1]
    assert plan("steady", 0).callers(0) == 0


@pytest.mark.parametrize(
    ("elapsed_s", "stage"), [(-1, 0), (0, 0), (39.9, 0), (40, 1), (60, 2), (99.9, 2), (100, 3)]
)
def test_stage_at(elapsed_s, stage):
    assert stage_at(SCENARIOS["spike"], elapsed_s, 100) == stage


def test_equal_parts_fill_the_whole_time():
    ramp = SCENARIOS["ramp"]
    assert stage_at(ramp, 179.999, 180) == len(ramp.stages) - 1
    assert stage_at(ramp, 180, 180) == len(ramp.stages)


@pytest.mark.parametrize(
    ("throughputs", "stage"),
    [
        ([], None),
        ([10, 20, 40], None),
        ([10, 20, 21], None),
        ([10, 20, 20.5, 20.4], 1),
        ([10, 18, 20, 19, 18], 2),
        ([10, 19.6, 20.4, 20.5], 1),
        ([10, 20, 20, 30, 40], None),
        ([0, 0, 0], 0),
    ],
)
def test_knee_is_the_smallest_load_near_the_best(throughputs, stage):
    assert knee(throughputs) == stage
