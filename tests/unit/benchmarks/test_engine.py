from __future__ import annotations

import re
from pathlib import Path

import pytest

from asr_backend.checkpoint.description import load_checkpoint
from benchmarks import batch_invariance
from benchmarks.checkpoint import make_checkpoint
from benchmarks.engine import (
    BUDGETS_S,
    PEER,
    REFERENCE,
    STARTS_S,
    budgets,
    clips_table,
    matrix_share,
)
from benchmarks.matrix_products import network_flop


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def test_every_engine_gets_every_clip_in_turn() -> None:
    calls: list[tuple[str, int]] = []
    names = (REFERENCE, PEER, "ours")

    def run(name: str):
        return lambda samples: calls.append((name, samples.size))

    table = rows(clips_table({name: run(name) for name in names}, [0.5, 1.0], 2))
    assert [row[:2] for row in table] == [[s, name] for s in ("0.5 s", "1 s") for name in names]
    assert calls == [(name, size) for size in (8_000, 16_000) for name in names * 3]
    assert table[0][3] == table[1][4] == table[0][6] == "1.00"


def test_the_work_of_a_forward(tmp_path: Path) -> None:
    """Against the count of PyTorch's own counter, which knows each operation's formula."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from asr_backend.acoustic.engine.loading import load_model

    folder = make_checkpoint(tmp_path, "tiny")
    model = load_model(load_checkpoint(folder))
    model.config._attn_implementation = "eager"
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 16_000))
    assert network_flop(folder, 16_000) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_share_of_matrix_products(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, "tiny")
    line = matrix_share(folder, "an engine", lambda samples: None, rounds=1)
    assert re.search(r"bf16 run at \d+ GFLOP/s here; an engine, reaches \d+ GFLOP/s", line)


def test_budgets_of_the_tiny_network(tmp_path: Path) -> None:
    table = rows(budgets(make_checkpoint(tmp_path, "tiny"), threads=1, rounds=1))
    planned = [tuple(map(float, row[:2])) for row in table]
    assert planned == [(each, 0.5) for each in BUDGETS_S] + [(30.0, each) for each in STARTS_S]
    assert all(float(cell) > 0 for row in table for cell in row[2:])


def test_what_batching_changes_in_the_tiny_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch_invariance.main(["--size", "tiny", "--build", str(tmp_path)]) == 0
    table = rows(capsys.readouterr().out)
    moved = {row[0]: float(row[1].split()[0]) for row in table}
    assert 0 < moved["fp32 on torch, cpu"] < 1e-4
    assert all(row[2].split(" of ")[0] == "0" for row in table if row[0].startswith("fp32"))
