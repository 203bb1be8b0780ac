import dataclasses
import json
import time

import pytest

from load_tests.report.live_tally import LiveTally
from load_tests.report.report_numbers import figures
from load_tests.report.slo import broken, parse_slo
from load_tests.report.summary import Summary
from load_tests.run.arrivals import Arrivals
from load_tests.run.worker import Plan, Run, Share
from tests.support.load.made import server_figures


def made(name="steady", arrivals=None, knee=None, server=None, duration_s=60.0):
    """A run whose every call took a second and has "wrong" after the right words."""
    plan = Plan(
        name=name,
        users=8,
        duration_s=60.0,
        arrivals=arrivals and Arrivals.parse(arrivals),
        seed=0,
        timeout_s=1.0,
    )
    run = Run(plan, Share(began_s=time.time() - 30))
    alone = {clip.name: clip.words for clip in run.corpus}
    for clip in run.corpus:
        due_s = run.elapsed_s - 1
        run.note(clip, due_s=due_s, began_s=due_s + 0.003, text=clip.words + " wrong", error=None)
    run.note(run.corpus[0], due_s=due_s, began_s=due_s, text="", error=TimeoutError())
    seen = figures(
        run.total(),
        run.corpus,
        duration_s=duration_s,
        concurrency=None if arrivals else 8,
        offered_rps=1.0 if arrivals else None,
        alone=alone,
        server=server,
    )
    return Summary(run, seen, alone=alone, knee=knee)


def test_both_sides_stand_in_one_text_that_fits_a_terminal():
    text = made(server=server_figures()).text()
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("steady: closed loop, 8 callers, 60.0 s, seed 0\n")
    for what in ("commands", "sentences", "all", "transcribe", "wav2vec2"):
        assert f"\n{what} " in text
    assert "failed: 1 TimeoutError\n" in text
    assert "batching: yes, 6 windows in 2 batches and 3 forwards, 2.00 windows each\n" in text
    assert "forwards by windows: 1 of 1, 1 of 2, 1 of 3 to 4\n" in text
    assert "padding 4.0 %; cancelled 2; errors: 3 EMPTY_AUDIO\n" in text
    assert "CPU 0.20 cores, peak memory 0.70 GB, +0.02 GB from start to end" in text


def test_word_error_rate_is_a_column_beside_that_of_the_clips_alone():
    summary = made()
    assert summary.text().splitlines()[2].split()[-3:] == ["WER", "alone", "changed"]
    total = summary.seen
    assert total.word_error_rate is not None
    assert total.word_error_rate > total.word_error_rate_alone == 0
    assert total.transcripts_changed == len(summary.run.corpus)


def test_no_batching_is_said_too():
    alone = dataclasses.replace(server_figures().wav2vec2, requests=2)
    assert "batching: no, 2 windows" in made(server=server_figures(wav2vec2=alone)).text()
    assert "server: not measured" in made().text()


def test_an_open_loop_shows_what_was_offered_and_how_late_it_was_sent():
    text = made(arrivals="poisson:1").text()
    assert "open loop, poisson 1/s" in text
    assert "offered 1.0 calls/s, achieved 0.5; sent late: p50 3 ms, p99 3 ms" in text


def test_parts_and_the_knee():
    text = made("ramp", knee=3).text()
    assert "knee: 2 callers" in text
    # 30 s of 60 are the fifth of nine parts.
    assert "\npart 5, 2 callers " in text


def test_a_part_that_was_cut_short_has_the_rate_of_its_time():
    whole, cut = (dict(made("ramp", duration_s=d).rows()) for d in (60.0, 28.0))
    (part,) = [name for name in whole if name.startswith("part")]
    # Of the 6 2/3 s from 26 2/3 s on there were 1 1/3.
    assert cut[part].throughput_rps == pytest.approx(5 * whole[part].throughput_rps)


def test_the_data_are_plain():
    data = json.loads(json.dumps(made(server=server_figures()).data()))
    assert [row["what"] for row in data["rows"]] == ["commands", "sentences", "all"]
    assert data["rows"][-1]["server"]["wav2vec2"]["executions"] == 2


def test_live_streams_have_a_table_of_their_own():
    plan = Plan(name="live", users=2, duration_s=60.0, arrivals=None, seed=0, timeout_s=1.0)
    run = Run(plan, Share(began_s=time.time() - 30))
    live = LiveTally(streams=1, shown=10, revised=2)
    live.interim_s.extend([0.1, 0.3])
    live.final_s.append(1.2)
    clip = run.corpus[0]
    due_s = run.elapsed_s - clip.duration_s - 0.5
    run.note(clip, due_s=due_s, began_s=due_s, text=clip.words, error=None, live=live)
    alone = {clip.name: clip.words for clip in run.corpus}
    seen = figures(run.total(), run.corpus, duration_s=60.0, concurrency=2, alone=alone)
    # From the end of the stream's audio.
    assert seen.latency_p50_s == pytest.approx(0.5, abs=0.2)
    summary = Summary(run, seen, alone=alone, knee=None)
    (row,) = [line for line in summary.text().splitlines() if "20.0 %" in line]
    assert " ".join(row.split()) == "all 1 2 100 ms 300 ms 1.20 s 1.20 s 20.0 % 0"
    assert summary.data()["rows"][-1]["live"]["interim_p95_s"] == 0.3
    assert broken(parse_slo("interim<300ms,final<2s,flicker<=20%"), seen) == [
        "interim: 0.3 s, 0 s over the limit of < 0.3 s"
    ]
