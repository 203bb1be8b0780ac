"""The alerts as data: promtool itself runs in tests/conformance."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.monitoring import rules
from tools import record_series
from tools.promql import Selector, selectors

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "monitoring" / "prometheus" / "tests"


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in TESTS.glob("*.yml")}


def series_of(case: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for series in recorded()[case]["tests"][0]["input_series"]:
        name, _, labels = series["series"].partition("{")
        found.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels))))
    return found


def test_every_expression_parses_and_every_recorded_name_is_used():
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert len(names) == len(set(names))
    asked = {selector.name for rule in rules() for selector in selectors(rule["expr"])}
    assert {name for name in asked if ":" in name} == set(names)


@pytest.mark.parametrize("name", alerts())
def test_each_alert_has_a_section_in_the_runbook(name: str):
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    for words in ("**Means:**", "**Look at:**", "**do:**"):
        assert words.lower() in section.lower()
    assert alerts()[name]["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    assert alerts()[name]["labels"]["severity"] in ("page", "ticket")


def test_the_runbook_has_no_other_alert():
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (Asr\w+)$", page, re.MULTILINE)) == alerts().keys()


def test_each_alert_fires_in_a_recording_and_stays_quiet_in_another():
    firing = [set(case.fires) for case in record_series.CASES.values()]
    for name in alerts():
        assert any(name in fires for fires in firing), f"{name} fires in no case"
    assert set() in firing, "a healthy server"
    assert set().union(*firing) == alerts().keys()


def test_each_recording_expects_what_its_case_says():
    found = recorded()
    assert found.keys() == record_series.CASES.keys()
    for name, test in found.items():
        series = test["tests"][0]["input_series"]
        assert test == record_series.test_of(name, series), name
        assert len(series) > 5


@pytest.mark.parametrize("name", alerts())
def test_its_recordings_have_what_an_alert_asks_for(name: str):
    """An alert whose metric is missing is quiet too; that would prove nothing."""
    wanted = of_the_server(alerts()[name]["expr"])
    cases = record_series.CASES.items()
    fired = [each for case, test in cases if name in test.fires for each in series_of(case)]
    quiet = [each for case, test in cases if not test.fires for each in series_of(case)]
    for selector in wanted:
        if not may_be_missing(selector):
            assert any(selector.selects(*each) for each in fired), selector
            assert any(selector.selects(*each) for each in quiet), selector


def may_be_missing(selector: Selector) -> bool:
    """Whether a series comes into being with its first event, and 0 stands for it before."""
    if selector.name == "asr_call_seconds_count":
        return any("INTERNAL_ERROR" in value for _, _, value in selector.matchers)
    if selector.name == "asr_gateway_server_attempts_total":
        return bool(selector.matchers)
    return selector.name in ("asr_gateway_jobs_ended_total", "asr_stream_failures_total")


def of_the_server(expression: str) -> set[Selector]:
    """The selectors of an expression; those of recording rules are replaced by theirs."""
    by_name = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    found: set[Selector] = set()
    for selector in selectors(expression):
        expr = by_name.get(selector.name)
        found |= of_the_server(expr) if expr else {selector}
    return found


def test_alertmanager_hides_and_routes_by_what_there_is():
    path = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    named = re.findall(r'alertname="(\w+)"', path.read_text(encoding="utf-8"))
    assert set(named) <= alerts().keys()
    receivers = {receiver["name"] for receiver in config["receivers"]}
    routes = [config["route"], *config["route"]["routes"]]
    assert {route["receiver"] for route in routes} == receivers
