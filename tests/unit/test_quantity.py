from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcall.errors import UsageError
from portcall.quantity import minimum, multiply, parse_cpu, parse_memory


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("64Mi", 64 << 20),
        ("1.5Gi", 3 << 29),
        ("1G", 10**9),
        ("128974848", 128974848),
        (1024, 1024),
        ("1e3", 1000),
        ("128974848000m", 128974848),
        ("1500m", 2),
        ("1k", 1000),
        ("2E", 2 * 10**18),
    ],
)
def test_memory_is_bytes(text: str | int, number: int) -> None:
    assert parse_memory(text) == number


@pytest.mark.parametrize(
    ("text", "cores"), [("500m", 0.5), (2, 2.0), ("0.1", 0.1), (1.5, 1.5), ("250000u", 0.25)]
)
def test_cpu_is_cores(text: str | float, cores: float) -> None:
    assert parse_cpu(text) == cores


@pytest.mark.parametrize("text", ["", "Mi", "64 Mi", "64MB", "-1", "1e400", "nan", "inf", True, "\uff11"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    for parse in (parse_memory, parse_cpu):
        with pytest.raises(UsageError, match="number and a unit"):
            parse(text)


@pytest.mark.parametrize(
    ("quantity", "factor", "result"),
    [
        ("64Mi", "2x", "128Mi"),
        ("1Gi", "1.5x", "1.5Gi"),
        ("500m", "2x", "1000m"),
        ("2", "2", "4"),
        (2, 1.5, "3"),
        ("0.5", "2x", "1"),
        ("100Mi", "10x", "1000Mi"),
    ],
)
def test_multiply_keeps_the_suffix(quantity: str | float, factor: str | float, result: str) -> None:
    assert multiply(quantity, factor) == result


@pytest.mark.parametrize("factor", ["x", "-2x", "0x", "", "2y"])
def test_a_wrong_factor_is_refused(factor: str) -> None:
    with pytest.raises(UsageError, match="factor"):
        multiply("1Gi", factor)


def test_the_minimum_is_by_value_and_stays_as_written() -> None:
    assert minimum("128Mi", "1Gi") == "128Mi"
    assert minimum("2Gi", "1Gi") == "1Gi"
    assert minimum("1000m", "1") == "1000m"


@given(st.integers(1, 10**6), st.sampled_from(["", "Ki", "Mi", "Gi", "k", "M"]), st.integers(1, 64))
def test_multiplying_multiplies_the_bytes(number: int, suffix: str, factor: int) -> None:
    quantity = f"{number}{suffix}"
    assert parse_memory(multiply(quantity, f"{factor}x")) == factor * parse_memory(quantity)
