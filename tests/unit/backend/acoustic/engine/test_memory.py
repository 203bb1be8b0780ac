"""2,000 requests of mixed lengths, some of them bad, must leave memory as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.backend.checkpoints import write_checkpoint

ROOT = Path(__file__).resolve().parents[5]
MAX_GROWTH_BYTES = 32 << 20

SCRIPT = """
import json, os, sys
os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "128"
import numpy as np, psutil
from pathlib import Path
from asr_backend.acoustic.model import Wav2Vec2Model
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.triton_io.metrics import Metrics
from tests.support.backend.doubles import PbUtils, Request

folder, precision = sys.argv[1:]
pb_utils = PbUtils()
engine = load_engine(
    load_checkpoint(Path(folder)), device="cpu", precision=precision, threads=1
)
model = Wav2Vec2Model(
    engine=engine, pb_utils=pb_utils, metrics=Metrics(pb_utils),
    max_window_s=1.0, max_batch_audio_s=4.0,
)
random = np.random.default_rng(0)

def serve(count):
    for _ in range(count // 8):
        requests = []
        for _ in range(8):
            length = int(random.choice([0, 17_000, *random.integers(1, 6_001, 14)]))
            samples = random.standard_normal((1, length)).astype(np.float32)
            samples[:, : random.integers(0, 2)] = random.choice([0.0, np.nan])
            requests.append(Request(SAMPLES=samples, cancelled=random.random() < 0.05))
        model.execute(requests)
        assert all(each.response is not None for each in requests)
    for family in pb_utils.MetricFamily.families.values():
        for metric in family.metrics.values():
            metric.observed.clear()
    return psutil.Process().memory_info().rss

print(json.dumps([serve(400), serve(2_000)]))
"""


def printed_by(script: str, folder: Path, precision: str) -> str:
    """What a process of its own says of a small checkpoint."""
    checkpoint = write_checkpoint(folder / "tiny", "base-960h", num_hidden_layers=1)
    command = [sys.executable, "-c", script, str(checkpoint), precision]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_memory_does_not_grow(tmp_path: Path, precision: str) -> None:
    before, after = json.loads(printed_by(SCRIPT, tmp_path, precision))
    assert after - before < MAX_GROWTH_BYTES


OUT_OF_MEMORY = """
import resource, sys
import numpy as np, psutil
from pathlib import Path
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.acoustic.engine.loading import load_engine

engine = load_engine(
    load_checkpoint(Path(sys.argv[1])), device="cpu", precision=sys.argv[2], threads=1
)
random = np.random.default_rng(0)
short, long = (random.standard_normal(count, dtype=np.float32) for count in (16_000, 2**23))
(before,) = engine.forward([short])
limit = psutil.Process().memory_info().vms + (8 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    engine.forward([long])
except MemoryError:
    print("MemoryError", (engine.forward([short])[0] == before).all())
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_clip_beyond_the_memory_is_a_memory_error(tmp_path: Path, precision: str) -> None:
    """OpenVINO itself may return without a word then, and with the clip before's output."""
    assert printed_by(OUT_OF_MEMORY, tmp_path, precision).split() == ["MemoryError", "True"]
