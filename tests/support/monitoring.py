"""What the dashboards and the rules ask Prometheus for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tools.dashboard_queries import Dashboard

RULES = Path(__file__).resolve().parents[2] / "monitoring" / "prometheus" / "rules"


def expressions(dashboard: Dashboard) -> list[str]:
    """The queries of all panels, with values in place of Grafana's variables."""
    found = [query for _, row in dashboard.rows for panel in row for query, _ in panel.queries]
    return [
        query.replace("$__rate_interval", "1m").replace(f"${dashboard.variable}", ".*")
        for query in found
    ]


def rules() -> list[dict[str, Any]]:
    """All recording rules and alerts."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES.glob("*.yml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]
