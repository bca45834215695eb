"""Read-only views of JSON data, for the template engine.

The engine takes a Python object as it is: it would reach the methods of dict and list, let an expression
change the data (`rows.pop()`), and answer `{{ fetch.items }}` with a bound method when the data has no such key.
A view shows the data and nothing else, wraps children only when they are read, and so costs nothing for
data that an expression does not touch.

The engine asks for a key first and, when that fails, for an attribute of the same name. `_missed`
remembers the failed key, so that the second question is refused; a method call comes without the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class MapView:
    """A JSON object."""

    __slots__ = ("_missed", "data")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self._missed: str | None = None

    def __getitem__(self, key: Any) -> Any:
        try:
            return wrap(self.data[key])
        except (KeyError, TypeError):
            self._missed = _asked_next(key)
            raise KeyError from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = None if name == self._missed else _MAP_METHODS.get(name)
        self._missed = None
        if method is None:
            raise AttributeError
        return method(self.data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        return self.data == unwrap(other)

    def __hash__(self) -> int:
        return len(self.data)

    def __str__(self) -> str:
        return str(self.data)


class ListView:
    """A JSON array."""

    __slots__ = ("_missed", "data")

    def __init__(self, data: Sequence[Any]) -> None:
        self.data = data
        self._missed: str | None = None

    def __getitem__(self, key: Any) -> Any:
        try:
            return wrap(self.data[key])
        except (IndexError, TypeError):
            self._missed = _asked_next(key)
            raise IndexError from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = None if name == self._missed else _LIST_METHODS.get(name)
        self._missed = None
        if method is None:
            raise AttributeError
        return method(self.data)

    def __iter__(self) -> Iterator[Any]:
        return map(wrap, self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        return self.data == unwrap(other)

    def __lt__(self, other: object) -> bool:
        return bool(self.data < unwrap(other))

    def __gt__(self, other: object) -> bool:
        return bool(self.data > unwrap(other))

    def __hash__(self) -> int:
        return len(self.data)

    def __str__(self) -> str:
        return str(self.data)


Sequence.register(ListView)

_MAP_METHODS: Final[Mapping[str, Callable[[Mapping[str, Any]], Callable[..., Any]]]] = {
    "get": lambda data: lambda key, default=None: wrap(data.get(key, default)),
    "items": lambda data: lambda: ListView([list(pair) for pair in data.items()]),
    "keys": lambda data: lambda: ListView(list(data)),
    "values": lambda data: lambda: ListView(list(data.values())),
}
_LIST_METHODS: Final[Mapping[str, Callable[[Sequence[Any]], Callable[..., Any]]]] = {
    "count": lambda data: lambda value: data.count(unwrap(value)),
    "index": lambda data: lambda value: data.index(unwrap(value)),
}


def wrap(value: Any) -> Any:
    """`value` as the engine may see it. TypeError for what is not JSON data."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return MapView(value)
    if isinstance(value, list | tuple | ListView):
        return ListView(value.data if isinstance(value, ListView) else value)
    if isinstance(value, MapView):
        return value
    for plain in (str, int, float):  # subclasses: enumerations, marked-up strings
        if isinstance(value, plain):
            return plain.__str__(value) if plain is str else plain(value)
    message = f"{type(value).__name__} is not JSON data"
    raise TypeError(message)


def unwrap(value: Any) -> Any:
    """The data behind a view, and `value` itself when it is none; views inside lists and maps too."""
    if isinstance(value, MapView | ListView):
        return value.data
    if isinstance(value, dict):
        return {key: unwrap(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [unwrap(child) for child in value]
    return value


def _asked_next(key: Any) -> str | None:
    # Names that start with an underscore are never asked for as attributes.
    return key if isinstance(key, str) and not key.startswith("_") else None
