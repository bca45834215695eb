from __future__ import annotations

from typing import Any


def test_the_result_is_the_data_and_the_message_is_logged(bench: Any) -> None:
    assert bench.run("noop", {"message": 3, "result": {"a": [1]}}) == {"a": [1]}
    assert bench.log == ["3\n"]


def test_nothing_at_all(bench: Any) -> None:
    assert bench.run("noop", {}) is None
    assert bench.log == []
