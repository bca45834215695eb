# ruff: noqa: RUF009 - _setting() makes a dataclass field

"""Every setting of the server, the worker and the watcher, in one frozen object.

A value comes from a flag, else from the environment (`PORTCALL_*`), else from a TOML file
(`--config FILE` or `PORTCALL_CONFIG`), else it is the default. A wrong value says where it came from.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from portcall.errors import UsageError

T = TypeVar("T")
Parse = Callable[[Any], Any]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(\d+)\s*(KiB|MiB|GiB)?")
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, None: 1}
# What Kubernetes puts into the environment of every pod beside a Service called "portcall".
_SERVICE_LINK = re.compile(r"PORTCALL_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?)")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")  # noqa: TRY004 - every parser answers what it wanted by ValueError
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("a path")
    return Path(value).expanduser()


def _whole(low: int, high: int) -> Parse:
    def parse(value: Any) -> int:
        wanted = f"a whole number from {low} to {high}"
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(wanted) from None
        if type(number) is not int or not low <= number <= high:
            raise ValueError(wanted)
        return number

    return parse


def _seconds(low: float, high: float) -> Parse:
    def parse(value: Any) -> float:
        wanted = f"seconds, or a duration such as 500ms or 2m, from {low:g} s to {high:g} s"
        found = _DURATION.fullmatch(str(value).strip())
        if isinstance(value, bool) or not found:
            raise ValueError(wanted)
        seconds = float(found[1]) * _SECONDS[found[2]]
        if not low <= seconds <= high:
            raise ValueError(wanted)
        return seconds

    return parse


def _bytes(low: int, high: int) -> Parse:
    def parse(value: Any) -> int:
        wanted = f"bytes, or a size such as 8MiB, from {low} to {high}"
        found = _SIZE.fullmatch(str(value).strip())
        if isinstance(value, bool) or not found or not low <= int(found[1]) * _BYTES[found[2]] <= high:
            raise ValueError(wanted)
        return int(found[1]) * _BYTES[found[2]]

    return parse


def _one_of(*choices: str) -> Parse:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return parse


def _url(value: Any) -> str:
    if not isinstance(value, str) or not re.match(r"https?://[^\s/]", value):
        raise ValueError("a URL such as http://127.0.0.1:8642")
    return value.rstrip("/")


def _setting(default: T, parse: Parse, text: str, *, secret: bool = False) -> T:
    value: T = field(default=default, repr=not secret, metadata={"help": text, "parse": parse})
    return value


class Described(NamedTuple):
    """One setting, for `--help` and the manual."""

    flag: str
    env: str
    key: str
    default: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Durations are in seconds, sizes in bytes. `describe()` lists what each is for."""

    db: Path = _setting(Path(".portcall/portcall.db"), _path, "The SQLite database of the server.")
    host: str = _setting("127.0.0.1", _text, "Address the server listens on; beyond loopback it needs a token.")
    port: int = _setting(8642, _whole(0, 65535), "Port the server listens on; 0 takes a free one.")
    server: str = _setting(
        "http://127.0.0.1:8642", _url, "URL of the server, for worker, watcher and command line."
    )
    token: str = _setting(
        "",
        _text,
        "Shared secret of server and clients. Other users can see flags: prefer token_file.",
        secret=True,
    )
    token_file: Path | None = _setting(None, _path, "File that holds the token.")
    runtime: Literal["process", "docker", "kubernetes"] = _setting(
        "process", _one_of("process", "docker", "kubernetes"), "Where containers run."
    )
    runtime_root: Path | None = _setting(
        None, _path, "Folder in which the process runtime keeps its records; beside the database if not given."
    )
    slots: int = _setting(4, _whole(1, 10_000), "Commands that one worker runs at once.")
    worker_id: str = _setting("", _text, "Name of the worker; made from host name and process id if not given.")
    lease_seconds: float = _setting(
        30.0, _seconds(1, 3600), "How long a worker holds a command without a heartbeat."
    )
    comparison_seconds: float = _setting(
        30.0, _seconds(1, 3600), "How often the watcher compares the open calls with its runtime."
    )
    lost_confirm_seconds: float = _setting(
        30.0,
        _seconds(0.1, 3600),
        "Time between the two looks after which a container that is gone counts as lost.",
    )
    retention_seconds: float = _setting(
        3600.0,
        _seconds(1, 366 * 86400),
        "How long an ended container's record is kept; at least ten lease times.",
    )
    drain_seconds: float = _setting(
        10.0, _seconds(0, 3600), "How long a worker that is told to stop waits for what it runs."
    )
    request_seconds: float = _setting(
        30.0, _seconds(0.1, 3600), "How long a client waits for an answer of the server, beside long polls."
    )
    poll_seconds: float = _setting(60.0, _seconds(0, 60), "The longest long poll the server grants.")
    max_body_bytes: int = _setting(
        8 << 20, _bytes(1 << 10, 1 << 30), "The largest request body the server reads."
    )
    max_batch: int = _setting(1000, _whole(1, 100_000), "The most events, calls or commands in one request.")
    max_requests: int = _setting(
        1000, _whole(1, 100_000), "Requests that the server works on at once; more are told to come again."
    )
    metrics_port: int | None = _setting(
        None,
        _whole(0, 65535),
        "Port on which a worker or watcher answers probes and shows its metrics; none if not given.",
    )
    metrics_host: str = _setting(
        "127.0.0.1", _text, "Address of that port; beyond loopback it needs the token, as the server does."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _one_of("debug", "info", "warning", "error"), "The least severe log records to show."
    )
    log_format: Literal["console", "json"] = _setting(
        "console", _one_of("console", "json"), "Log records for people, or one JSON object a line."
    )

    @classmethod
    def load(
        cls,
        flags: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> Settings:
        """Merge the sources. A flag that is None was not given; `env` None is that of the process."""
        environment = os.environ if env is None else env
        given = environment.get("PORTCALL_CONFIG")
        path = file or (Path(given) if given else None)
        values: dict[str, _Value] = {}
        for source in (_of_file(path), _of_environment(environment), _of_flags(flags or {})):
            _merge(values, source)
        parsed = {key: value.parsed() for key, value in values.items()}
        if "token_file" in parsed:
            parsed["token"] = _read_token(parsed["token_file"], values["token_file"].source)
        return _consistent(cls(**parsed))


@dataclass(frozen=True, slots=True)
class _Value:
    """A value as it was given, and where."""

    key: str
    raw: object
    source: str
    base: Path | None = None

    def parsed(self) -> Any:
        setting = _FIELDS[self.key]
        try:
            value = setting.metadata["parse"](self.raw)
        except ValueError as error:
            shown = "" if not setting.repr else f" is {self.raw!r}, which"
            raise UsageError(f"{self.source}{shown} is not {error}.") from None
        return self.base / value if self.base and isinstance(value, Path) else value


_FIELDS: dict[str, Field[Any]] = {one.name: one for one in fields(Settings)}


def flag(key: str) -> str:
    """`lease_seconds` is `--lease-seconds`."""
    return "--" + key.replace("_", "-")


def variable(key: str) -> str:
    """`lease_seconds` is `PORTCALL_LEASE_SECONDS`."""
    return f"PORTCALL_{key.upper()}"


def describe() -> list[Described]:
    """All settings in their order."""
    return [Described(flag(k), variable(k), k, _shown(f), f.metadata["help"]) for k, f in _FIELDS.items()]


def _shown(setting: Field[Any]) -> str:
    return "" if setting.default in (None, "", MISSING) else str(setting.default)


def _meant(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.75)
    return near[0] if near else ""


def _of_flags(flags: Mapping[str, object]) -> list[_Value]:
    if unknown := [key for key in flags if key not in _FIELDS]:
        raise UsageError(f"There is no setting {unknown[0]!r}.")
    return [_Value(key, raw, f"The flag {flag(key)}") for key, raw in flags.items() if raw is not None]


_OTHERS = frozenset({"PORTCALL_CONFIG", "PORTCALL_DEBUG"})
"""Variables that are the command line's own."""


def _of_environment(env: Mapping[str, str]) -> list[_Value]:
    names = {variable(key): key for key in _FIELDS}
    found = []
    for name, raw in env.items():
        linked = name == "PORTCALL_PORT" and raw.startswith("tcp://")
        if linked or name in _OTHERS or not name.startswith("PORTCALL_"):
            continue
        if name in names:
            found.append(_Value(names[name], raw, f"The environment variable {name}"))
        elif not _SERVICE_LINK.fullmatch(name) and (meant := _meant(name, list(names))):
            raise UsageError(f"There is no setting for the environment variable {name}; did you mean {meant}?")
    return found


def _of_file(path: Path | None) -> list[_Value]:
    if path is None:
        return []
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"The settings file {path} is not TOML: {error}.") from error
    for key in document:
        if key not in _FIELDS:
            meant = _meant(key, list(_FIELDS))
            hint = f"; did you mean {meant!r}?" if meant else f"; there are {', '.join(_FIELDS)}."
            raise UsageError(f"The settings file {path} has the unknown key {key!r}{hint}")
    base = path.absolute().parent
    return [_Value(key, raw, f"The settings file {path}: {key}", base) for key, raw in document.items()]


def _merge(values: dict[str, _Value], source: list[_Value]) -> None:
    """`token` and `token_file` are two forms of one setting: the nearer source decides which."""
    given = {value.key: value for value in source}
    forms = given.keys() & {"token", "token_file"}
    if len(forms) > 1:
        raise UsageError(
            f"{given['token'].source} and {given['token_file'].source} exclude each other; keep one."
        )
    if forms:
        values.pop("token", None)
        values.pop("token_file", None)
    values.update(given)


def _read_token(path: Path, source: str) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{source} names {path}, which cannot be read: {reason}.") from error
    if not token:
        raise UsageError(f"{source} names {path}, which is empty; put the token into it.")
    return token


def _consistent(settings: Settings) -> Settings:
    if settings.retention_seconds < 10 * settings.lease_seconds:
        raise UsageError(
            f"retention_seconds is {settings.retention_seconds:g}, less than ten times lease_seconds"
            f" ({settings.lease_seconds:g}): a late worker could start an ended container again; raise it."
        )
    if not re.fullmatch(r"[\x21-\x7e]*", settings.token):
        raise UsageError("The token has spaces or characters beyond ASCII, which cannot be sent in a header.")
    return settings
