"""Locust's side of the scenarios: its options, its shape and its events.

They hold for `python -m load_tests` and for `locust -f` with its web page, in one process and
distributed, alike.
"""

from load_tests.run.users import CALLERS, Caller, ScheduledCaller  # isort: skip  # patches first
from load_tests.run.users import (  # isort: skip  # Locust looks for them here
    CommandsCaller as CommandsCaller,
    MeetingsCaller as MeetingsCaller,
    SecondsCaller as SecondsCaller,
    ShortCaller as ShortCaller,
    TalksCaller as TalksCaller,
)

import copy
import ipaddress
import math
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.runners import WorkerRunner

from asr_client import AsrError, Client
from load_tests.report.slo import parse_slo
from load_tests.report.summary import Cells
from load_tests.run.arrivals import Arrivals
from load_tests.run.coordinator import BEGIN, Coordinator, Target, begun
from load_tests.run.corpus import KINDS
from load_tests.run.options import add_options
from load_tests.run.scenarios import SCENARIOS
from load_tests.run.web_page import extend
from load_tests.run.worker import Plan
from tools.command import writable

_running: list[Coordinator] = []
"""The current run, if any."""
_ended: list[Coordinator] = []
"""Runs that have ended."""
_fixed: dict[str, Any] = {}
"""Names of servers and files: those of the command line, whatever the web page is sent."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser) -> None:
    add_options(parser.add_argument, include_in_web_ui=False)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _prepare(environment: Any, runner: Any, web_ui: Any, **_: Any) -> None:
    options, url = environment.parsed_options, environment.host or ""
    # Python interrupts the greenlet that runs, which may be a caller's: it would print a traceback.
    gevent.signal_handler(signal.SIGINT, gevent.kill, gevent.getcurrent(), KeyboardInterrupt)
    # The loop's clock stood still during the imports: what is timed would end that much early.
    gevent.get_hub().loop.update_now()
    # A live stream plays to its end, too.
    environment.stop_timeout = options.timeout_s + KINDS["talks"].longest_s
    if isinstance(runner, WorkerRunner):
        runner.register_message(BEGIN, _begin_as_worker)
        return
    _fixed["arrivals"] = options.arrivals
    try:
        _plan(options), parse_slo(options.slo)
        if options.output:
            writable(options.output)
    except (ValueError, OSError) as error:
        raise SystemExit(f"load_tests: {error}") from None
    if not (options.allow_remote or _is_loopback(url)):
        raise SystemExit(f"--host {url} is not on this machine: say --allow-remote")
    with Client(url) as client:
        if not client.is_ready(timeout_s=10):
            raise SystemExit(f"no server is ready at {url}")
    if options.num_users is None:
        options.num_users = SCENARIOS[options.scenario].users
    if web_ui is not None:
        extend(web_ui, rows=_rows, text=_text, refusal=partial(_refusal, options))
    metrics_url, pid = options.metrics_url or None, options.server_pid or None
    _fixed["target"] = Target(url=url, metrics_url=metrics_url, pid=pid)
    _fixed["output"] = Path(options.output) if options.output else None


def _plan(options: Namespace) -> Plan:
    """Read the options.

    Raises:
        ValueError: no run can be like that.
        OSError: a trace cannot be read.
    """
    if options.scenario not in SCENARIOS:
        raise ValueError(f"scenario: {options.scenario!r} is not one of {', '.join(SCENARIOS)}")
    if options.arrivals.startswith("trace:") and options.arrivals != _fixed["arrivals"]:
        raise ValueError("arrivals: a trace can be named on the command line only")
    for name in ("duration_s", "timeout_s"):
        if not 0 <= getattr(options, name) < math.inf:
            raise ValueError(f"{name}: {getattr(options, name):g} is not 0 or more seconds")
    scenario = SCENARIOS[options.scenario]
    return Plan(
        name=options.scenario,
        # What was typed into the web page is found under another name.
        users=getattr(options, "users", options.num_users) or 0,
        duration_s=options.duration_s or scenario.duration_s,
        arrivals=Arrivals.parse(options.arrivals) if options.arrivals else None,
        seed=options.seed,
        timeout_s=options.timeout_s,
    )


_FIELDS = {"duration_s": float, "timeout_s": float, "seed": int, "user_count": int}
"""Numbers of the web page's form."""


def _refusal(options: Namespace, form: Mapping[str, str]) -> str:
    """Why the run that the web page's form asks for cannot be; empty when it can."""
    asked = copy.copy(options)
    for name, value in form.items():
        try:
            setattr(asked, name, _FIELDS.get(name, str)(value))
        except ValueError:
            return f"{name}: {value!r} is not a number"
    try:
        _plan(asked), parse_slo(asked.slo)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


class Stages(LoadTestShape):
    """Gives Locust the number of users that the scenario wants at each time."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many may come or go in a second; None ends the run."""
        assert self.runner is not None
        environment = self.runner.environment
        if not _running and not _begin(environment):
            return None
        users = _running[0].users()
        if users is None:
            _conclude(environment)
            return None
        return users, float(max(1, users, _running[0].plan.users))


def _begin(environment: Any) -> bool:
    """Begin a run; False when it cannot start."""
    options = environment.parsed_options
    try:
        plan = _plan(options)
        callers = plan.scenario.callers
        if plan.arrivals is not None:
            environment.user_classes = [ScheduledCaller]
        else:
            environment.user_classes = [c for c in CALLERS if c.sends in callers]
            for caller in environment.user_classes:
                caller.weight = callers[caller.sends]
        gates = parse_slo(options.slo)
        target, output = _fixed["target"], _fixed["output"]
        coordinator = Coordinator(environment.runner, target, plan, gates, output)
    except (AsrError, OSError, ValueError) as error:
        words = getattr(error, "server_message", "")
        print(f"gate broken: the run did not begin: {error} {words}", file=sys.stderr, flush=True)
        environment.process_exit_code = 1
        return False
    _running.append(coordinator)
    Caller.load, Caller.url = coordinator.run, target.url
    return True


def _begin_as_worker(environment: Any, msg: Any) -> None:
    Caller.url, Caller.load = begun(msg.data)


@events.report_to_master.add_listener  # type: ignore[untyped-decorator]
def _report(data: dict[str, Any], **_: Any) -> None:
    if hasattr(Caller, "load"):
        data["load_tests"] = Caller.load.take()


@events.worker_report.add_listener  # type: ignore[untyped-decorator]
def _take_report(client_id: str, data: dict[str, Any]) -> None:
    if _running:
        _running[0].take_report(client_id, data.get("load_tests", {}))


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _conclude(environment: Any, **_: Any) -> None:
    """Judge the current run: it may also be stopped by hand, or by a signal."""
    if _running:
        _ended.append(_running.pop())
        environment.process_exit_code = _ended[-1].conclude()
        if environment.parsed_options.headless:
            # After Locust's own tables, so that the verdict is the last that is read.
            events.quit.add_listener(_say)  # type: ignore[no-untyped-call]
        else:
            _say()


def _say(**_: Any) -> None:
    print(_ended[-1].text, flush=True)
    print(_ended[-1].verdict, file=sys.stderr, flush=True)


def _rows() -> list[Cells]:
    """The table of the current run, or of the last one."""
    coordinator = next(iter(_running or _ended[-1:]), None)
    return coordinator.summary().cells() if coordinator else []


def _text() -> str:
    """The summary of the current run, or of the last one."""
    if _running:
        return _running[0].summary().text()
    return f"{_ended[-1].text}\n{_ended[-1].verdict}" if _ended else "no run has ended yet"


def _is_loopback(url: str) -> bool:
    """Whether HOST:PORT is a loopback address; no name is looked up."""
    host = url.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
