"""Where the executions are that a command speaks of: a database of this machine, or a server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from portcall.cli import embedded
from portcall.client.port import Client
from portcall.errors import NotFoundError, UsageError

LISTED = 1000
"""An abbreviated id is looked for among so many of the newest executions."""
NAMED = 5


def default_db() -> Path:
    """`$PORTCALL_DB`, else `.portcall/portcall.db` below the current folder."""
    return Path(os.environ.get("PORTCALL_DB") or Path(".portcall") / "portcall.db")


@dataclass(frozen=True, slots=True)
class Target:
    """`server` is empty when `db` is meant."""

    db: Path
    server: str = ""
    token: str = ""

    @classmethod
    def of(cls, db: Path | None, server: str | None, token: str | None) -> Target:
        """A flag wins over the environment, and a server that is named there over the default database."""
        if db and server:
            raise UsageError("--db and --server exclude each other; keep one.")
        if db or not (server or os.environ.get("PORTCALL_SERVER")):
            return cls(db or default_db())
        return cls.at_server(server, token)

    @classmethod
    def at_server(cls, server: str | None, token: str | None) -> Target:
        """The server that flags, environment and settings file name, by default the one on this machine."""
        from portcall.cli.serving import load

        settings = load({"server": server, "token": token})
        return cls(default_db(), settings.server, settings.token)

    @property
    def options(self) -> list[str]:
        """What a command to type needs, so that it means the same target. Never the token."""
        if self.server:
            return ["--server", self.server]
        return [] if self.db == default_db() else ["--db", str(self.db)]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        if not self.server:
            async with embedded.store(embedded.existing(self.db)) as client:
                yield client
            return
        from portcall.client.http import HttpClient

        remote = HttpClient(self.server, self.token)
        try:
            yield remote
        finally:
            await remote.close()


async def resolve(client: Client, text: str) -> str:
    """The execution that `text` means: an id, the start or end of one, or `last`."""
    known = [summary.execution_id for summary in await client.executions(LISTED)]
    if text == "last":
        if not known:
            raise NotFoundError("There is no execution yet.")
        return known[0]
    if text in known:
        return text
    found = [each for each in known if each.startswith(text) or each.endswith(text)]
    if len(found) > 1:
        some = ", ".join(found[:NAMED]) + (", ..." if len(found) > NAMED else "")
        raise UsageError(f"{text!r} fits {len(found)} executions: {some}")
    # An id may be older than the list reaches: then the client says whether it is there.
    if not found and not text.isdigit():
        raise NotFoundError(f"There is no execution {text!r}; portcall ps lists them.")
    return found[0] if found else text
