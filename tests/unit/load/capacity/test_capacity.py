"""The queueing model against theory, the server's own rules, and recorded sweeps."""

import random
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.front import build
from load_tests.capacity import live, simulation
from load_tests.capacity.__main__ import GROUPS
from load_tests.capacity.events import Clock
from load_tests.capacity.heldout import calibrate, leave_out, typical
from load_tests.capacity.live import Speaker
from load_tests.capacity.planning import (
    bound_per_s,
    enough_fronts,
    greatest_load,
    machines_for,
    streams_held,
)
from load_tests.capacity.scenario import Load, Machine
from load_tests.capacity.service import SECOND_THREAD, Service, read_gpu, read_service
from load_tests.capacity.simulation import simulate
from load_tests.run.corpus import build_corpus
from load_tests.sweep.points import Point
from load_tests.sweep.recommendation import Target
from load_tests.sweep.store import Sweep, read_sweep
from tests.support.backend.cutting import cut_into_windows
from tests.support.load.sweeps import costs, measured, setting

ROOT = Path(__file__).parents[4]
RECORDED = sorted((ROOT / "docs").glob("**/sweep.json"))
LENGTHS_S = [clip.duration_s for clip in build_corpus(seed=0)]
SERVICE = Service(
    forward_s=0.006,
    padded_s=0.005,
    second_thread=0.8,
    front_s=0.008,
    triton_s=0.002,
    caller_s=0.003,
)
FREE = Service(
    forward_s=0.1, padded_s=0.0, second_thread=0.0, front_s=0.0, triton_s=0.0, caller_s=0.0
)
"""A forward takes a tenth of a second, all else nothing."""


def test_processors_are_shared_evenly():
    clock, ends = Clock(), {}
    two = clock.processors(2.0)
    for name, work_s, width in (("a", 1.0, 1.0), ("b", 1.0, 1.0), ("wide", 4.0, 2.0)):
        two.do(work_s, lambda name=name: ends.setdefault(name, clock.now), width=width)
    clock.run(100.0)
    # Four are wanted of two, so all go at half speed; the wide one is alone from then on.
    assert ends == {"a": pytest.approx(2.0), "b": pytest.approx(2.0), "wide": pytest.approx(3.0)}
    assert two.busy_s == pytest.approx(6.0)


def test_events_and_jobs_happen_in_order():
    clock, order = Clock(), []
    clock.processors(1.0).do(1.5, lambda: order.append("job"))
    clock.at(1.0, lambda: order.append("first"))
    clock.at(2.0, lambda: order.append("last"))
    clock.run(1.75)
    assert order == ["first", "job"]
    clock.run(3.0)
    assert order == ["first", "job", "last"]


@pytest.mark.parametrize("busy", [0.3, 0.6])
def test_one_instance_without_batches_is_the_queue_of_the_textbook(busy):
    """Pollaczek and Khinchine: random arrivals, constant service, one server."""
    machine = Machine(cores=64, fronts=100, instances=1, max_batch_size=1, max_queue_delay_us=0)
    load = Load(lengths_s=[1.0], calls_per_s=busy / FREE.forward_s)
    outcome = simulate(machine, FREE, load, seconds=4000.0)
    expected_s = FREE.forward_s * (1 + busy / (2 * (1 - busy)))
    assert statistics.fmean(outcome.latencies_s) == pytest.approx(expected_s, rel=0.05)
    assert outcome.instances_busy == pytest.approx(busy, rel=0.05)


def test_batches_raise_what_one_instance_carries():
    load = Load(lengths_s=[1.0], calls_per_s=50.0)
    machine = {"cores": 64, "fronts": 100, "instances": 1, "max_queue_delay_us": 0}
    one = simulate(Machine(max_batch_size=1, **machine), FREE, load, seconds=50.0)
    many = simulate(Machine(max_batch_size=32, **machine), FREE, load, seconds=50.0)
    assert one.rtfx == pytest.approx(10.0, rel=0.02)
    assert many.rtfx == pytest.approx(50.0, rel=0.1)
    assert many.windows / many.forwards > 3


def test_a_window_waits_for_others_no_longer_than_the_delay():
    machine = Machine(cores=64, fronts=4, instances=1, max_batch_size=4, max_queue_delay_us=300_000)
    alone = simulate(machine, FREE, Load(lengths_s=[1.0], callers=1), seconds=20.0)
    assert alone.percentile_s(0.5) == pytest.approx(0.4)
    full = simulate(machine, FREE, Load(lengths_s=[1.0], callers=4), seconds=20.0)
    assert full.percentile_s(0.5) < 0.2


@pytest.mark.parametrize("callers", [1, 4, 16])
def test_littles_law_holds_in_a_closed_loop(callers):
    machine = Machine(cores=2, fronts=2, instances=2)
    outcome = simulate(machine, SERVICE, Load(lengths_s=LENGTHS_S, callers=callers), seconds=100.0)
    rate = len(outcome.latencies_s) / outcome.seconds
    assert rate * statistics.fmean(outcome.latencies_s) == pytest.approx(callers, rel=0.05)


def test_a_full_machine_does_what_the_operational_law_says():
    machine = Machine(cores=2, fronts=4, instances=4)
    outcome = simulate(machine, SERVICE, Load(lengths_s=LENGTHS_S, callers=32), seconds=100.0)
    assert outcome.cores_busy == pytest.approx(1.0, abs=0.02)
    rate = len(outcome.latencies_s) / outcome.seconds
    bound = bound_per_s(machine, SERVICE, LENGTHS_S)
    assert 0.6 * bound < rate < bound


def test_the_same_seed_gives_the_same_outcome():
    machine, load = Machine(cores=2, fronts=2, instances=1), Load(lengths_s=LENGTHS_S, callers=4)
    assert simulate(machine, SERVICE, load, seconds=20.0) == simulate(
        machine, SERVICE, load, seconds=20.0
    )


def test_constants_are_the_servers():
    assert simulation.RATE_HZ == SAMPLE_RATE_HZ
    assert simulation.OVERLAP_S == build.OVERLAP_S
    config = (ROOT / "model_repository" / "transcribe" / "config.pbtxt").read_text()
    assert "preferred_batch_size: [ 1 ]\n" in config


@pytest.mark.parametrize("length_s", [0.5, 20.0, 20.5, 38.0, 55.0, 120.0])
def test_recordings_are_cut_as_the_server_cuts_them(length_s):
    noise = np.random.default_rng(0).standard_normal(round(length_s * SAMPLE_RATE_HZ), np.float32)
    cut = cut_into_windows(
        [noise], max_window_s=simulation.MAX_WINDOW_S, overlap_s=simulation.OVERLAP_S
    )
    theirs = [len(window.samples) / SAMPLE_RATE_HZ for window in cut]
    assert simulation.windows_of(length_s) == pytest.approx(theirs, abs=0.05)


def point_with(forwards, padded_s, spent_s, callers=1):
    cpu_s = {"wav2vec2": spent_s, "transcribe": 1.2, "triton": 0.2, "callers": 0.3, "others": 0.0}
    spent = costs(
        calls=100.0,
        windows=120.0,
        forwards=forwards,
        forward_s=spent_s / 1.5,
        audio_s=padded_s,
        padded_s=padded_s,
        cpu_s=cpu_s,
    )
    return Point(setting=setting(1), concurrency=callers, measured=measured(costs=spent))


def test_costs_are_read_off_the_points():
    points = [
        point_with(forwards, padded_s, 0.006 * forwards + 0.005 * padded_s, callers)
        for callers, forwards, padded_s in ((1, 100, 500.0), (4, 80, 560.0), (16, 50, 600.0))
    ]
    service = read_service(points, cores=2)
    assert service.forward_s == pytest.approx(0.006)
    assert service.padded_s == pytest.approx(0.005)
    assert service.second_thread == pytest.approx(0.5)
    assert service.front_s == pytest.approx(0.01)
    assert (service.triton_s, service.caller_s) == pytest.approx((0.002, 0.003))


def test_forwards_of_one_window_are_counted_to_their_seconds():
    """Each point's forwards are of the clips' mean length, give or take chance."""
    points = [point_with(120, 600.0 * drift, 3.0) for drift in (0.999, 1.0, 1.001)]
    service = read_service(points, cores=2)
    assert service.max_forward_windows == 1
    assert service.forward_s == 0
    assert service.padded_s == pytest.approx(0.005, rel=0.01)


def test_a_second_thread_that_no_point_shows_is_assumed():
    seen = point_with(100, 500.0, 3.0)
    alone = replace(seen, setting=setting(2))
    assert read_service([seen, alone], cores=2).second_thread == pytest.approx(0.5)
    assert read_service([alone], cores=2).second_thread == SECOND_THREAD
    # A machine without a core to spare shows nothing of it either.
    assert read_service([seen], cores=1).second_thread == SECOND_THREAD


def test_no_cost_is_below_zero():
    points = [point_with(100, 500.0, 1.0), point_with(50, 500.0, 1.4)]
    service = read_service(points, cores=2)
    assert min(service.forward_s, service.padded_s) >= 0


def test_without_figures_there_are_no_costs():
    with pytest.raises(ValueError, match="no point on a CPU has figures"):
        read_service([Point(setting=setting(1), concurrency=1, error="died")], cores=2)


def test_a_gpu_is_read_off_points_on_gpus():
    on_cpu = [point_with(100, 500.0, 3.0)]
    assert read_gpu(on_cpu) is None
    # point_with's forwards last the time spent over 1.5.
    spent_s = {callers: 1.5 * (0.004 * 100 + 500.0 * callers / 4000) for callers in (1, 4)}
    on_gpu = [
        replace(point_with(100, 500.0 * callers, seconds), setting=setting(1, device="gpu"))
        for callers, seconds in spent_s.items()
    ]
    gpu = read_gpu([*on_cpu, *on_gpu])
    assert gpu.forward_s == pytest.approx(0.004)
    assert gpu.rtfx == pytest.approx(4000)
    with pytest.raises(ValueError, match="on a CPU"):
        read_service(on_gpu, cores=2)


def test_more_gpus_carry_more_and_the_fronts_keep_up():
    carried = {}
    for gpus in (1, 4):
        bare = Machine(
            cores=1,
            fronts=1,
            instances=2,
            gpus=gpus,
            gpu_forward_s=0.01,
            gpu_rtfx=2000.0,
            max_forward_s=320.0,
        )
        machine = enough_fronts(bare, SERVICE, LENGTHS_S)
        carried[gpus] = greatest_load(machine, SERVICE, LENGTHS_S, p95_s=1.0, calls=1500)
        assert carried[gpus].outcome.percentile_s(0.95) <= 1.0
        assert carried[gpus].outcome.fronts_busy < 0.8
    assert carried[4].calls_per_s == pytest.approx(4 * carried[1].calls_per_s, rel=0.15)


def test_too_few_fronts_are_what_limits_a_machine():
    machine = Machine(cores=64, fronts=1, instances=2, gpus=8, gpu_rtfx=2000.0)
    carried = greatest_load(machine, SERVICE, LENGTHS_S, p95_s=1.0, calls=3000)
    assert carried.limit.startswith("fronts")


def test_a_target_below_the_service_time_is_kept_by_no_load():
    machine = Machine(cores=2, fronts=2, instances=1)
    assert greatest_load(machine, SERVICE, LENGTHS_S, p95_s=0.001, calls=500) is None


def test_machines_for_a_day():
    # 24,000 hours a day are 1,000 s of audio a second.
    assert machines_for(24_000, peak=1.0, rtfx=100.0) == 10
    assert machines_for(24_000, peak=2.0, rtfx=300.0) == 7


def test_what_no_counter_shows_is_calibrated():
    """Points made by the model itself, all of whose work took a quarter longer than counted."""
    conditions = {"machine": {"cores": 2}, "fronts": 2}
    slow = replace(SERVICE, stretch=1.25, second_thread=0.0)
    points = []
    for instances in (2, 4):
        for callers in (1, 4, 16):
            machine = Machine(cores=2, fronts=2, instances=instances)
            load = Load(lengths_s=LENGTHS_S, callers=callers, seed=1)
            seen = simulate(machine, slow, load, seconds=30.0)
            calls, forwards = len(seen.latencies_s), 1000.0
            padded_s = forwards * (4.0 + callers / 4)
            work_s = 0.006 * forwards + 0.005 * padded_s
            spent = costs(
                seconds=30.0,
                calls=calls,
                windows=calls,
                forwards=forwards,
                forward_s=1.25 * work_s,
                audio_s=padded_s,
                padded_s=padded_s,
                cpu_s={
                    "wav2vec2": work_s,
                    "transcribe": 0.008 * calls,
                    "triton": 0.002 * calls,
                    "callers": 0.003 * calls,
                    "others": 0.0,
                },
            )
            figures = measured(rtfx=seen.rtfx, p95_s=seen.percentile_s(0.95), costs=spent)
            points.append(Point(setting=setting(instances), concurrency=callers, measured=figures))
    service = calibrate(points, conditions, LENGTHS_S, seconds=30.0)
    assert service.stretch == pytest.approx(1.25, rel=0.03)
    sweep = Sweep(conditions=conditions, points=tuple(points), target=Target(), date="today")
    for group in GROUPS.values():
        predictions = leave_out(sweep, LENGTHS_S, group, seconds=15.0)
        assert {each.point.key for each in predictions} == {point.key for point in points}
        assert typical([each.rtfx_error for each in predictions]) < 0.03


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_held_out_points_of_recorded_sweeps_are_predicted(path):
    predictions = leave_out(read_sweep(path), LENGTHS_S, GROUPS["an instance count"], seconds=6.0)
    assert typical([each.rtfx_error for each in predictions]) < 0.15


def test_a_look_computes_the_open_segment_and_what_became_final():
    speaker = Speaker(random.Random(0), [2.0])
    heard, finals, silent = 0.0, 0, 0
    while heard < 60:
        heard += 0.4
        windows, open_s = speaker.look(heard)
        silent += open_s is None
        finals += len(windows) - (open_s is not None)
        if open_s is not None:
            # The utterance, the silence that a segment keeps, and what passes until its end.
            assert 0 < open_s <= 2.0 + live.KEPT_S + live.ENDPOINT_S + 0.4
            assert windows[-1] == open_s
    # An utterance and a pause of 0.6 to 1.5 s take 3 s on average.
    assert finals == pytest.approx(60 / 3.05, abs=3)
    assert silent > 0
    assert live.hop_s(None) == 0.4
    assert live.hop_s(10.0) == pytest.approx(1.0)


def test_few_live_streams_are_answered_at_once_and_too_many_later():
    machine = Machine(cores=2, fronts=2, instances=1, threads=2)

    def p95_s(streams):
        load = Load(lengths_s=[2.0, 3.0], streams=streams)
        return simulate(machine, SERVICE, load, seconds=20.0).percentile_s(0.95)

    assert p95_s(1) < 0.1
    assert p95_s(400) > 0.5
    held = streams_held(machine, SERVICE, [2.0, 3.0], p95_s=0.5, looks=1000)
    # By the operational law: 2 cores over what a second of a stream costs.
    bound = bound_of_streams(machine, [2.0, 3.0])
    assert 0.5 * bound < held < 1.2 * bound


def bound_of_streams(machine, utterances_s):
    load = Load(lengths_s=utterances_s, streams=4)
    outcome = simulate(machine, SERVICE, load, seconds=60.0)
    return 4 / outcome.cores_busy


def test_no_stream_is_held_if_one_look_takes_too_long():
    machine = Machine(cores=1, fronts=1, instances=1)
    slow = replace(SERVICE, forward_s=5.0)
    assert streams_held(machine, slow, [2.0], p95_s=0.5, looks=100) == 0
