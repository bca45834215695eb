"""Listen, until told to stop; then let what is under way end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from portcall.errors import UsageError
from portcall.server.endpoint import Server
from portcall.server.guard import check_binding
from portcall.server.polls import Polls

if TYPE_CHECKING:
    import uvicorn

SHUTDOWN_SECONDS = 10
"""For requests under way; long polls end at once."""
_KEEPALIVE_SECONDS = 75  # longer than clients keep an idle connection


async def serve(  # noqa: PLR0913 - what is served, where, until when
    app: Starlette,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    on_listening: Callable[[str], None],
    flags: str = "--host or --port",
) -> None:
    """Serve `app` (of `create_app`) until `stop` is set. `on_listening` gets the URL, with the real port.

    `flags` are those that a person may change. Signals are the caller's. Errors: `UsageError` when the address
    may or can not be used.
    """
    shared: Server = app.state.server
    check_binding(host, shared.settings.token)
    listening = _listen(host, port, flags)
    server = _make(app, stop, shared.polls)
    on_listening(_url(listening))
    await server.serve([listening])


def _make(app: Starlette, stop: asyncio.Event, polls: Polls) -> uvicorn.Server:
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            try:
                while not stop.is_set():
                    await self.on_tick(0)  # the date of the answers
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 1)
            finally:
                polls.end()

    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return Quiet(config)


def _listen(host: str, port: int, flags: str) -> socket.socket:
    """A listening socket: connections wait in it from now on."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"portcall cannot listen on {host}:{port}: {error.strerror or error}; choose another {flags}."
        ) from error


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
