"""The options that `python -m load_tests` and Locust's own command have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from load_tests.report.slo import DEFAULT_SLO
from load_tests.run.arrivals import FORMS
from load_tests.run.scenarios import SCENARIOS
from tools.command import seconds, seconds_or_zero

RUN = ("scenario", "arrivals", "timeout_s", "seed", "slo", "output")
"""Options that the first command passes on to the second as they are."""


def add_options(add: Callable[..., Any], **of_target: Any) -> None:
    """Add the options with a parser's `add_argument`.

    Args:
        add: that of argparse, or of Locust's parser.
        of_target: settings of the options that name a server or a file.
    """
    add("--scenario", choices=list(SCENARIOS), default="steady", help="who calls, and when")
    add("--arrivals", default="", help=f"an open loop: {FORMS}")
    length = "length of the run; 0: the scenario's own"
    add("--duration-s", type=seconds_or_zero, default=0.0, help=length)
    add("--timeout-s", type=seconds, default=60.0, help="deadline of a call")
    add("--seed", type=int, default=0, help="of the clips and the schedule")
    add("--slo", default=DEFAULT_SLO, help="gates")
    add("--output", default="", help="where to write the figures as JSON", **of_target)
    add("--metrics-url", default="", help="the server's metrics page", **of_target)
    pid = "process id of its asr-server, on this machine"
    add("--server-pid", type=int, default=0, help=pid, **of_target)
    remote = "accept a server on another machine"
    add("--allow-remote", action="store_true", help=remote, **of_target)
