import itertools
import time

import msgpack
import pytest

from load_tests.run.arrivals import Arrivals
from load_tests.run.coordinator import begin_message, begun
from load_tests.run.worker import Plan, Run, Share
from tests.support.load.made import BAD


def plan(name="steady", arrivals=None, **more):
    settings = {"users": 4, "duration_s": 10.0, "seed": 3, "timeout_s": 1.0} | more
    return Plan(name=name, arrivals=arrivals and Arrivals.parse(arrivals), **settings)


def sent(message):
    """What comes out where Locust has sent it."""
    return msgpack.loads(msgpack.dumps(message), raw=False, strict_map_key=False)


@pytest.mark.parametrize("arrivals", ["constant:20", "poisson:20"])
def test_processes_share_one_schedule(arrivals):
    whole = [(at, clip.name) for at, clip in Run(plan(arrivals=arrivals), Share()).schedule()]
    assert len(whole) == plan(arrivals=arrivals).offered()
    parts = []
    for index in range(3):
        message = sent(
            begin_message("localhost:1", plan(arrivals=arrivals), Share(index=index, of=3))
        )
        url, run = begun(message)
        assert url == "localhost:1"
        parts.append([(at, clip.name) for at, clip in run.schedule()])
    assert sorted(itertools.chain(*parts)) == sorted(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_trace_travels_to_the_workers(tmp_path):
    trace = tmp_path / "trace"
    trace.write_text("0\n1\n2\n")
    _, run = begun(sent(begin_message("localhost:1", plan(arrivals=f"trace:{trace}"), Share())))
    assert [at for at, _ in run.schedule()] == [0, 1, 2]


def test_each_caller_sends_the_clips_of_its_kinds_in_an_order_of_its_own():
    run = Run(plan("mixed"), Share())
    first, second = run.clips("commands"), run.clips("commands")
    names = [[next(clips).name for _ in range(8)] for clips in (first, second)]
    assert sorted(names[0]) == sorted(names[1])
    assert names[0] != names[1]
    assert all(name.startswith("commands") for name in names[0])
    # One caller sends what many do, so that a ramp changes the load alone.
    run = Run(plan("ramp"), Share())
    alone = [next(clips).name for clips in [run.clips("short")] * 32]
    assert sorted(alone) == sorted(clip.name for clip in run.corpus)


@pytest.mark.parametrize("arrivals", [None, "constant:200"])
def test_abusive_callers_have_their_share_of_bad_inputs(arrivals):
    run = Run(plan("abusive", arrivals=arrivals), Share())
    if arrivals is None:
        clips = list(itertools.islice(run.clips("short"), 2000))
    else:
        clips = [clip for _, clip in run.schedule()]
    bad = [clip for clip in clips if clip.refusal is not None]
    assert len(bad) / len(clips) == pytest.approx(0.25, abs=0.03)
    assert {clip.refusal for clip in bad} >= {"EMPTY_AUDIO", "UNSUPPORTED_FORMAT", "BAD_OPTIONS"}


def test_counts_travel_and_add_up():
    share = Share()
    coordinator, worker = (Run(plan(arrivals="constant:1"), share) for _ in range(2))
    clip = coordinator.corpus[0]
    for _ in range(2):
        assert worker.note(clip, due_s=0.0, began_s=0.25, text=clip.words, error=None)
        assert not worker.note(clip, due_s=0.0, began_s=0.25, text="", error=TimeoutError())
        coordinator.add(sent(worker.take()))
    total = coordinator.total()
    assert (total.requests, total.failed, total.failures) == (4, 2, {"TimeoutError": 2})
    assert total.texts == {(clip.name, clip.words): 2}
    assert total.audio_s == 2 * clip.duration_s
    assert list(coordinator.late_s) == [0.25] * 4
    assert worker.take()["tallies"] == []
    earlier = Run(plan(arrivals="constant:1"), Share(began_s=share.began_s - 60))
    earlier.note(clip, due_s=0.0, began_s=0.0, text="", error=None)
    coordinator.add(earlier.take())
    assert coordinator.total().requests == 4


def test_another_corpus_is_refused():
    share = Share()
    taken = Run(plan(seed=4), share).take()
    with pytest.raises(ValueError, match="has the corpus"):
        Run(plan(), share).add(taken)


def test_a_bad_input_is_as_it_should_be_only_with_its_own_code():
    run = Run(plan(), Share())

    def note(text="", error=None):
        return run.note(BAD, due_s=0, began_s=0, text=text, error=error)

    right, wrong = ValueError(), ValueError()
    right.code, wrong.code = "EMPTY_AUDIO", "CORRUPT_AUDIO"
    assert note(error=right)
    assert not note(error=wrong)
    assert not note(text="words")
    total = run.total()
    assert total.refused == 1
    assert total.failures == {"CORRUPT_AUDIO": 1, "no EMPTY_AUDIO": 1}


def test_time_counts_from_when_the_run_began_on_the_clock_of_the_wall():
    run = Run(plan(), Share(began_s=time.time() - 4))
    assert run.elapsed_s == pytest.approx(4, abs=1)
    assert not run.is_over
    assert Run(plan(), Share(began_s=time.time() - 11)).is_over
    assert Run(plan(), Share(began_s=time.time() + 5)).elapsed_s < 0


def test_what_ends_after_the_run_counts_but_not_for_its_throughput():
    run = Run(plan(), Share(began_s=time.time() - 20))
    run.note(run.corpus[0], due_s=9, began_s=9, text="", error=None)
    assert run.total().requests == 1
    assert run.in_time().requests == 0
