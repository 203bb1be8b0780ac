"""The sweep's files: written after every point, read again to go on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from load_tests.sweep.live_points import LivePoint, held
from load_tests.sweep.points import Point
from load_tests.sweep.recommendation import Target, knees, recommend

FORMAT = 1


class OtherSweep(Exception):
    """The folder holds a sweep that was made under other conditions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep as its file has it."""

    conditions: Mapping[str, Any]
    """What all points have in common: checkpoint, clips, rule, machine. JSON values."""

    points: tuple[Point, ...]
    target: Target
    date: str
    """The day of the last point, ISO 8601."""

    live_points: tuple[LivePoint, ...] = ()


class Store:
    """`sweep.json` and `sweep.csv` in one folder.

    Args:
        folder: is made where it is not there.
        conditions: of the sweep; JSON values.
        target: for the recommendation.
    """

    def __init__(self, folder: Path, *, conditions: Mapping[str, Any], target: Target) -> None:
        self._folder = folder
        self._conditions = conditions
        self._target = target
        self._date = ""
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> tuple[Point, ...]:
        """The points of an interrupted sweep that have figures; the others are measured again.

        Raises:
            OtherSweep: they were measured under other conditions.
        """
        sweep = self._there()
        return tuple(p for p in sweep.points if p.measured is not None) if sweep else ()

    def read_live(self) -> tuple[LivePoint, ...]:
        """The same of the live points."""
        sweep = self._there()
        return tuple(p for p in sweep.live_points if p.measured is not None) if sweep else ()

    def _there(self) -> Sweep | None:
        path = self._folder / "sweep.json"
        if not path.exists():
            return None
        sweep = read_sweep(path)
        for key in sorted(self._conditions.keys() | sweep.conditions.keys()):
            there, here = sweep.conditions.get(key), self._conditions.get(key)
            if there != here:
                raise OtherSweep(
                    f"{path} is of another sweep ({key}: {there} there, {here} here); "
                    "name another --output, or say --fresh"
                )
        self._date = sweep.date
        return sweep

    def write(
        self,
        points: Sequence[Point],
        live_points: Sequence[LivePoint] = (),
        *,
        date: str | None = None,
    ) -> Sweep:
        """Replace both files; returns what they hold.

        Args:
            points: all of them.
            live_points: all of them.
            date: of the last one; None where none was added.
        """
        self._date = date or self._date
        sweep = Sweep(
            conditions=self._conditions,
            points=tuple(points),
            target=self._target,
            date=self._date,
            live_points=tuple(live_points),
        )
        _replace(self._folder / "sweep.json", json.dumps(as_json(sweep), indent=1) + "\n")
        _replace(self._folder / "sweep.csv", as_csv(points))
        return sweep


def as_json(sweep: Sweep) -> dict[str, Any]:
    """The file's JSON: the recommended point and the knees come before all points."""
    found = recommend(sweep.points, sweep.target)
    return {
        "format": FORMAT,
        "date": sweep.date,
        "conditions": sweep.conditions,
        "target": dataclasses.asdict(sweep.target),
        "recommendation": {
            "sentence": found.sentence,
            "point": found.point and dataclasses.asdict(found.point),
            "thriftier": found.thriftier and dataclasses.asdict(found.thriftier),
        },
        "knees": [
            {"setting": dataclasses.asdict(setting), "concurrency": point.concurrency}
            for setting, point in knees(sweep.points).items()
        ],
        "live_streams": [
            {"setting": dataclasses.asdict(setting), "streams": point.streams}
            for setting, point in held(sweep.live_points, sweep.target).items()
        ],
        "points": [dataclasses.asdict(point) for point in sweep.points],
        "live_points": [dataclasses.asdict(point) for point in sweep.live_points],
    }


def read_sweep(path: Path) -> Sweep:
    """Read a `sweep.json`.

    Raises:
        ValueError: it is none, or one of another format.
    """
    text = path.read_text(encoding="utf-8")
    try:
        kind = json.loads(text)["format"]
        if kind != FORMAT:
            raise ValueError(f"{path}: format {kind}, this program reads {FORMAT}")
        return TypeAdapter(Sweep).validate_json(text)
    except (LookupError, TypeError) as error:
        raise ValueError(f"{path}: not what a sweep writes ({error!r})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: not what a sweep writes ({where}: {first['msg']})") from None


def as_csv(points: Sequence[Point]) -> str:
    """One line a point; what is a mapping in JSON is a column for each of its keys."""
    rows = [_flat(point) for point in points]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(point: Point) -> dict[str, Any]:
    row = {**dataclasses.asdict(point.setting), "concurrency": point.concurrency}
    row["error"] = point.error
    if point.measured is not None:
        for name, value in dataclasses.asdict(point.measured).items():
            row |= _columns(name, value)
    return row


def _columns(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        column: part
        for key, held in value.items()
        for column, part in _columns(f"{name}_{key}", held).items()
    }


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_suffix(path.suffix + ".part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
