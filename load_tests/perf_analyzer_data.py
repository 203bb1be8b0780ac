"""`python -m load_tests.perf_analyzer_data FILE`: the corpus as input of NVIDIA's perf_analyzer.

Its `--input-data` takes a JSON file whose tensors are in base64. An element of a BYTES tensor is
there what it is on the wire: its length in four bytes, little-endian, and then itself.

The clips are in the order in which `run.closed_loop` sends them, so that the same lengths are in
flight together; the corpus itself is sorted by kind.
"""

from __future__ import annotations

import base64
import itertools
import json
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from load_tests.run.closed_loop import endless
from load_tests.run.corpus import Clip, build_corpus
from tools.command import make_parser

ROUNDS = 4
"""How often each clip is in the file, each time among others."""


def input_data(corpus: Iterable[Clip]) -> dict[str, Any]:
    """What `--input-data` reads: one request of `transcribe` for each clip, options empty."""
    return {
        "data": [{"AUDIO": _element(clip.audio), "OPTIONS": _element(b"{}")} for clip in corpus]
    }


def as_sent(corpus: Sequence[Clip], seed: int) -> list[Clip]:
    """The clips of the first ROUNDS rounds of `closed_loop` with this seed."""
    return list(itertools.islice(endless(corpus, seed), ROUNDS * len(corpus)))


def _element(value: bytes) -> dict[str, Any]:
    framed = struct.pack("<I", len(value)) + value
    return {"content": {"b64": base64.b64encode(framed).decode()}, "shape": [1]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the same seed gives the clips that every other load test sends."""
    parser = make_parser("load_tests.perf_analyzer_data", __doc__)
    parser.add_argument("file", type=Path, help="JSON file to write")
    parser.add_argument("--seed", type=int, default=0, help="of the clips and their order")
    options = parser.parse_args(arguments)
    clips = as_sent(build_corpus(seed=options.seed), options.seed)
    options.file.write_text(json.dumps(input_data(clips)), encoding="utf-8")
    print(f"{options.file}: {len(clips)} requests, {options.file.stat().st_size >> 10} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
