"""`python -m benchmarks.gpu`: what a GPU is worth here, in parts of which each may fail alone.

Every part runs in a process of its own for as long as its time budget allows. What it found until
then is kept; a part that fails or takes too long is a line of the report, not its end. The report
is written anew after each part, as Markdown and as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUDGETS_S = {
    "machine": 35.0,
    "engine-bf16": 45.0,
    "engine-fp16": 35.0,
    "engine-fp32": 45.0,
    "invariance": 40.0,
    "profile": 35.0,
    "service-1": 75.0,
    "service-2": 60.0,
    "tests": 60.0,
    "compiled": 50.0,
}
"""Parts in the order they run, and the seconds that each may take: eight minutes together."""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; the exit status is 0 when each came to an end of its own."""
    options = make_parser().parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    for name in options.parts:
        budget_s = options.budget_s.get(name, BUDGETS_S[name])
        print(f"==> {name}, at most {budget_s:g} s", flush=True)
        results[name] = run_part(name, options, budget_s)
        text = markdown(results, options.device)
        (options.output / "report.md").write_text(text, encoding="utf-8")
        (options.output / "report.json").write_text(json.dumps(results, indent=1))
    print(f"\n{markdown(results, options.device)}")
    return int(any(result["failure"] for result in results.values()))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--parts", nargs="+", choices=BUDGETS_S, default=list(BUDGETS_S))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument(
        "--service-python",
        default=sys.executable,
        metavar="PYTHON",
        help="for the parts with tritonserver, which needs numpy 1",
    )
    parser.add_argument(
        "--budget-s",
        type=_budgets,
        default={},
        metavar="PART=SECONDS,…",
        help="other time budgets of parts",
    )
    return parser


def _budgets(text: str) -> dict[str, float]:
    pairs = (each.split("=") for each in text.split(","))
    return {name: float(seconds) for name, seconds in pairs}


def run_part(name: str, options: argparse.Namespace, budget_s: float) -> dict[str, Any]:
    """Run a part in its own process.

    Returns:
        `rows`, each a mapping of columns to values; `notes`, lines of text; `took_s`; and
        `failure`, one line with the reason, empty where the part came to its end.
    """
    kept = options.output / f"{name}.json"
    kept.unlink(missing_ok=True)
    python = options.service_python if name.startswith("service") else sys.executable
    command = [python, "-m", "benchmarks.gpu.part", name, options.device, str(kept)]
    began = time.monotonic()
    failure = ""
    with (options.output / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            if process.wait(budget_s):
                failure = _last_line(Path(log.name)) or f"exit status {process.returncode}"
        except subprocess.TimeoutExpired:
            failure = f"not done within {budget_s:g} s"
            _end(process)
    found = json.loads(kept.read_text()) if kept.exists() else {"rows": [], "notes": []}
    return {**found, "failure": failure, "took_s": round(time.monotonic() - began, 1)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the part to end, as it may have a server to stop; then make it end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def markdown(results: Mapping[str, Mapping[str, Any]], device: str) -> str:
    """The report: a table of the parts, then what each found."""
    lines = [f"# A run on {device}", "", "| part | seconds | outcome |", "|---|---|---|"]
    for name, result in results.items():
        outcome = f"FAILED: {result['failure']}" if result["failure"] else "done"
        lines.append(f"| {name} | {result['took_s']} | {_cell(outcome)} |")
    for name, result in results.items():
        lines += ["", f"## {name}", "", *result["notes"]]
        if result["notes"]:
            lines.append("")
        lines += table(result["rows"])
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A Markdown table with the columns of all rows, in the order they first occur."""
    if not rows:
        return ["nothing measured"]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append(f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |")
    return lines


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
