"""Additions to Locust's web page: word error rates beside latencies, and reasons of refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Response, jsonify, request

from load_tests.report.summary import COLUMNS, Cells

KEY = "transcripts"
_TITLES = {"": "Clips"}


def extend(
    web_ui: Any,
    *,
    rows: Callable[[], Sequence[Cells]],
    text: Callable[[], str],
    refusal: Callable[[Mapping[str, str]], str],
) -> None:
    """Add a tab with the table, the whole summary under `/summary`, and a check of what is sent.

    Locust's own tables have no place for further columns; a tab has.

    Args:
        web_ui: Locust's.
        rows: the table's cells as they are now.
        text: all that is known of the run.
        refusal: why a run with the form's values cannot be; empty when it can.
    """
    columns = {f"column_{index}": name for index, name in enumerate(COLUMNS)}
    structure = [{"key": key, "title": _TITLES.get(name, name)} for key, name in columns.items()]
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Transcripts", "key": KEY}],
        "extended_tables": [{"key": KEY, "structure": structure}],
    }
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    web_ui.app.add_url_rule("/summary", view_func=lambda: (f"{text()}\n", plain))

    def check() -> Response | None:
        why = refusal(request.form) if request.path == "/swarm" else ""
        return jsonify({"success": False, "message": why}) if why else None

    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests":
            data = [dict(zip(columns, row, strict=True)) for row in rows()]
            stats = response.get_json() | {"extended_stats": [{"key": KEY, "data": data}]}
            response.set_data(json.dumps(stats))
        return response

    web_ui.app.before_request(check)
    web_ui.app.after_request(add_rows)
