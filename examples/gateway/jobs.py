"""Transcribe a recording as a job: create it, follow it, fetch its words, delete it.

Needs httpx2 (or httpx: the calls are the same).

python jobs.py recording.wav --url http://127.0.0.1:8080
"""

import argparse
import hashlib
import os
import pathlib
import sys
import time

import httpx2


def main() -> int:
    """Print the text, then each word; 1 when the job failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--url", default=os.environ.get("ASR_GATEWAY", "http://127.0.0.1:8080"))
    parser.add_argument("--key", default="unused", help="of a gateway with --keys")
    args = parser.parse_args()
    audio = args.file.read_bytes()
    headers = {"authorization": f"Bearer {args.key}"}
    with httpx2.Client(base_url=args.url, headers=headers, timeout=60) as http:
        created = http.post(
            "/v1/jobs",
            files={"file": audio},
            data={
                "model": "whisper-1",
                "response_format": "verbose_json",
                "timestamp_granularities[]": "word",
            },
            # The same again would answer with the same job, so this is safe to repeat.
            headers={"idempotency-key": hashlib.sha256(audio).hexdigest()},
        )
        job = created.raise_for_status().json()
        while job["status"] in ("queued", "running"):
            print(f"{job['status']}, place {job['position']} in the queue", file=sys.stderr)
            time.sleep(1)  # A program uses webhook_url instead: see webhook_receiver.py.
            job = http.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        if job["status"] != "succeeded":
            print(job["error"], file=sys.stderr)
            return 1
        result = http.get(f"/v1/jobs/{job['id']}/result").raise_for_status().json()
        print(result["text"])
        for word in result["words"]:
            print(f"{word['start']:6.2f} {word['end']:6.2f} {word['word']}")
        http.delete(f"/v1/jobs/{job['id']}").raise_for_status()
    return 0


if __name__ == "__main__":
    sys.exit(main())
