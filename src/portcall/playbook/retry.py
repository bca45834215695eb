"""`retry` of a step: which failures are tried again, how often, and with what raised."""

from __future__ import annotations

import re
from typing import get_args

from portcall.model.outcome import FailureClass, State
from portcall.playbook.duration import duration
from portcall.playbook.fields import Fields, what
from portcall.playbook.model import Backoff, Retry
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

RETRY_KEYS = ("on", "max_attempts", "backoff", "grow")
BACKOFF_KEYS = ("initial", "factor", "max", "jitter")
STATES: tuple[str, ...] = get_args(State)
CLASSES: tuple[str, ...] = get_args(FailureClass)
ERROR_KINDS = (
    "timeout", "connection", "auth", "rate_limit", "server_error", "client_error", "exception", "config",
)  # fmt: skip
ON = ("any", *(c for c in CLASSES if c != "ok"), *(s for s in STATES if s != "succeeded"), *ERROR_KINDS)
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)x?")
_QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def retries(report: Report, node: Node | None) -> tuple[Retry, ...]:
    """A list of entries, or a single one."""
    if node is None:
        return ()
    return tuple(_retry(report, item) for item in (node.items if node.kind == "list" else [node]))


def _retry(report: Report, node: Node) -> Retry:
    fields = Fields(report, node, "a `retry` entry", RETRY_KEYS)
    on = fields.words("on") or ("any",)
    place = fields.get("on")
    for word in on:
        near = "" if word in ON else did_you_mean(word, ON)
        # Tools have error kinds of their own: only what looks like a slip is told.
        if place is not None and near:
            message = f"{quoted(word)} is no class, state or error kind that portcall knows."
            report.warning(place, message, hint=near)
    grow, up_to = _grow(report, fields.mapping("grow"))
    return Retry(
        on=on,
        max_attempts=fields.whole("max_attempts", 3) or 3,
        backoff=_backoff(report, fields.mapping("backoff")),
        grow=grow,
        up_to=up_to,
    )


def _backoff(report: Report, node: Node | None) -> Backoff:
    if node is None:
        return Backoff()
    fields = Fields(report, node, "a retry's `backoff`", BACKOFF_KEYS)
    return Backoff(
        initial=duration(fields, "initial", Backoff().initial),
        factor=fields.number("factor", Backoff().factor, least=1),
        max=duration(fields, "max", Backoff().max),
        jitter=fields.flag("jitter", default=True),
    )


def _grow(report: Report, node: Node | None) -> tuple[dict[str, str], dict[str, str]]:
    """`{memory: 2x, up_to: 16Gi}`, or with several limits `up_to: {memory: 16Gi, cpu: 4}`."""
    if node is None:
        return {}, {}
    fields = Fields(report, node, "a retry's `grow`", ("memory", "cpu", "up_to"))
    grow = {limit: _factor(fields, limit) for limit in ("memory", "cpu") if fields.get(limit)}
    if not grow:
        report.error(node, "`grow` names no limit; give `memory` or `cpu` with a factor such as 2x.")
    bound = fields.get("up_to")
    if bound is None:
        return grow, {}
    if bound.kind == "map":
        inner = Fields(report, bound, "`up_to`", tuple(grow))
        return grow, {limit: _quantity(inner, limit) for limit in grow if inner.get(limit)}
    if len(grow) > 1:
        fields.wrong(bound, "up_to", "a map of limits, such as {memory: 16Gi, cpu: 4}")
        return grow, {}
    return grow, {limit: _quantity(fields, "up_to") for limit in grow}


def _factor(fields: Fields, limit: str) -> str:
    node = fields.get(limit)
    match = _FACTOR.fullmatch(str(node.value)) if node else None
    if node is None or match is None or float(match[1]) <= 1:
        if node is not None:
            fields.wrong(node, limit, "a factor above 1, such as 2x")
        return "1x"
    return f"{match[1]}x"


def _quantity(fields: Fields, key: str) -> str:
    node = fields.get(key)
    if node is None or not _QUANTITY.fullmatch(str(node.value)):
        if node is not None:
            fields.report.error(node, f"`{key}` must be a quantity such as 16Gi, not {what(node)}.")
        return "0"
    return str(node.value)
