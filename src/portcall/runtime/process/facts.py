"""What a job's folder says, as data."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec

from portcall.process import ProcessId, boot_id
from portcall.runtime.port import JobSpec

EndedBy = Literal["", "cancel", "deadline", "timeout", "deleted", "memory"]
StartError = Literal["empty", "workdir", "command"]


def _uid() -> str:
    return f"{boot_id()}/{secrets.token_hex(8)}"


class Job(msgspec.Struct, kw_only=True, frozen=True):
    """`spec.json`, made with the folder. `uid` begins with the boot; `created` in seconds since 1970."""

    cluster: str
    uid: str = msgspec.field(default_factory=_uid)
    created: float
    spec: JobSpec

    @property
    def boot(self) -> str:
        return self.uid.partition("/")[0]


class Start(msgspec.Struct, kw_only=True, frozen=True):
    """`start.json`: written with the supervisor, and again with the container before it may run."""

    supervisor: str
    at: float
    container: str = ""
    started: float | None = None
    cgroups: list[str] = []

    @property
    def container_id(self) -> ProcessId | None:
        return ProcessId.parse(self.container) if self.container else None


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """Why nothing could be started. `empty`: there is no command."""

    what: StartError
    errno: int = 0


class Exit(msgspec.Struct, kw_only=True, frozen=True):
    """`exit.json`: how it ended. `lost` says why the end itself is not known."""

    finished: float
    started: bool = True
    code: int | None = None
    signal: int | None = None
    ended_by: EndedBy = ""
    oom_kills: int = 0
    enforced: list[Literal["memory", "cpu"]] = []
    output_lost: int = 0
    error: Failure | None = None
    lost: Literal["", "supervisor", "reboot"] = ""


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """A job's folder, read once."""

    job: Job
    start: Start | None = None
    exit: Exit | None = None
    acknowledged: bool = False


job_decoder: msgspec.json.Decoder[Job] = msgspec.json.Decoder(Job)
start_decoder: msgspec.json.Decoder[Start] = msgspec.json.Decoder(Start)
exit_decoder: msgspec.json.Decoder[Exit] = msgspec.json.Decoder(Exit)
