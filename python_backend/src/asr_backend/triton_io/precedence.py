"""How a front tells `wav2vec2` which windows go first: request parameters, and one answer.

`wav2vec2` computes all windows of a batch before it gets the next ones. So a window of a long
recording can be told to come again: then live audio that has arrived meanwhile goes before it.
"""

from __future__ import annotations

from typing import Literal

Precedence = Literal["live", "normal", "yielding"]
"""Of a window: "live" of live audio, "yielding" of a long recording, else "normal"."""

LIVE = "live"
"""Request parameter, true for a window of live audio."""
DEFERRALS = "deferrals"
"""Request parameter of a window that yields: how often it was told to come again."""
COME_AGAIN = "COME_AGAIN: live audio goes first"
"""The message of the answer to a window that is to come again, at once."""
