"""Every error that portcall raises on purpose, in one tree.

    PortcallError
    ├── UsageError            arguments, settings, files: the caller can mend it
    │   └── PlaybookError     a playbook with problems, each with its place
    ├── NotFoundError         no such execution, call, playbook, step
    ├── ConflictError         true, but not now: already running, already ended
    ├── UnauthorizedError     no token, or a wrong one
    ├── TooLargeError         above a stated bound
    ├── UnavailableError      the server, store or runtime is away: trying again may help
    ├── ExpressionError       an expression that cannot be evaluated
    ├── RejectedError         a runtime refused a Job for good
    └── ToolError             a tool could not do its work; becomes the step's error

The message is one plain sentence for a person: what, where, why, what to do.
Foreign errors are wrapped where they enter, with the cause kept.
"""

from __future__ import annotations

from typing import ClassVar


class PortcallError(Exception):
    """portcall itself could not go on."""

    exit_code: ClassVar[int] = 3
    http_status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else (self.__doc__ or "").strip()


class UsageError(PortcallError):
    """An argument, a setting or a file is wrong."""

    exit_code = 2
    http_status = 400


class NotFoundError(PortcallError):
    """There is no such thing."""

    exit_code = 2
    http_status = 404


class ConflictError(PortcallError):
    """The present state does not allow it."""

    exit_code = 2
    http_status = 409


class UnauthorizedError(PortcallError):
    """The token is missing or wrong."""

    http_status = 401


class TooLargeError(PortcallError):
    """Larger than the bound."""

    exit_code = 2
    http_status = 413


class UnavailableError(PortcallError):
    """Something portcall needs is away; trying again may help."""

    http_status = 503
    retry_after: float | None = None
    """Seconds, where it is known when to come again."""


class ExpressionError(PortcallError):
    """An expression cannot be evaluated. Never carries values, which may be secrets."""

    http_status = 422


class RejectedError(PortcallError):
    """A runtime refused a Job, and would refuse it again. `reason` is one word of the runtime's."""

    def __init__(self, message: str, *, reason: str = "Rejected", state: str = "failed_rejected") -> None:
        super().__init__(message)
        self.reason = reason
        self.state = state


class ToolError(PortcallError):
    """A tool could not do its work. `kind` is the `output.error.kind` that playbooks read."""

    def __init__(  # noqa: PLR0913 - the fields of `output.error`
        self,
        message: str,
        *,
        kind: str = "exception",
        retryable: bool = False,
        code: str | int | None = None,
        status: int | None = None,
        data: object = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.code = code
        self.status = status
        self.data = data
