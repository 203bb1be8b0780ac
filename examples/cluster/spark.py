"""A folder of recordings through Spark's mapInPandas: tasks that share a set of servers.

spark-submit spark.py FOLDER --output RESULTS --url asr-1:8001 --url asr-2:8001
"""

import argparse
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pandas as pd
from pyspark.sql import SparkSession

from asr_client import Client, Recording

SCHEMA = "path string, text string, duration_s double, error string"

Frames: TypeAlias = Iterator[pd.DataFrame]


def transcriber(urls: list[str], concurrency: int) -> Callable[[Frames], Frames]:
    """A function for mapInPandas: columns `path` and `content` in, those of `SCHEMA` out."""

    def transcribe(frames: Frames) -> Frames:
        # Made in the worker, for no connection survives the way there.
        with Client(urls, timeout_s=600) as client:
            for frame in frames:
                recordings = [
                    Recording(bytes(audio), id=path, timestamps="none")
                    for path, audio in zip(frame["path"], frame["content"], strict=True)
                ]
                rows = []
                for outcome in client.transcribe_many(recordings, concurrency=concurrency):
                    transcript, error = outcome.transcript, outcome.error
                    # One bad file is a row of its own; Spark would fail the task for an exception.
                    rows.append(
                        (
                            outcome.item.id,
                            None if transcript is None else transcript.text,
                            None if transcript is None else transcript.duration_s,
                            None if error is None else str(error),
                        )
                    )
                yield pd.DataFrame(rows, columns=["path", "text", "duration_s", "error"])

    return transcribe


def main() -> None:
    """Write JSON lines into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--output", required=True)
    parser.add_argument("--url", action="append", help="a server; may be given several times")
    parser.add_argument("--concurrency", type=int, default=8, help="recordings of each task")
    args = parser.parse_args()
    urls = args.url or os.environ.get("ASR_URL", "localhost:8001").split(",")
    spark = SparkSession.builder.appName("asr").getOrCreate()
    try:
        # As many recordings in memory at once as are in one frame.
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 4 * args.concurrency)
        files = spark.read.format("binaryFile").load(args.folder).select("path", "content")
        rows = files.mapInPandas(transcriber(urls, args.concurrency), SCHEMA)
        rows.write.json(args.output)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
