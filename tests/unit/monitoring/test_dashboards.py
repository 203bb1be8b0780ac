"""Grafana's files as data."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.monitoring import expressions
from tools.dashboard_panels import DASHBOARDS
from tools.dashboard_queries import Dashboard
from tools.dashboards import DATASOURCE, FOLDER, as_json, path_of
from tools.promql import selectors

PROVISIONING = FOLDER.parent / "provisioning"

each = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)


@each
def test_the_files_are_what_the_program_writes(dashboard: Dashboard):
    assert path_of(dashboard).read_text(encoding="utf-8") == as_json(dashboard), (
        "run python -m tools.dashboards"
    )


def test_there_are_no_other_files():
    assert set(FOLDER.iterdir()) == {path_of(dashboard) for dashboard in DASHBOARDS}


@each
def test_every_expression_parses(dashboard: Dashboard):
    for expression in expressions(dashboard):
        assert selectors(expression)


@each
def test_panels_do_not_overlap_and_each_has_its_own_id(dashboard: Dashboard):
    document = json.loads(as_json(dashboard))
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert not document["editable"]


@each
def test_every_panel_uses_the_variable_or_asks_for_recorded_rules(dashboard: Dashboard):
    for _, panels in dashboard.rows:
        for panel in panels:
            for expression, _ in panel.queries:
                assert f"${dashboard.variable}" in expression or "asr:" in expression, panel.title


def test_the_data_source_is_the_provisioned_one_and_nothing_can_be_edited():
    def read(name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))
        return loaded

    (source,) = read("datasources/prometheus.yml")["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    assert source["editable"] is False
    scraped = yaml.safe_load((FOLDER.parents[1] / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = read("dashboards/asr.yml")["providers"]
    assert provider["allowUiUpdates"] is False
