"""What a padded forward asks of the device: nothing for each clip, and no answer before the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.backend.checkpoints import write_checkpoint
from tests.unit.backend.acoustic.engine.test_engine import FAMILIES, clips, load

ANSWERS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")
"""Operations for whose result the CPU waits."""


class Operations(TorchDispatchMode):
    """Counts the operations that reach the device."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", FAMILIES)
def test_no_operation_for_each_clip_and_no_answer_before_the_end(
    tmp_path: Path, shape: str
) -> None:
    engine = load(write_checkpoint(tmp_path, shape))
    counts = []
    for lengths in ([9_000, 4_000], [9_000, *range(400, 6_000, 400)]):
        with Operations() as operations:
            engine.forward(clips(lengths))
        assert sum(operations.counts.values()) > 50
        assert not operations.counts.keys() & set(ANSWERS)
        counts.append(operations.counts)
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", FAMILIES)
def test_a_gpu_is_waited_for_once_a_forward(
    tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(write_checkpoint(tmp_path, shape), device="cuda")
    windows = clips([9_000, 4_000, 400])
    engine.forward(windows)
    run = engine._model.forward  # type: ignore[attr-defined]

    def unasked(*arguments: Any, **settings: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return run(*arguments, **settings)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(engine._model, "forward", unasked)  # type: ignore[attr-defined]
    assert len(engine.forward(windows)) == 3
