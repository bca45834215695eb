"""What the engine asks of a store: transaction functions over named queries, run whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Transaction(Protocol):
    def run(self, name: str, **parameters: Any) -> int:
        """Rows changed."""
        ...

    def one(self, name: str, **parameters: Any) -> Any:
        """The first row, or None."""
        ...

    def all(self, name: str, **parameters: Any) -> list[Any]: ...

    def many(self, name: str, rows: list[dict[str, Any]]) -> None: ...

    def savepoint(self) -> AbstractContextManager[None]:
        """What is done inside is taken back when it raises."""
        ...

    def version(self) -> int:
        """Changes when another process has written."""
        ...


class Store(Protocol):
    """Errors: `UnavailableError` when it is away or full: nothing of the function was kept."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run the function in one transaction; its result once that is durable."""
        ...

    async def close(self) -> None: ...
