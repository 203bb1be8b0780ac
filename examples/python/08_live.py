"""Live recognition: words while they are spoken.

A WAV file stands in for a microphone and plays in real time. Any iterable of raw PCM or arrays may
take its place.

python 08_live.py recording.wav --url localhost:8001
"""

import argparse
import os

from asr_client import Client, Interim, Segment, Skipped, paced


def main() -> None:
    """Print interims as they change, and each final."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="a WAV file with 16 bits or floats")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    microphone = paced(args.file)
    form = {"sample_rate": microphone.sample_rate, "channels": microphone.channels}
    with (
        Client(args.url) as client,
        client.stream(**form, encoding=microphone.encoding, decoder="beam") as live,
    ):
        for event in live.run(microphone):
            match event:
                case Interim(text=text):
                    print(f"         …  {text}", flush=True)
                case Segment(text=text, start_s=start_s):
                    print(f"{start_s:7.2f} s  {text}", flush=True)
                case Skipped(start_s=start_s, end_s=end_s, error=error):
                    print(f"{start_s:7.2f} s  skipped up to {end_s:.2f} s: {error}", flush=True)


if __name__ == "__main__":
    main()
