"""docs/gateway.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asr_gateway.errors import ApiError
from asr_gateway.metrics import Metrics
from asr_gateway.openai import fields
from asr_gateway.settings import markdown

PAGE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, cells stripped, without the line of dashes."""
    below = PAGE.split(f"## {heading}\n")[1]
    rows = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert rows
    lines = rows[0].splitlines()
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in [lines[0], *lines[2:]]
    ]


def test_the_flags_are_those_of_the_command():
    assert markdown() in PAGE


def test_the_metrics_are_those_of_the_gateway():
    kinds = {"counter": "_total", "gauge": "", "histogram": ""}
    registered = {
        f"`{family.name}{kinds[family.type]}`": family.documentation
        for family in Metrics().registry.collect()
    }
    assert {name: meaning for name, meaning in table("Metrics")[1:]} == registered


VALUES = {
    "`file`": [],
    "`model`: the served id or an alias, else 404 `model_not_found`": [],
    "`language`": [("language", "de")],
    "`keywords[]`": [("keywords[]", "clubs"), ("keywords[]", "ten")],
    "`temperature` 0": [("temperature", "0")],
    "`stream` true": [("stream", "true")],
    "`timestamp_granularities[]` word, segment": [
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ],
    "another `temperature`": [("temperature", "0.5")],
}


def works(sent: list[tuple[str, str]], format: str) -> str:
    given = [("model", "m"), *sent]
    if not any(name == "response_format" for name, _ in sent):
        given.append(("response_format", format))
    try:
        fields.check(given, own_language="en-US", decoder="auto")
    except ApiError as refused:
        return str(refused.status)
    return "works"


def test_the_matrix_has_every_format_and_field():
    header, *rows = table("Fields and formats")
    assert {cell.strip("`") for cell in header[1:]} == set(fields.FORMATS)
    named = {name for row in rows for name in re.findall(r"`(\w+)(?:\[\])?`", row[0])}
    assert {*fields.SCALARS, *fields.LISTS, *fields.UNSUPPORTED} <= named


@pytest.mark.parametrize("row", table("Fields and formats")[1:], ids=lambda row: row[0][:30])
def test_a_row_of_the_matrix(row: list[str]):
    formats = [cell.strip("`") for cell in table("Fields and formats")[0][1:]]
    if row[0] in VALUES:
        sendings = [VALUES[row[0]]]
    elif "diarized_json" in row[0]:
        sendings = [[("response_format", "diarized_json")], [("anything", "1")]]
    else:
        sendings = [[(name, "x")] for name in re.findall(r"`([\w\[\]]+)`", row[0])]
    for sent in sendings:
        assert [works(sent, format) for format in formats] == row[1:]
