"""One HTTP request, its answer as data."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from portcall.errors import ToolError
from portcall.tool.config import Text, Timeout, ToolConfig
from portcall.tool.credential import Secrets, look_up, secrets_of
from portcall.tool.port import Call, Done, Result, Services

if TYPE_CHECKING:
    import httpx2

_LIMIT = 1 << 20
_KINDS = {401: "auth", 403: "auth", 407: "auth", 408: "timeout", 429: "rate_limit"}
_PASSING = frozenset({408, 425, 429})
_LASTING = frozenset({501, 505, 511})
"""Of the codes of servers, those that do not pass by themselves (RFC 9110)."""


class HttpConfig(ToolConfig):
    url: Annotated[str, Field(min_length=1)] = Field(validation_alias=AliasChoices("url", "endpoint"))
    """Where to: an http or https URL."""
    method: str = Field(default="GET", pattern=r"^[A-Za-z]{1,32}$")
    headers: dict[str, Text | None] = Field(default_factory=dict)
    """Header names and values; null leaves one out."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Query parameters; a list repeats its name, null leaves one out."""
    json_body: Any = Field(default=None, validation_alias="json")
    """The body, sent as JSON."""
    body: Any = Field(default=None, validation_alias=AliasChoices("body", "payload", "data"))
    """The body: text as it is, anything else as JSON."""
    form: dict[str, Any] | None = None
    """The body, as a form (application/x-www-form-urlencoded)."""
    auth: str | dict[str, Any] | None = Field(default=None, validation_alias=AliasChoices("auth", "credential"))
    """The name of a credential, or {type: bearer, token}, {type: basic, username, password},
    {type: api_key, key, header or param with in: query}."""
    timeout_seconds: Timeout = Field(default=30.0, validation_alias=AliasChoices("timeout_seconds", "timeout"))
    """For the whole exchange, redirects included: seconds, or a duration such as 2m."""
    verify_ssl: bool = True
    """Whether the server's certificate is checked."""
    follow_redirects: bool = True

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in ("json_body", "body", "form") if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError("Give only one of json, body and form")
        return self


class Http:
    """`allow_metadata`: whether link-local and cloud metadata addresses may be called."""

    kind: ClassVar[str] = "http"
    Config: ClassVar[type[HttpConfig]] = HttpConfig
    raw: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, allow_metadata: bool = False) -> None:
        self.allow_metadata = allow_metadata

    async def start(self, call: Call, services: Services) -> Result:
        import httpx2

        config = HttpConfig.model_validate(call.config)
        secrets = secrets_of(look_up(config.auth, services))
        where = _where(config)
        try:
            async with asyncio.timeout(config.timeout_seconds):
                answer = await self._exchange(config, secrets, call.traceparent, where)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise ToolError(
                f"{where} was not answered within {config.timeout_seconds:g} s; raise timeout_seconds, or look "
                "at the server.",
                kind="timeout",
                retryable=True,
            ) from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise ToolError(f"{where} has no valid http or https URL; correct url.", kind="config") from error
        except httpx2.TooManyRedirects as error:
            raise ToolError(f"{where} was redirected more than 20 times.", kind="client_error") from error
        except httpx2.RequestError as error:
            raise ToolError(
                f"{where} failed: {_reason(error)}; check that the server is there and can be reached.",
                kind="connection",
                retryable=True,
            ) from error
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _failure(answer, where)
        return Done(data=answer.data())

    async def _exchange(self, config: HttpConfig, secrets: Secrets, traceparent: str, where: str) -> Answer:
        import httpx2

        from portcall.tool.transport import CheckedTransport

        transport = CheckedTransport(
            verify=config.verify_ssl, allow_metadata=self.allow_metadata, secrets=frozenset(secrets.headers)
        )
        async with httpx2.AsyncClient(
            transport=transport, timeout=None, follow_redirects=config.follow_redirects, trust_env=False
        ) as client:
            request = _request(client, config, secrets, traceparent)
            response = await client.send(request, stream=True)
            try:
                content = await _bounded(response, where)
            finally:
                await response.aclose()
            return Answer(response.status_code, response.reason_phrase, dict(response.headers), content)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    phrase: str
    headers: Mapping[str, str]
    content: bytes

    def data(self) -> dict[str, Any]:
        body = self.body()
        return {"status_code": self.status, "headers": dict(self.headers), "body": body, "data": body}

    def body(self) -> Any:
        """Parsed JSON; other text as text; other bytes as {"base64": ...}; null when there is none."""
        if not self.content:
            return None
        kind = self.headers.get("content-type", "").lower()
        media = kind.partition(";")[0].strip()
        if media.endswith(("/json", "+json")) or (
            media in ("", "text/plain") and self.content.lstrip()[:1] in (b"{", b"[")
        ):
            try:
                return json.loads(self.content)
            except ValueError:
                pass
        return _text(self.content, kind)


def _text(content: bytes, kind: str) -> Any:
    charset = kind.partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    try:
        return content.decode(charset)
    except (LookupError, UnicodeDecodeError):
        if kind.startswith("text/"):
            return content.decode("utf-8", "replace")
    return {"base64": base64.b64encode(content).decode()}


def _request(
    client: httpx2.AsyncClient, config: HttpConfig, secrets: Secrets, traceparent: str
) -> httpx2.Request:
    import httpx2

    headers = {name.lower(): value for name, value in config.headers.items() if value is not None}
    if traceparent:
        headers.setdefault("traceparent", traceparent)
    content: dict[str, Any] = {}
    given = config.model_fields_set
    if "json_body" in given or ("body" in given and not isinstance(config.body, (str, type(None)))):
        value = config.json_body if "json_body" in given else config.body
        content["content"] = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        headers.setdefault("content-type", "application/json")
    elif config.body is not None:
        content["content"] = config.body
        headers.setdefault("content-type", "text/plain; charset=utf-8")
    elif config.form is not None:
        content["data"] = {name: value for name, value in config.form.items() if value is not None}
    params = {name: value for name, value in config.params.items() if value is not None} | dict(secrets.params)
    try:
        return client.build_request(
            config.method.upper(),
            httpx2.URL(config.url).copy_merge_params(params),
            headers={**headers, **secrets.headers},
            **content,
        )
    except (TypeError, ValueError) as error:
        raise ToolError(
            "The request cannot be built: headers must be ASCII text, and params and form values text, numbers "
            "or lists of these.",
            kind="config",
        ) from error


async def _bounded(response: httpx2.Response, where: str) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LIMIT:
            raise ToolError(
                f"{where} answered with more than 1 MiB; ask for less, or fetch it where it is used.",
                kind="too_large",
                status=response.status_code,
            )
    return bytes(content)


def _where(config: HttpConfig) -> str:
    """Method and URL for people: without user, query and fragment, which may hold secrets."""
    from urllib.parse import urlsplit

    url = urlsplit("")
    try:
        url = urlsplit(config.url)
        host = url.hostname or ""
        port = f":{url.port}" if url.port else ""
    except ValueError:
        host = port = ""
    if not host or not url.scheme:
        return f"The {config.method.upper()} request"
    return f"{config.method.upper()} {url.scheme}://{host}{port}{url.path}"


def _reason(error: httpx2.RequestError) -> str:
    """What the operating system or TLS said, which names no secret; otherwise the class of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _failure(answer: Answer, where: str) -> ToolError:
    server = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _KINDS.get(answer.status, "server_error" if server else "client_error")
    return ToolError(
        f"{where} answered {answer.status} {answer.phrase}".rstrip() + ".",
        kind=kind,
        retryable=answer.status in _PASSING or (server and answer.status not in _LASTING),
        code=answer.status,
        status=answer.status,
        data=answer.data(),
    )
