"""A closed loop against the fake server, and a metrics page that counts what it answered."""

import time
from collections import Counter

import pytest

from asr_client.testing import FakeServer, Fault
from load_tests.report.report_numbers import figures
from load_tests.run.closed_loop import closed_loop, endless, transcripts_alone
from load_tests.run.corpus import build_corpus

CORPUS = build_corpus(seed=1, mix={"commands": 6})


def run(server, alone=None, **more):
    settings = {"concurrency": 4, "duration_s": 0.5, "warm_up_s": 0.1} | more
    stretch = closed_loop(server.url, None, corpus=CORPUS, **settings)
    return figures(stretch.tally, CORPUS, duration_s=stretch.duration_s, alone=alone)


def test_callers_keep_so_many_calls_in_flight():
    with FakeServer(delay_s=0.05) as server:
        seen = run(server, concurrency=8, duration_s=2.0)
    assert seen.failed == 0
    # Little's law: what is in flight is the rate times the time of each.
    in_flight = seen.throughput_rps * seen.latency_mean_s
    # Calls that were in flight at either end of a window of some thirty rounds blur it.
    assert in_flight == pytest.approx(8, rel=0.4)
    assert seen.latency_p50_s >= 0.05
    assert seen.latency_p50_s <= seen.latency_p90_s <= seen.latency_p99_s
    mean_s = sum(clip.duration_s for clip in CORPUS) / len(CORPUS)
    assert seen.rtfx == pytest.approx(seen.throughput_rps * mean_s, rel=0.3)


def test_the_warm_up_is_not_counted():
    with FakeServer(delay_s=0.02) as server:
        seen = run(server, warm_up_s=0.5)
        assert 0 < seen.requests < len(server.requests)


def test_calls_in_flight_at_the_end_are_waited_for_no_longer_than_allowed():
    load = {"concurrency": 2, "duration_s": 0.5, "warm_up_s": 0.1, "corpus": CORPUS}
    with FakeServer(delay_s=30.0) as server:
        began = time.perf_counter()
        stretch = closed_loop(server.url, None, drain_s=0.2, **load)
        assert time.perf_counter() - began < 20.0
    assert stretch.tally.requests == 0


def test_failures_are_counted_by_code_and_not_sent_again():
    with FakeServer(delay_s=0.02) as server:
        server.fail(Fault.QUEUE_FULL, times=2)
        server.fail(Fault.CORRUPT_AUDIO, times=1)
        seen = run(server, warm_up_s=0.0)
    assert seen.failures == {"ServerBusy": 2, "CORRUPT_AUDIO": 1}
    assert seen.failed == 3


def test_word_error_rate_is_that_of_what_was_said():
    with FakeServer() as server:
        for clip in CORPUS:
            server.answer(clip.audio, clip.words)
        alone = transcripts_alone(server.url, CORPUS)
        assert run(server, alone=alone).word_error_rate == 0
        wrong = CORPUS[0]
        server.answer(wrong.audio, "")
        seen = run(server, alone=alone, duration_s=1.0)
    share = len(wrong.words.split()) / sum(len(clip.words.split()) for clip in CORPUS)
    assert seen.word_error_rate == pytest.approx(share, rel=0.3)
    assert seen.word_error_rate_alone == 0
    assert seen.transcripts_changed == pytest.approx(seen.requests / len(CORPUS), rel=0.1)


def test_every_round_has_every_clip_in_another_order():
    clips = endless(CORPUS, seed=3)
    rounds = [[next(clips).name for _ in CORPUS] for _ in range(3)]
    assert all(Counter(names) == Counter(c.name for c in CORPUS) for names in rounds)
    assert rounds[0] != rounds[1]
    again = endless(CORPUS, seed=3)
    assert [next(again).name for _ in CORPUS] == rounds[0]
