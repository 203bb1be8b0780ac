"""One recording to its text and words.

python 01_file.py recording.wav --url localhost:8001
"""

import argparse
import os

from asr_client import Client


def main() -> None:
    """Print the text, then a line for each word."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="an audio file of any kind that the service knows")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    with Client(args.url, timeout_s=60) as client:
        transcript = client.transcribe(args.file)
    print(transcript.text)
    for word in transcript.words:
        print(f"{word.start_s:6.2f} to {word.end_s:6.2f} s  {word.confidence:4.0%}  {word.text}")
    print(f"{transcript.duration_s:.2f} s, by {transcript.model.id}")


if __name__ == "__main__":
    main()
