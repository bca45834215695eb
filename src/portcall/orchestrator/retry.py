"""Whether a failed call is tried again, and how: pure, from what the playbook and the call say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from portcall.errors import UsageError
from portcall.model.event import CallDone
from portcall.model.state import Frame
from portcall.playbook.model import Backoff, Retry, Then
from portcall.quantity import minimum, multiply

INFRASTRUCTURE_RETRIES = 3
"""For a container that provably never started: it costs nothing, and repeats nothing."""
EXPIRED_RETRIES = 4
"""For a call whose worker vanished; one that takes its worker down with it must end."""
LONGEST_SECONDS = 10 * 366 * 86_400.0
"""Whatever a backoff grows to: more could not be added to a date."""


class Again(msgspec.Struct, frozen=True):
    """Try again after `delay` seconds. `cause` is counted."""

    cause: str
    delay: float
    grown: Mapping[str, str]


def delay_of(backoff: Backoff, retry: int, seed: str) -> float:
    """Seconds before retry number `retry` (from 1).

    The jitter is the call's own, so that deciding again gives the same.
    """
    seconds = min(_grown(backoff.initial, backoff.factor, retry - 1), backoff.max)
    if not backoff.jitter:
        return seconds
    unit = int.from_bytes(hashlib.sha256(f"{seed}/{retry}".encode()).digest()[:4], "big") / 2**32
    return seconds * (0.5 + unit / 2)


def _grown(initial: float, factor: float, times: int) -> float:
    """`initial * factor ** times`, at most `LONGEST_SECONDS`."""
    try:
        return min(float(initial * factor**times), LONGEST_SECONDS)
    except OverflowError:
        return LONGEST_SECONDS if initial > 0 else 0.0


def rule_delay(then: Then, retry: int) -> float:
    """Seconds before retry number `retry` (from 1) by a policy rule."""
    match then.backoff:
        case "linear":
            return min(then.delay * retry, LONGEST_SECONDS)
        case "exponential":
            return _grown(then.delay, 2.0, retry - 1)
        case "none" | "fixed":
            return min(then.delay, LONGEST_SECONDS)


def _applies(retry: Retry, done: CallDone) -> bool:
    error = done.error
    words = {"any", "error"}
    if done.outcome is not None:
        words |= {done.outcome.state, done.outcome.failure_class}
    elif error is not None:
        words |= {error.kind, "user"}
    if error is not None and error.retryable:
        words.add("retryable")
    return not words.isdisjoint(retry.on)


def again(retries: tuple[Retry, ...], frame: Frame, done: CallDone, limits: Mapping[str, Any]) -> Again | None:
    """By the step's `retry`, else by default for infrastructure failures before the start."""
    for index, retry in enumerate(retries):
        if not _applies(retry, done):
            continue
        cause = f"retry:{index}"
        number = frame.retries.get(cause, 0) + 1
        if number >= retry.max_attempts:
            return None
        grown = _grow(retry, frame, limits)
        if grown is None:
            return None
        return Again(cause, delay_of(retry.backoff, number, done.call_id), grown)
    outcome = done.outcome
    if outcome is not None and outcome.failure_class == "infrastructure" and not outcome.started:
        number = frame.retries.get("infrastructure", 0) + 1
        if number <= INFRASTRUCTURE_RETRIES:
            return Again("infrastructure", delay_of(Backoff(), number, done.call_id), frame.grown)
    return None


def _grow(retry: Retry, frame: Frame, limits: Mapping[str, Any]) -> dict[str, str] | None:
    """The raised limits; None when none can be raised any further, so that another try is no use."""
    grown = dict(frame.grown)
    raised = not retry.grow
    for name, factor in retry.grow.items():
        present = grown.get(name, limits.get(name))
        if present is None:
            continue
        try:
            bigger = multiply(str(present), factor)
            if name in retry.up_to:
                bigger = minimum(bigger, retry.up_to[name])
        except (UsageError, ValueError):
            continue
        raised = raised or bigger != str(present)
        grown[name] = bigger
    return grown if raised else None
