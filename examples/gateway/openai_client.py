"""Transcribe a recording with OpenAI's package: text, word times, and a stream.

Needs openai.

python openai_client.py recording.wav --url http://127.0.0.1:8080
"""

import argparse
import os

from openai import BadRequestError, OpenAI


def main() -> None:
    """Print what the recording says, three times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--url", default=os.environ.get("ASR_GATEWAY", "http://127.0.0.1:8080"))
    parser.add_argument("--key", default="unused", help="of a gateway with --keys")
    args = parser.parse_args()
    client = OpenAI(base_url=f"{args.url}/v1", api_key=args.key)
    with open(args.file, "rb") as file:
        audio = (os.path.basename(args.file), file.read())

    print(client.audio.transcriptions.create(model="whisper-1", file=audio).text)

    verbose = client.audio.transcriptions.create(
        model="whisper-1",
        file=audio,
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    for word in verbose.words or []:
        print(f"{word.start:6.2f} {word.end:6.2f} {word.word}")

    for event in client.audio.transcriptions.create(model="whisper-1", file=audio, stream=True):
        if event.type == "transcript.text.delta":
            print(event.delta, end="", flush=True)
    print()

    try:
        client.audio.transcriptions.create(model="whisper-1", file=audio, prompt="in upper case")
    except BadRequestError as error:
        print(f"refused because of the field {error.param}: {error.message}")


if __name__ == "__main__":
    main()
