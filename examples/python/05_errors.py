"""What can go wrong, and what to do about it.

The client has already sent again what may be sent again when an error arrives here. The message of
an error is constant, so that a log can be grouped by it; what differs is in its attributes.

python 05_errors.py recording.wav --url localhost:8001
"""

import argparse
import os
from typing import Any

from asr_client import (
    AsrError,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    RetryPolicy,
    ServerBusy,
    ServerUnavailable,
)


def attempt(what: str, client: Client, audio: Any, **settings: Any) -> None:
    """Transcribe, and say what follows from how it ends."""
    try:
        advice = f"the text is {client.transcribe(audio, **settings).text!r}"
    except InvalidRequest as error:
        # InvalidAudio and InvalidOptions are of this kind: the same call can never succeed.
        advice = f"tell the user: {error.server_message}"
    except DeadlineExceeded:
        advice = "give it more time, or answer your own caller with a time-out"
    except ServerBusy:
        advice = "slow down; more servers, or a larger --max-queue-size"
    except ServerUnavailable as error:
        advice = f"nobody at {error.address}, asked {error.attempts} times: answer 503, alert"
    except AsrError as error:
        # A defect, wrong credentials, a cancelled call: for a person to look at.
        advice = f"log it: {error}, request {error.request_id}, {error.server_message}"
    except (ValueError, TypeError) as error:
        advice = f"a mistake in the calling code, nothing was sent: {error}"
    except OSError as error:
        advice = f"cannot read the file, nothing was sent: {error}"
    print(f"{what}: {advice}")


def main() -> None:
    """Try one thing after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    with Client(args.url, timeout_s=60) as client:
        attempt("a good file", client, args.file)
        attempt("not audio", client, b"these are words, not samples\n" * 50)
        attempt("a channel too many", client, args.file, channel=7)
        attempt("no such file", client, "no-such-file.wav")
        attempt("samples without a rate", client, b"\0\0" * 100, encoding="pcm_s16le")
        attempt("a millisecond", client, args.file, timeout_s=0.001)
    # Port 9 is the discard service's, and nobody runs it any more.
    impatient = RetryPolicy(max_attempts=2, initial_backoff_s=0.05, reconnect_s=0)
    with Client("127.0.0.1:9", timeout_s=10, retry=impatient) as client:
        attempt("nobody there", client, args.file)


if __name__ == "__main__":
    main()
