"""Many recordings at once with the asynchronous client; each result as it comes.

python 03_many.py *.wav --url localhost:8001
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from contextlib import aclosing

from asr_client import AsyncClient


async def transcribe_all(files: Sequence[str], *, url: str, concurrency: int) -> int:
    """Print a line for each file; return how many failed."""
    failed = 0
    async with AsyncClient(url, timeout_s=300) as client:
        outcomes = client.transcribe_many(files, concurrency=concurrency)
        # Whatever ends the loop also ends what is in flight, at once.
        async with aclosing(outcomes):
            async for outcome in outcomes:
                # One bad file is a line of its own and leaves the others alone.
                if outcome.error is not None:
                    failed += 1
                    print(f"{outcome.item}: FAILED, {outcome.error}", flush=True)
                else:
                    print(f"{outcome.item}: {outcome.result().text}", flush=True)
    return failed


def main() -> None:
    """End with 1 when a file failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()
    failed = asyncio.run(transcribe_all(args.files, url=args.url, concurrency=args.concurrency))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
