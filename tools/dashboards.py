"""Writes Grafana's dashboards: `python -m tools.dashboards`, after each change of their panels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.dashboard_panels import DASHBOARDS
from tools.dashboard_queries import Dashboard, Panel

FOLDER = Path(__file__).resolve().parents[1] / "monitoring" / "grafana" / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "asr-prometheus"}
"""monitoring/grafana/provisioning/datasources has the same uid."""
COLUMNS = 3
_WIDTH, _HEIGHT = 24 // COLUMNS, 8


def as_json(dashboard: Dashboard) -> str:
    """A dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in dashboard.rows:
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "panels": []}
        )
        y += 1
        for number, panel in enumerate(row):
            place = {
                "x": number % COLUMNS * _WIDTH,
                "y": y + number // COLUMNS * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            }
            panels.append({"id": len(panels) + 1, **_panel(panel), "gridPos": place})
        y += -(-len(row) // COLUMNS) * _HEIGHT
    variable = {
        "type": "query",
        "name": dashboard.variable,
        "label": dashboard.variable,
        "datasource": DATASOURCE,
        "query": {"query": dashboard.variable_query, "refId": "variable"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    whole = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["asr"],
        "editable": False,
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _panel(panel: Panel) -> dict[str, Any]:
    axis: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        axis["max"] = panel.most
    stacking = {"mode": "normal" if panel.stacked else "none"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {
                **axis,
                "custom": {"stacking": stacking, "fillOpacity": 20 if panel.stacked else 0},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expr, "legendFormat": legend}
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }


def path_of(dashboard: Dashboard) -> Path:
    """Where its JSON lies."""
    return FOLDER / f"{dashboard.uid}.json"


def main() -> None:
    """Write all files."""
    for dashboard in DASHBOARDS:
        path_of(dashboard).write_text(as_json(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
