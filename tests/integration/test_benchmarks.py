"""The benchmark program on the real server, with a network that takes no time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.__main__ import main

pytestmark = pytest.mark.server


def test_a_small_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    arguments = (
        *("--systems", "service-fp32", "engine-fp32", "--mixes", "commands", "--at-once", "1"),
        *("--size", "tiny", "--commands", "4", "--cell-s", "1"),
        *("--build", str(tmp_path / "build"), "--output", str(tmp_path / "output")),
    )
    assert main(list(arguments)) == 0

    with (tmp_path / "output" / "cells.csv").open(newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"this service, fp32", "its engine offline, fp32"}
    for row in rows.values():
        assert row["note"] == ""
        assert int(row["calls"]) >= 4
        assert float(row["rtfx"]) > 0
        assert float(row["peak_mib"]) > 100
        # In fp32 a clip's transcript is that of Hugging Face's model, and nothing is padded here.
        assert (float(row["equal"]), float(row["padding_waste"])) == (1, 0)
    page = (tmp_path / "output" / "table.md").read_text()
    assert page in capsys.readouterr().out
    assert "clips: commands 4 of 8 s" in page
    assert "commands, fp32: one caller waits no longer" in page
    assert (tmp_path / "output" / "rtfx.svg").exists()
