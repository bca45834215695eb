"""Read-only views of JSON data, for the template engine.

The engine takes a Python object as it is: it would reach the methods of dict and list, let an expression
change the data (`rows.pop()`), and answer `{{ fetch.items }}` with a method when the data has no such key.
A view shows the data and nothing else, wraps children only when they are read, and so costs nothing for
data that an expression does not touch.

The engine asks for a key first and, when that fails, for an attribute of the same name. `_missed` remembers
the failed key, so that the second question is refused; a method call comes without the first. Attributes begin
with an underscore: the engine never asks for such.

The views of one evaluation share a budget. When it is spent they show nothing more, and the evaluation fails:
the engine would go on over a list that stands in an expression a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from portcall.errors import ExpressionError

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


READS: Final = 500_000
"""Elements that one evaluation may read from its data: about half a second of one core."""
TOO_MUCH: Final = "it reads too much data"
_TEXT_A_READ: Final = 8


class Budget:
    """What is left to read in one evaluation; below zero it is spent."""

    __slots__ = ("left",)

    def __init__(self, left: int = READS) -> None:
        self.left = left

    def spend(self, data: object) -> None:
        """Pay for reading the whole of the data. ExpressionError when the budget is spent."""
        waiting = [data]
        while waiting and self.left >= 0:
            value = waiting.pop()
            self.left -= 1
            if isinstance(value, list | tuple):
                waiting.extend(value)
            elif isinstance(value, Mapping):
                waiting.extend(value.values())
        if self.left < 0:
            raise ExpressionError(TOO_MUCH)

    def equal(self, data: Mapping[str, Any] | Sequence[Any], other: object) -> bool:
        """Whether the data are equal."""
        if not isinstance(other, Mapping | list | tuple) or len(data) != len(other):
            return False
        self.spend(data)
        return bool(data == other)

    def text(self, data: object) -> str:
        """The data as text, as far as there is a budget for it."""
        if self.left < 0:
            return ""
        text = str(data)
        self.left -= len(text) // _TEXT_A_READ
        return text


class MapView:
    """A JSON object."""

    __slots__ = ("_budget", "_data", "_missed")

    def __init__(self, data: Mapping[str, Any], budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._missed: str | None = None

    def __getitem__(self, key: Any) -> Any:
        self._budget.left -= 1
        try:
            return wrap(self._data[key], self._budget)
        except (KeyError, TypeError, ExpressionError):
            self._missed = _asked_next(key)
            raise KeyError from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = None if name == self._missed else _MAP_METHODS.get(name)
        self._missed = None
        if method is None:
            raise AttributeError
        return method(self._data, self._budget)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data) if self._budget.left >= 0 else iter(())

    def __len__(self) -> int:
        return len(self._data) if self._budget.left >= 0 else 0

    def __eq__(self, other: object) -> bool:
        return self._budget.equal(self._data, unwrap(other))

    def __hash__(self) -> int:
        return len(self._data)

    def __str__(self) -> str:
        return self._budget.text(self._data)


class ListView:
    """A JSON array."""

    __slots__ = ("_budget", "_data", "_missed")

    def __init__(self, data: Sequence[Any], budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._missed: str | None = None

    def __getitem__(self, key: Any) -> Any:
        self._budget.left -= 1
        try:
            return wrap(self._data[key], self._budget)
        except (IndexError, TypeError, ExpressionError):
            self._missed = _asked_next(key)
            raise IndexError from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = None if name == self._missed else _LIST_METHODS.get(name)
        self._missed = None
        if method is None:
            raise AttributeError
        return method(self._data, self._budget)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __len__(self) -> int:
        return len(self._data) if self._budget.left >= 0 else 0

    def __eq__(self, other: object) -> bool:
        return self._budget.equal(self._data, unwrap(other))

    def __lt__(self, other: object) -> bool:
        self._budget.spend(self._data)
        return bool(self._data < unwrap(other))

    def __gt__(self, other: object) -> bool:
        self._budget.spend(self._data)
        return bool(self._data > unwrap(other))

    def __hash__(self) -> int:
        return len(self._data)

    def __str__(self) -> str:
        return self._budget.text(self._data)


Sequence.register(ListView)


def _list(data: Iterable[Any], budget: Budget) -> ListView:
    copy = list(data)
    budget.left -= len(copy)
    return ListView(copy, budget)


def _paid(data: Sequence[Any], budget: Budget) -> Sequence[Any]:
    budget.spend(data)
    return data


_MAP_METHODS: Final[Mapping[str, Callable[[Mapping[str, Any], Budget], Callable[..., Any]]]] = {
    "get": lambda data, budget: lambda key, default=None: wrap(data.get(key, default), budget),
    "items": lambda data, budget: lambda: _list(([*pair] for pair in data.items()), budget),
    "keys": lambda data, budget: lambda: _list(data, budget),
    "values": lambda data, budget: lambda: _list(data.values(), budget),
}
_LIST_METHODS: Final[Mapping[str, Callable[[Sequence[Any], Budget], Callable[..., Any]]]] = {
    "count": lambda data, budget: lambda value: _paid(data, budget).count(unwrap(value)),
    "index": lambda data, budget: lambda value: _paid(data, budget).index(unwrap(value)),
}


def wrap(value: Any, budget: Budget) -> Any:
    """`value` as the engine may see it. ExpressionError for what is not JSON data."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    # The plain types first: asking an abstract class takes longer than all the rest.
    if kind is dict or isinstance(value, Mapping):
        return MapView(value, budget)
    if kind is list or isinstance(value, list | tuple):
        return ListView(value, budget)
    if isinstance(value, MapView | ListView):
        return value
    for plain in (str, int, float):  # subclasses: enumerations, marked-up strings
        if isinstance(value, plain):
            return plain.__str__(value) if plain is str else plain(value)
    raise ExpressionError(f"{kind.__name__} is not JSON data")


def unwrap(value: Any) -> Any:
    """The data behind a view, paid for, and `value` itself when it is none; views inside lists and maps too."""
    if isinstance(value, MapView | ListView):
        value._budget.spend(value._data)  # noqa: SLF001 - names without underscore are open to expressions
        return value._data  # noqa: SLF001 - the same
    if isinstance(value, dict):
        return {key: unwrap(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [unwrap(child) for child in value]
    return value


def _asked_next(key: Any) -> str | None:
    # Names that start with an underscore are never asked for as attributes.
    return key if isinstance(key, str) and not key.startswith("_") else None
