"""Clips and figures without a server."""

from load_tests.report.server_side import ModelFigures, ServerFigures
from load_tests.run.corpus import Clip

CLIPS = (
    Clip(name="a", kind="commands", audio=b"a", words="one two three four", duration_s=2.0),
    Clip(name="b", kind="sentences", audio=b"b", words="five six", duration_s=5.0),
)
BAD = Clip(name="bad: x", kind="bad", audio=b"", duration_s=0.0, refusal="EMPTY_AUDIO")


def server_figures(**changes) -> ServerFigures:
    """Figures of a server that batched six windows into three forwards of two batches."""
    values = {
        "transcribe": ModelFigures(
            requests=6, executions=4, mean_batch=1.5, queue_s=0.001, compute_s=0.25
        ),
        "wav2vec2": ModelFigures(
            requests=6, executions=2, mean_batch=3.0, queue_s=0.01, compute_s=1.2
        ),
        "forward_windows": {1.0: 1, 2.0: 1, 4.0: 1, float("inf"): 0},
        "forwards": 3,
        "mean_forward_windows": 2.0,
        "padding_waste": 0.04,
        "audio_s": 30.0,
        "cancelled": 2,
        "errors": {"EMPTY_AUDIO": 3},
        "max_queue": 5,
        "max_windows_in_flight": 6,
        "cpu_s": 12.0,
        "memory_bytes": 700_000_000,
        "memory_growth_bytes": 20_000_000,
        "gpu_utilization": None,
        "gpu_memory_bytes": None,
    }
    return ServerFigures(**values | changes)
