"""Run asr-server with the demo checkpoint and asr-gateway in front of it, until Ctrl-C.

`make gateway` runs it. Arguments go to asr-gateway, after `--decoder=beam`: the demo checkpoint has
a language model.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.local_server import local_server


def run(url: str, arguments: Sequence[str]) -> int:
    """Run asr-gateway in front of a server; returns its exit status."""
    program = Path(sys.executable).with_name("asr-gateway")
    # In a session of its own, so that Ctrl-C reaches it once: a second signal would end its drain.
    gateway = subprocess.Popen([program, f"--server={url}", *arguments], start_new_session=True)
    while True:
        try:
            return gateway.wait()
        except KeyboardInterrupt:
            gateway.send_signal(signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Run both; returns the gateway's exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("starting asr-server; the gateway's address follows", flush=True)
    try:
        with local_server() as server:
            return run(server.url, ["--decoder=beam", *arguments])
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
