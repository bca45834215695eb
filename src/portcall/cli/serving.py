"""What `server`, `worker` and `container-watcher` share: settings from flags, environment and file."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from portcall import settings
from portcall.cli.inputs import CREDENTIAL_VARIABLE
from portcall.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
CLIENT = ("server", "token", "token_file", "request_seconds")
LOGGING = ("log_level", "log_format")
METRICS = ("metrics_port", "metrics_host")


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """The settings, with what only the command line reads kept out of the check for misspellings."""
    mine = {"PORTCALL_DEBUG"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in mine and not name.startswith(CREDENTIAL_VARIABLE)
    }
    return Settings.load(flags, environment, file)


def flags(*keys: str) -> Callable[[F], F]:
    """An option for each of these settings, and `--config`."""
    described = {setting.key: setting for setting in settings.describe()}

    def decorate(function: F) -> F:
        for key in (key for key in reversed(keys) if key in described):
            setting = described[key]
            default = f"; default: {setting.default}" if setting.default else ""
            text = f"{setting.help} [{setting.env}{default}]"
            function = click.option(setting.flag, key, metavar="VALUE", help=text)(function)
        return click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="A TOML file of settings; flags and environment win. [PORTCALL_CONFIG]",
        )(function)

    return decorate


def serve(main: Callable[[Settings], Coroutine[Any, Any, None]], given: dict[str, Any]) -> int:
    """Runs until a signal asks it to end, which `main` sees to; that is no error."""
    import uvloop

    from portcall.observe import logging

    config = given.pop("config", None)
    loaded = load(given, config)
    logging.configure(loaded.log_level, loaded.log_format)
    uvloop.run(main(loaded))
    return 0
