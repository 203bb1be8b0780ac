"""Output of asr-gateway: results on standard output, its log on standard error."""

from __future__ import annotations

import logging
import sys


class StartError(Exception):
    """The gateway cannot start; the message is one line."""


logger = logging.getLogger("asr_gateway")


def log_to_stderr() -> None:
    """Send the gateway's and uvicorn's log to standard error, one line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("asr-gateway %(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.addHandler(handler)
    uvicorn.setLevel(logging.WARNING)
    uvicorn.propagate = False
    # Its warnings are callers' malformed requests, which the metrics count.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
