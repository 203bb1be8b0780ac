"""A folder of recordings through Ray Data: actors that share a set of servers.

python ray_data.py FOLDER --output RESULTS --url asr-1:8001 --url asr-2:8001
"""

import argparse
import os
from typing import Any

import ray

from asr_client import Client, Recording


class Transcriber:
    """One in each actor; its client is made there, for no connection can be sent to it."""

    def __init__(self, urls: list[str], concurrency: int) -> None:
        self.client = Client(urls, timeout_s=600)
        self.concurrency = concurrency

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Columns `path` and `bytes` in; `path`, `text`, `duration_s` and `error` out."""
        recordings = [
            Recording(bytes(audio), id=str(path), timestamps="none")
            for path, audio in zip(batch["path"], batch["bytes"], strict=True)
        ]
        rows: dict[str, list[Any]] = {"path": [], "text": [], "duration_s": [], "error": []}
        # Results come as they finish, not in the batch's order.
        for outcome in self.client.transcribe_many(recordings, concurrency=self.concurrency):
            transcript = outcome.transcript
            rows["path"].append(outcome.item.id)
            rows["text"].append("" if transcript is None else transcript.text)
            rows["duration_s"].append(0.0 if transcript is None else transcript.duration_s)
            # One bad file is a row of its own; Ray would end the whole job for an exception.
            rows["error"].append("" if outcome.error is None else str(outcome.error))
        return rows


def main() -> None:
    """Write JSON lines into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--output", required=True)
    parser.add_argument("--url", action="append", help="a server; may be given several times")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=8, help="recordings of each actor")
    args = parser.parse_args()
    urls = args.url or os.environ.get("ASR_URL", "localhost:8001").split(",")
    ray.init(log_to_driver=False)
    try:
        files = ray.data.read_binary_files(args.folder, include_paths=True)
        rows = files.map_batches(
            Transcriber,
            fn_constructor_args=(urls, args.concurrency),
            batch_size=4 * args.concurrency,
            compute=ray.data.ActorPoolStrategy(size=args.actors),
            # They wait for servers, and need next to nothing of their machine.
            num_cpus=0.1,
        )
        rows.write_json(args.output)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
