import dataclasses

import pytest

from load_tests.report.report_numbers import figures
from load_tests.report.slo import METRICS, broken, parse_slo
from load_tests.report.tally import Tally
from tests.support.load.made import CLIPS, server_figures


def seen(*, latency_s=1.0, failures=0, words="one two three four", server=None, requests=200):
    tally = Tally()
    for index in range(requests):
        if index < failures:
            tally.ended(CLIPS[0], latency_s, TimeoutError())
        else:
            tally.answered(CLIPS[0], latency_s, words)
    return figures(tally, CLIPS, duration_s=100.0, alone={"a": "one two three four"}, server=server)


@pytest.mark.parametrize(
    ("slo", "figures", "said"),
    [
        ("p95<2s", seen(latency_s=2.5), "p95: 2.5 s, 0.5 s over the limit of < 2 s"),
        ("p95<2000ms", seen(latency_s=2.0), "p95: 2 s, 0 s over the limit of < 2 s"),
        ("failures<0.1%", seen(failures=3), "failures: 1.5 %, 1.4 % over the limit of < 0.1 %"),
        ("failures<=0.001", seen(failures=3), "failures: 1.5 %, 1.4 % over the limit of <= 0.1 %"),
        ("wer<0.2", seen(words="one two"), "wer: 50 %, 30 % over the limit of < 20 %"),
        ("changed<=0", seen(words="one two"), "changed: 100 %, 100 % over the limit of <= 0 %"),
        ("rtfx>5", seen(), "rtfx: 4, 1 under the limit of > 5"),
        ("batch>1", seen(), "batch: not measured, the limit is > 1"),
        (
            "memory<0.5GB",
            seen(server=server_figures(memory_bytes=600_000_000)),
            "memory: 0.6 GB, 0.1 GB over the limit of < 0.5 GB",
        ),
    ],
)
def test_a_broken_gate_says_what_was_measured_and_how_far_off_it_is(slo, figures, said):
    assert broken(parse_slo(slo), figures) == [said]


def test_kept_gates_say_nothing():
    slo = "p95<=1s, p50>0.5s, failures<=1.5%, wer<1%, rtfx>=3.9, rps>1.9, changed<1%"
    assert broken(parse_slo(slo), seen(failures=3)) == []


def test_all_broken_gates_are_named_in_their_order():
    reasons = broken(parse_slo("rtfx>9,p99<0.5s,p50<9s"), seen())
    assert [reason.partition(":")[0] for reason in reasons] == ["rtfx", "p99"]


def test_a_run_without_a_call_has_shown_nothing():
    assert broken(parse_slo("p95<2s"), seen(requests=0)) == ["requests: none was made"]
    assert broken((), seen(requests=0)) == ["requests: none was made"]


def test_achieved_is_throughput_over_what_was_offered():
    figures = dataclasses.replace(seen(), offered_rps=4.0, concurrency=None)
    reasons = broken(parse_slo("achieved>98%"), figures)
    assert reasons == ["achieved: 50 %, 48 % under the limit of > 98 %"]


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_can_be_read_or_is_not_measured(name):
    unit = "GB" if METRICS[name].unit == "B" else METRICS[name].unit
    (reason,) = broken(parse_slo(f"{name}>99999999{unit}"), seen(server=server_figures()))
    assert reason.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("slo", "said"),
    [
        ("p95=2s", "is no gate"),
        ("p42<2s", "is no gate"),
        ("p95<two", "is no gate"),
        ("p95<2", "has the unit none, not s or ms"),
        ("rtfx>5%", "has the unit %, not no unit"),
    ],
)
def test_what_is_no_gate_is_refused(slo, said):
    with pytest.raises(ValueError, match=said):
        parse_slo(f"failures<1%,{slo}")
