"""What an agent reports of its training, checked before it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from convgym.agents.protocol import CurvePoint, TrainingReport
from convgym.benchmarks.runs.schema import POINT, explain
from convgym.checks import check_number
from convgym.contracts import described
from convgym.datafiles import plain
from convgym.errors import ConvgymError


def checked(report: object, who: str) -> TrainingReport:
    """Return what ``train`` returned, its parts as tuples.

    Raises:
        ConvgymError: for what is no ``TrainingReport``, or a part that could not be read again.
    """
    if not isinstance(report, TrainingReport):
        raise _wrong(f"{who} must return a TrainingReport from train", report)
    within = f"{who} must return, in its TrainingReport,"
    seconds = check_number(f"the seconds that {who} reports", report.seconds)
    if seconds < 0:
        raise _wrong(f"{within} seconds of 0 or more", seconds)
    curve = _parts(report.curve, f"{within} a curve of CurvePoint objects", CurvePoint)
    for point in curve:
        try:
            POINT.validate_python(plain({"name": "-", "seed": 0, **asdict(point)}))
        except ValidationError as error:
            raise ConvgymError(f"{within} a curve that can be drawn: {explain(error)}") from None
    rows = _parts(report.rows, f"{within} rows of numbers by name", Mapping)
    notes = _parts(report.notes, f"{within} notes, a tuple of texts", str)
    return replace(report, seconds=seconds, curve=curve, rows=rows, notes=notes)


def _parts(parts: object, expected: str, kind: type) -> tuple[Any, ...]:
    if isinstance(parts, str | Mapping) or not isinstance(parts, Iterable):
        raise _wrong(expected, parts)
    parts = tuple(parts)
    for part in parts:
        if not isinstance(part, kind):
            raise _wrong(expected, part)
    return parts


def _wrong(expected: str, thing: object) -> ConvgymError:
    return ConvgymError(f"{expected}, got {described(thing)}")
