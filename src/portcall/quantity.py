"""Amounts of memory and CPU as Kubernetes writes them: `64Mi`, `1.5Gi`, `500m`, `2`.

The grammar is a decimal number and a suffix, see "Quantity" in the Kubernetes API reference:
binary Ki to Ei, decimal k to E, and n, u, m for parts.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from portcall.errors import UsageError

Quantity = str | int | float

_FORM = re.compile(
    r"\+?(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?", re.ASCII
)
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)\s*x?")
_BINARY = {f"{letter}i": Decimal(1024) ** (power + 1) for power, letter in enumerate("KMGTPE")}
_DECIMAL = {letter: Decimal(1000) ** (power + 1) for power, letter in enumerate("kMGTPE")}
_PARTS = {"m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9")}
_SCALE = {**_BINARY, **_DECIMAL, **_PARTS}


def parse_memory(quantity: Quantity) -> int:
    """Bytes, rounded up. Raises `UsageError`."""
    return math.ceil(_amount(quantity, "64Mi or 2Gi"))


def parse_cpu(quantity: Quantity) -> float:
    """Cores. Raises `UsageError`."""
    return float(_amount(quantity, "500m or 2"))


def multiply(quantity: Quantity, factor: Quantity) -> str:
    """`64Mi` by `2x` is `128Mi`: the suffix stays. Raises `UsageError`."""
    found = _FACTOR.fullmatch(str(factor).strip())
    if found is None or not Decimal(found[1]):
        raise UsageError("A factor is written as a number above 0 and an x, such as 2x or 1.5x.")
    number, suffix = _split(quantity, "64Mi, 500m or 2")
    return f"{_plain(number * Decimal(found[1]))}{suffix}"


def minimum(one: Quantity, other: Quantity) -> str:
    """The smaller of two, as written; of equal ones the first. Raises `UsageError`."""
    first, second = (_amount(each, "64Mi, 500m or 2") for each in (one, other))
    return str(one if first <= second else other)


def _amount(quantity: Quantity, example: str) -> Decimal:
    number, suffix = _split(quantity, example)
    scale = _SCALE.get(suffix)
    return number * scale if scale is not None else Decimal(f"{number}{suffix}")


def _split(quantity: Quantity, example: str) -> tuple[Decimal, str]:
    found = None if isinstance(quantity, bool) else _FORM.fullmatch(str(quantity).strip())
    if found is None:
        raise UsageError(f"A quantity is written as a number and a unit, such as {example}.")
    return Decimal(found["number"]), found["suffix"] or ""


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
