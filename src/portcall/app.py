"""The composition root: the one place that names the concrete parts and puts them together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portcall.client.port import Client
from portcall.clock import SystemClock
from portcall.errors import UnavailableError, UsageError
from portcall.playbook import load
from portcall.playbook.model import Playbook
from portcall.runtime.port import Runtime
from portcall.tool import registry
from portcall.worker.worker import Worker

if TYPE_CHECKING:
    from portcall.observe.metrics import Part
    from portcall.orchestrator.engine import Engine
    from portcall.settings import Settings
    from portcall.watcher.watcher import Watcher


log = logging.getLogger("portcall.app")
AWAY_SECONDS = 1.0


def load_playbook(text: str, file: str = "") -> Playbook:
    """Check a playbook's text. Raises PlaybookError with every problem."""
    return load(text, registry.kinds(), file)


def make_runtime(name: str, root: Path) -> Runtime:
    if name != "process":
        raise UsageError(f"the runtime {name!r} is not in this version of portcall, which has only `process`")
    return process_runtime(root)


def process_runtime(root: Path) -> Runtime:
    from portcall.runtime.process import ProcessRuntime

    return ProcessRuntime(root)


def make_worker(  # noqa: PLR0913 - each is one setting of a worker
    client: Client,
    runtime: Runtime,
    *,
    worker_id: str,
    slots: int,
    lease_seconds: float,
    drain_seconds: float,
    workdir: Path,
    credential: Callable[[str], Mapping[str, Any]] | None = None,
) -> Worker:
    return Worker(
        client,
        registry.kinds(),
        runtime,
        worker_id=worker_id,
        slots=slots,
        clock=SystemClock(),
        workdir=str(workdir),
        credential=credential,
        lease_seconds=lease_seconds,
        drain_seconds=drain_seconds,
    )


def make_watcher(  # noqa: PLR0913 - each is one setting of a watcher
    client: Client,
    runtime: Runtime,
    *,
    comparison_seconds: float = 30.0,
    lost_confirm_seconds: float = 30.0,
    retention_seconds: float = 3600.0,
    known: Callable[[str], bool] | None = None,
) -> Watcher:
    from portcall.watcher.watcher import Watcher

    return Watcher(
        client,
        runtime,
        clock=SystemClock(),
        comparison_seconds=comparison_seconds,
        lost_confirm_seconds=lost_confirm_seconds,
        retention_seconds=retention_seconds,
        known_executions=known,
    )


async def register_folder(client: Client, folder: Path) -> list[str]:
    """Register every playbook below the folder by its `metadata.path`; those that have none are left."""
    texts = await asyncio.to_thread(_playbooks_below, folder)
    return [await client.register(text, str(file)) for file, text in texts]


def _playbooks_below(folder: Path) -> list[tuple[Path, str]]:
    if not folder.is_dir():
        raise UsageError(f"the catalog {folder} is not a folder")
    files = sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")])
    texts = [(file, file.read_text(encoding="utf-8", errors="replace")) for file in files]
    return [(file, text) for file, text in texts if "kind: Playbook" in text]


# -- the separate processes --------------------------------------------------------------------


def _stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one line that says the process is up


async def run_server(settings: Settings) -> None:
    """Serve the API and the engine's timers until a signal."""
    from portcall.store.lock import sole_server

    with sole_server(settings.db):
        await _serve(settings)


async def _serve(settings: Settings) -> None:
    from portcall.observe import metrics
    from portcall.orchestrator.engine import Engine
    from portcall.server.app import create_app
    from portcall.server.serve import serve
    from portcall.store.sqlite import SqliteStore

    metrics.enable("server")
    store = SqliteStore(settings.db)
    engine = Engine(store, load_playbook, lease_seconds=settings.lease_seconds)
    store.on_lost = lambda _: engine.drop_cache()
    store.open()
    await engine.spare_leases()
    stop = _stop_on_signals()
    timers = asyncio.create_task(_keep_timers(engine, stop))
    try:
        application = create_app(engine, settings, ready=engine.ready, measure=engine.measure)
        await serve(
            application,
            settings.host,
            settings.port,
            stop,
            on_listening=lambda url: _say(f"portcall server: listening on {url}, database {settings.db}"),
        )
    finally:
        stop.set()
        await timers
        await engine.close()


async def _keep_timers(engine: Engine, stop: asyncio.Event) -> None:
    """Timers for as long as the server runs: a store that is away for a while does not end them."""
    while not stop.is_set():
        try:
            await engine.run_timers(stop)
        except UnavailableError as error:
            log.warning("timers and leases wait: %s", error.message)
            await asyncio.sleep(AWAY_SECONDS)


def _client(settings: Settings) -> Client:
    from portcall.client.http import HttpClient

    return HttpClient(settings.server, settings.token, timeout=settings.request_seconds)


def _runtime_of(settings: Settings) -> Runtime:
    root = settings.runtime_root or settings.db.parent / "containers"
    return make_runtime(settings.runtime, root.absolute())


@asynccontextmanager
async def _watched(
    settings: Settings, part: Part, client: Client, ready: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """Probes and metrics of a process that serves nothing else, when a port is given for them."""
    if settings.metrics_port is None:
        yield
        return
    from portcall.observe import metrics
    from portcall.server.app import PROBES, create_app
    from portcall.server.serve import serve

    metrics.enable(part)
    ended, listening = asyncio.Event(), asyncio.Event()

    def on_listening(url: str) -> None:
        _say(f"portcall {part}: metrics on {url}/metrics")
        listening.set()

    application = create_app(client, settings, ready=ready, endpoints=PROBES)
    serving = asyncio.create_task(
        serve(
            application,
            settings.metrics_host,
            settings.metrics_port,
            ended,
            on_listening=on_listening,
            flags="--metrics-host or --metrics-port",
        )
    )
    up = asyncio.create_task(listening.wait())
    try:
        await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # why it does not listen
        yield
    finally:
        up.cancel()
        ended.set()
        await asyncio.wait({serving})


async def run_worker(settings: Settings) -> None:
    """Claim and run commands until a signal, then drain."""
    client, runtime = _client(settings), _runtime_of(settings)
    worker_id = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
    worker = make_worker(
        client,
        runtime,
        worker_id=worker_id,
        slots=settings.slots,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.drain_seconds,
        workdir=Path.cwd(),
    )
    _say(f"portcall worker: {worker_id}, {settings.slots} slots, server {settings.server}")
    try:
        async with _watched(settings, "worker", client, worker.ready):
            await worker.run(_stop_on_signals())
    finally:
        await runtime.close()
        await client.close()


async def run_watcher(settings: Settings) -> None:
    """Observe the runtime and post outcomes until a signal."""
    client, runtime = _client(settings), _runtime_of(settings)
    watcher = make_watcher(
        client,
        runtime,
        comparison_seconds=settings.comparison_seconds,
        lost_confirm_seconds=settings.lost_confirm_seconds,
        retention_seconds=settings.retention_seconds,
    )
    _say(f"portcall container-watcher: runtime {settings.runtime}, server {settings.server}")
    try:
        async with _watched(settings, "watcher", client, watcher.ready):
            await watcher.run(_stop_on_signals())
    finally:
        await runtime.close()
        await client.close()
