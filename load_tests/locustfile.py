"""The scenario `steady`: a fixed number of users send clips of mixed length.

Its own options, the gates and the check of the address hang on Locust's events, so that they
hold for `python -m load_tests`, and for `locust -f` with its web page, alike.
"""

from load_tests.users import TranscribeUser  # isort: skip  # patches the standard library

import ipaddress
import sys
from argparse import ArgumentParser
from typing import Any

import gevent
from locust import events

from asr_client import Client
from load_tests.corpus import build_corpus
from load_tests.gates import Gates, Measured


class SteadyUser(TranscribeUser):
    """One caller of the steady load."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-failures", type=float, default=Gates.max_failures, help="share of calls, 0 to 1")
    add("--max-p95-s", type=float, default=Gates.max_p95_s, help="seconds")
    add("--timeout-s", type=float, default=TranscribeUser.timeout_s, help="deadline of a call")
    add("--seed", type=int, default=0, help="of the clips")
    add("--allow-remote", action="store_true", help="a host other than loopback")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    url = environment.host or ""
    if not (options.allow_remote or _is_loopback(url)):
        raise SystemExit(f"--host {url} is not on this machine: say --allow-remote")
    with Client(url) as client:
        if not client.is_ready(timeout_s=10):
            raise SystemExit(f"no server is ready at {url}")
    SteadyUser.url = url
    SteadyUser.clips = build_corpus(seed=options.seed)
    SteadyUser.timeout_s = options.timeout_s
    # The loop's clock stood still during the imports: --run-time would end that much early.
    gevent.get_hub().loop.update_now()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _judge(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    total = environment.stats.total
    measured = Measured(
        requests=total.num_requests,
        failures=total.num_failures,
        p95_s=total.get_response_time_percentile(0.95) / 1000,
    )
    gates = Gates(max_failures=options.max_failures, max_p95_s=options.max_p95_s)
    broken = gates.broken(measured)
    for line in [f"gate broken: {reason}" for reason in broken] or [f"gates kept: {measured}"]:
        print(line, file=sys.stderr)
    environment.process_exit_code = 1 if broken else 0


def _is_loopback(url: str) -> bool:
    """Whether HOST:PORT is on this machine, by its letters: nothing is looked up."""
    host = url.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
