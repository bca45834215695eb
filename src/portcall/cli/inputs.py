"""What a caller gives an execution: `--set`, `--input`, `--credential` and their environment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from portcall.errors import TooLargeError, UsageError

MAX_FILE_BYTES = 8 * 1024 * 1024
CREDENTIAL_VARIABLE = "PORTCALL_CREDENTIAL_"


def workload(assignments: Iterable[str], file: str | None) -> dict[str, Any]:
    """The values of `--input FILE` with those of `--set` over them, deeply."""
    values: dict[str, Any] = _mapping(file) if file else {}
    for assignment in assignments:
        _assign(values, assignment)
    return values


def scalar(text: str) -> Any:
    """A value as YAML 1.2 reads a plain scalar, or JSON; anything else is the text itself."""
    from portcall.playbook.scalar import ScalarError, plain

    if text[:1] in {"{", "[", '"'}:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
    try:
        return plain(text) if text else text
    except ScalarError:
        return text


def _assign(values: dict[str, Any], assignment: str) -> None:
    key, found, text = assignment.partition("=")
    parts = key.strip().split(".")
    if not found or not all(parts):
        raise UsageError(f"--set {_named(assignment)} is not of the form key=value, such as --set epochs=3.")
    place = values
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {key}=...: {part!r} is already a value and cannot hold {parts[-1]!r}.")
        place = inner
    place[parts[-1]] = scalar(text)


def _named(assignment: str) -> str:
    """An assignment without its value, which may be a secret."""
    key, found, _ = assignment.partition("=")
    return repr(f"{key[:60]}=..." if found else key[:60])


def read_text(file: str, what: str) -> str:
    """The text of a file, `-` for stdin; bounded, UTF-8. Errors: UsageError, TooLargeError."""
    try:
        if file == "-":
            body = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                body = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"{what} {file} cannot be read: {reason}.") from error
    if len(body) > MAX_FILE_BYTES:
        raise TooLargeError(f"{what} {file} is larger than {MAX_FILE_BYTES // 1024**2} MiB.")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {file} is not UTF-8 text (byte {error.start}).") from error


def _mapping(file: str, what: str = "Input file") -> dict[str, Any]:
    data = _parse(read_text(file, what), file, what)
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UsageError(f"{what} {file} must hold a mapping with text keys, such as {{epochs: 3}}.")
    return data


def _parse(text: str, file: str, what: str) -> Any:
    """JSON, or YAML by the rules of playbooks. Errors never quote values, which may be secrets."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        from portcall.playbook.source import parse

    wrong = _Complaints()
    node = parse(text, wrong)
    if wrong.first:
        raise UsageError(f"{what} {file} is neither JSON nor YAML: {wrong.first}")
    return None if node is None else node.data()


class _Complaints:
    """Keeps the first complaint about a text, with its place."""

    first = ""

    def error_at(self, line: int, column: int, message: str, *, length: int = 1, hint: str = "") -> None:
        del length, hint
        self.first = self.first or f"line {line}, column {column}: {message}"


def credentials(given: Iterable[str], environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Credentials by name; `--credential` wins over `PORTCALL_CREDENTIAL_<NAME>`.

    A variable's name is known in capitals, in small letters, and with dashes for underscores.
    """
    found: dict[str, dict[str, Any]] = {}
    for variable, value in environment.items():
        if variable.startswith(CREDENTIAL_VARIABLE) and value:
            name = variable.removeprefix(CREDENTIAL_VARIABLE)
            fields = _credential(name, value)
            for form in (name, name.lower(), name.lower().replace("_", "-")):
                found[form] = fields
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise UsageError(f"--credential {_named(text)} is not of the form NAME=FILE or NAME=JSON.")
        found[name] = _credential(name, value)
    return found


def _credential(name: str, value: str) -> dict[str, Any]:
    if not value.lstrip().startswith("{"):
        return _mapping(value, f"Credential {name}: file")
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.DecodeError as error:
        # The cause is dropped on purpose: it may quote the secret.
        del error
    raise UsageError(f'Credential {name} is not a JSON object, such as {{"token": ...}}.')
