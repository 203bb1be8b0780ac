from __future__ import annotations

import re
from pathlib import Path

import pytest

from asr_backend.triton_io.metrics import _LABELLED, Metrics
from tests.support.backend.doubles import PbUtils

NAMES = {
    "asr_audio_seconds_total",
    "asr_padded_seconds_total",
    "asr_forward_windows",
    "asr_forward_audio_seconds",
    "asr_stage_seconds",
    "asr_call_seconds",
    "asr_queue_capacity",
    "asr_windows_in_flight",
    "asr_errors_total",
    "asr_oom_splits_total",
    "asr_cancelled_total",
    "asr_deferred_windows_total",
    "asr_stream_audio_seconds_total",
    "asr_stream_computed_seconds_total",
    "asr_stream_segments_total",
    "asr_stream_failures_total",
    "asr_stream_look_seconds",
}


def test_the_names_of_the_contract() -> None:
    pb_utils = PbUtils()
    Metrics(pb_utils)
    assert pb_utils.MetricFamily.families.keys() == NAMES


SUPERVISOR = {
    "asr_heals_total": "counter",
    "asr_hangs_total": "counter",
    "asr_restarts_total": "counter",
    "asr_ready": "gauge",
    "asr_memory_limit_bytes": "gauge",
    "asr_memory_available_bytes": "gauge",
    "asr_certificate_expiry_timestamp_seconds": "gauge",
}
OF_MODELS = {"asr_heals_total", "asr_hangs_total"}
BY_KIND = {"asr_memory_limit_bytes", "asr_memory_available_bytes"}


def test_the_page_of_the_metrics_has_all_of_them_and_asks_for_no_others() -> None:
    page = (Path(__file__).parents[4] / "docs" / "metrics.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(asr_\w+)` \| (\w+) \| (?:`(\w+)`)? ?\|", page, re.MULTILINE)
    pb_utils = PbUtils()
    Metrics(pb_utils)
    kinds = {name: family.kind for name, family in pb_utils.MetricFamily.families.items()}
    # The supervisor's metrics are not exported by Triton.
    kinds |= SUPERVISOR
    assert {name: kind for name, kind, _ in described} == kinds
    labelled = {name for name, _, label in described if label}
    assert labelled == OF_MODELS | BY_KIND | _LABELLED
    asked = set(re.findall(r"asr_(?!gateway_)\w+", page)) - SUPERVISOR.keys()
    assert {re.sub("_(sum|count|bucket)$", "", name) for name in asked} == NAMES


def test_metrics_without_labels_are_there_from_the_start() -> None:
    pb_utils = PbUtils()
    Metrics(pb_utils)
    assert pb_utils.metric("asr_oom_splits_total").value == 0
    assert pb_utils.metric("asr_forward_windows").observed == []
    with pytest.raises(KeyError):
        pb_utils.metric("asr_errors_total")


def test_adding_and_observing() -> None:
    pb_utils = PbUtils()
    metrics = Metrics(pb_utils)
    for _ in range(2):
        metrics.add("asr_errors_total", code="BAD_SHAPE")
        metrics.observe("asr_stage_seconds", 0.5, stage="decode")
    metrics.add("asr_audio_seconds_total", 2.5)
    metrics.set("asr_windows_in_flight", 3)
    metrics.set("asr_windows_in_flight", 2)
    assert pb_utils.metric("asr_errors_total", code="BAD_SHAPE").value == 2
    assert pb_utils.metric("asr_stage_seconds", stage="decode").observed == [0.5, 0.5]
    assert pb_utils.metric("asr_audio_seconds_total").value == 2.5
    assert pb_utils.metric("asr_windows_in_flight").value == 2
