"""Python values as JSON text, bounded, and with the path of what cannot be converted.

The json package would cost 10 ms, and could not say where in the result a value is wrong.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing and collections.abc cost milliseconds
    from collections.abc import Iterator

_LIMIT = 1 << 20
_DEPTH = 200


class ResultError(Exception):
    """The result is no JSON data; `kind` is the error's kind."""

    def __init__(self, message: str, kind: str = "result") -> None:
        super().__init__(message)
        self.kind = kind


class Encoder:
    """Python values as JSON text; bounded, and with the path of what cannot be converted."""

    def __init__(self) -> None:
        self._size = 0

    def text(self, value: object) -> str:
        return "".join(self._bounded(self._parts(value, "result", 0)))

    def _bounded(self, parts: Iterator[str]) -> Iterator[str]:
        for part in parts:
            self._size += len(part)
            if self._size > _LIMIT:
                raise ResultError(
                    "The result is larger than 1 MiB; write it to a file or a database and return where it is",
                    "too_large",
                )
            yield part

    def _parts(self, value: object, path: str, depth: int) -> Iterator[str]:
        if depth > _DEPTH:
            raise ResultError(
                f"{path[:100]} is nested deeper than {_DEPTH} levels, or contains itself; return plain data"
            )
        scalar = _scalar(value, path)
        if scalar is not None:
            yield scalar
        elif isinstance(value, dict):
            yield from self._mapping(value, path, depth)
        elif isinstance(value, (list, tuple)):
            yield from self._sequence(value, path, depth)
        else:
            yield from self._parts(_plain(value, path), path, depth + 1)

    def _mapping(self, value: dict[object, object], path: str, depth: int) -> Iterator[str]:
        separator = "{"
        for key, item in value.items():
            yield f"{separator}{quoted(_key(key, path))}:"
            yield from self._parts(item, f"{path}.{key}", depth + 1)
            separator = ","
        yield "}" if separator == "," else "{}"

    def _sequence(self, value: list[object] | tuple[object, ...], path: str, depth: int) -> Iterator[str]:
        separator = "["
        for index, item in enumerate(value):
            yield separator
            yield from self._parts(item, f"{path}[{index}]", depth + 1)
            separator = ","
        yield "]" if separator == "," else "[]"


def quoted(text: str) -> str:
    from _json import encode_basestring_ascii

    return str(encode_basestring_ascii(text.encode("utf-8", "replace").decode()))


def _key(key: object, path: str) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return _scalar(key, path) or ""
    if type(key).__module__ in ("uuid", "datetime", "_pydatetime", "enum"):
        return str(key)
    raise ResultError(f"{path} has a key of type {_name(key)}; keys of a JSON object are text")


def _scalar(value: object, path: str) -> str | None:
    """JSON text of what is a JSON scalar already; None for everything else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(str.__str__(value))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _number(float.__repr__(value), path)
    return None


def _number(text: str, path: str) -> str:
    if text.lstrip("-+").lower() in ("nan", "inf", "infinity", "snan"):
        raise ResultError(f"{path} is {text}, which JSON cannot hold; return None instead")
    return text


def _plain(value: object, path: str) -> object:  # noqa: C901, PLR0911, PLR0912 - one line for each type
    """One step nearer to JSON, by duck typing: importing the types to compare with would cost time."""
    module, name = type(value).__module__.partition(".")[0], type(value).__name__
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _text_of(bytes(value))
    if isinstance(value, (set, frozenset)):
        return _in_order(value)
    if isinstance(value, (range, type({}.keys()), type({}.values()))) or name == "deque":
        return list(value)  # type: ignore[call-overload] # iterable, as checked
    if module == "pandas":
        if name in ("NAType", "NaTType"):
            return None
        if name == "DataFrame":
            return value.to_dict("records")  # type: ignore[attr-defined] # duck typing
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {field: getattr(value, field) for field in value.__dataclass_fields__}
    if callable(getattr(value, "isoformat", None)):
        return value.isoformat()  # type: ignore[attr-defined] # duck typing
    if callable(getattr(value, "total_seconds", None)):
        return value.total_seconds()  # type: ignore[attr-defined] # duck typing
    if name == "UUID" or (module == "pathlib" and hasattr(value, "__fspath__")):
        return str(value)
    if name == "Decimal":
        return _decimal(value, path)
    if hasattr(type(value), "_member_map_"):
        return value.value  # type: ignore[attr-defined] # an Enum
    for method in ("model_dump", "tolist", "item"):
        if not isinstance(value, type) and callable(getattr(value, method, None)):
            return getattr(value, method)()
    if hasattr(value, "keys") and hasattr(value, "__getitem__") and not isinstance(value, type):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 - any mapping
    raise ResultError(
        f"{path} is of type {_name(value)}, which JSON cannot hold; return text, numbers, booleans, None, "
        "lists or dicts"
    )


def _decimal(value: object, path: str) -> object:
    _number(str(value), path)
    whole = int(value)  # type: ignore[call-overload] # a Decimal
    return whole if whole == value else float(value)  # type: ignore[arg-type] # a Decimal


def _in_order(values: set[object] | frozenset[object]) -> list[object]:
    try:
        return sorted(values)  # type: ignore[type-var] # raises TypeError where there is no order
    except TypeError:
        return list(values)


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return b64encode(value).decode()


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
