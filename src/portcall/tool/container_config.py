"""The fields of the container tool. Runtimes other than Kubernetes ignore what only a cluster has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, WithJsonSchema, model_validator

from portcall.errors import UsageError
from portcall.quantity import parse_cpu, parse_memory
from portcall.tool.config import Duration, Text, Timeout, ToolConfig, wrong

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def _amounts(value: Any) -> Any:
    """Resource names to quantities above 0."""
    if not isinstance(value, Mapping):
        return value
    for name, quantity in value.items():
        try:
            amount = parse_cpu(quantity) if name == "cpu" else parse_memory(quantity)
        except UsageError:
            amount = 0
        if not amount:
            example = "500m or 2" if name == "cpu" else "64Mi or 4Gi" if name == "memory" else "1 or 10Gi"
            raise wrong(f"quantities above 0; {name} is written such as {example}")
    return {name: str(quantity) for name, quantity in value.items()}


Amounts = Annotated[
    dict[str, str],
    BeforeValidator(_amounts),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]}}
    ),
]


def _env_list(value: Any) -> Any:
    """`{A: b}` as `[{name: A, value: b}]`; a value may be {value_from: ...} there too."""
    if not isinstance(value, Mapping):
        return value
    return [
        {"name": name, **item} if isinstance(item, Mapping) else {"name": name, "value": item}
        for name, item in value.items()
    ]


def _env_name(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise wrong("a variable's name: letters, digits and _, not beginning with a digit")
    return value


class ValueFrom(ToolConfig):
    """One of: secret_name and secret_key; config_map_name and config_map_key; keychain and field; field."""

    secret_name: str | None = None
    secret_key: str | None = None
    config_map_name: str | None = None
    config_map_key: str | None = None
    keychain: str | None = None
    """A credential of portcall's."""
    field: str | None = None
    """With keychain, a field of it; alone, a field of the pod, such as status.podIP."""

    _FORMS: ClassVar[tuple[frozenset[str], ...]] = (
        frozenset({"secret_name", "secret_key"}),
        frozenset({"config_map_name", "config_map_key"}),
        frozenset({"keychain", "field"}),
        frozenset({"field"}),
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if frozenset(self.model_dump(exclude_none=True)) not in self._FORMS:
            raise ValueError(
                "Give secret_name and secret_key, or config_map_name and config_map_key, or keychain and "
                "field, or field alone"
            )
        return self


class EnvVar(ToolConfig):
    name: Annotated[str, AfterValidator(_env_name)]
    value: Text | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.value is not None and self.value_from is not None:
            raise ValueError("Give one of value and value_from")
        return self


class Resources(ToolConfig):
    requests: Amounts = Field(default_factory=dict)
    """What the scheduler sets aside: cpu, memory, and others."""
    limits: Amounts = Field(default_factory=dict)
    """What the container may use at most: cpu, memory, and others such as nvidia.com/gpu."""


class Toleration(ToolConfig):
    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Text | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class EmptyDir(ToolConfig):
    size_limit: Text | None = None
    medium: Literal["", "Memory"] = ""


class VolumeClaim(ToolConfig):
    claim_name: str
    read_only: bool = False


class ConfigMapVolume(ToolConfig):
    name: str
    items: dict[str, str] = Field(default_factory=dict)
    """Key to path; empty: all keys."""
    optional: bool = False


class SecretVolume(ToolConfig):
    secret_name: str
    items: dict[str, str] = Field(default_factory=dict)
    """Key to path; empty: all keys."""
    optional: bool = False


class Volume(ToolConfig):
    name: str
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: VolumeClaim | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 2:  # noqa: PLR2004 - the name and its source
            raise ValueError("Give one of empty_dir, persistent_volume_claim, config_map and secret")
        return self


class VolumeMount(ToolConfig):
    name: str
    mount_path: str
    sub_path: str | None = None
    read_only: bool = False


class File(ToolConfig):
    """A small file that is put beside the container before it starts."""

    path: Annotated[str, Field(min_length=1)]
    content: Text
    mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0644"
    """Permissions, octal and in quotes, such as "0755"."""


class Capabilities(ToolConfig):
    add: list[str] = Field(default_factory=list)
    drop: list[str] = Field(default_factory=list)


class SecurityContext(ToolConfig):
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    supplemental_groups: list[int] | None = None
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    read_only_root_filesystem: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: str | None = None
    """RuntimeDefault, Unconfined, or the path of a profile on the node."""


class Grace(ToolConfig):
    """How long a state that may pass by itself is waited for: seconds, or durations such as 4m."""

    image_pull: Duration | None = None
    scheduling: Duration | None = None
    node_lost: Duration | None = None


PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Env = Annotated[list[EnvVar], BeforeValidator(_env_list)]


class InitContainer(ToolConfig):
    """A container that runs before the step's, or beside it with `restart_policy: Always` (a sidecar)."""

    name: str
    image: str
    command: list[Text] = Field(default_factory=list)
    args: list[Text] = Field(default_factory=list)
    env: Env = Field(default_factory=list)
    resources: Resources = Field(default_factory=Resources)
    pull_policy: PullPolicy | None = None
    volume_mounts: list[VolumeMount] = Field(default_factory=list)
    security_context: SecurityContext | None = None
    restart_policy: Literal["Always"] | None = None


def _zero(value: int) -> int:
    if value:
        raise wrong("0: attempts belong to the playbook, so use the step's retry")
    return value


def _never(value: Any) -> Any:
    if value != "Never":
        raise wrong("Never: attempts belong to the playbook, so use the step's retry")
    return value


def _on_node_lost(value: str) -> str:
    found = re.fullmatch(r"wait|retry_after\((?P<time>.+)\)", value.replace(" ", ""))
    if found is None or (found["time"] and not _is_time(found["time"])):
        raise wrong("wait, or retry_after with a duration, such as retry_after(10m)")
    return value


def _is_time(value: str) -> bool:
    from portcall.playbook.duration import seconds

    return bool(seconds(value))


class ContainerConfig(ToolConfig):
    image: str = ""
    """The image, by tag or digest. The process runtime has none and runs the command on this machine."""
    command: list[Text] = Field(default_factory=list)
    """The program and its first arguments; it replaces the image's entry point."""
    args: list[Text] = Field(default_factory=list)
    """Further arguments."""
    env: Env = Field(default_factory=list)
    """A list of {name, value} or {name, value_from}, or a map. Numbers and booleans are written as text."""
    resources: Resources = Field(default_factory=Resources)
    timeout_seconds: Timeout | None = Field(
        default=None, validation_alias=AliasChoices("timeout_seconds", "timeout")
    )
    """How long the container may run: seconds, or a duration such as 1h."""
    pull_policy: PullPolicy | None = None
    pull_secrets: list[str] = Field(default_factory=list)
    """Names of the namespace's registry secrets."""
    namespace: str | None = None
    service_account: str | None = None
    node_selector: dict[str, Text] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    volumes: list[Volume] = Field(default_factory=list)
    volume_mounts: list[VolumeMount] = Field(default_factory=list)
    files: list[File] = Field(default_factory=list)
    """Small files staged without building an image."""
    init: list[InitContainer] = Field(default_factory=list)
    """Init containers and native sidecars."""
    security_context: SecurityContext | None = None
    queue: str | None = None
    """A Kueue local queue."""
    priority_class: str | None = None
    grace: Grace = Field(default_factory=Grace)
    on_node_lost: Annotated[str, AfterValidator(_on_node_lost)] = "wait"
    """What to do when the node is gone: wait, or retry_after(10m)."""
    result: Literal["message", "stdout", "none"] = "message"
    """Where the result is: JSON in the file that PORTCALL_RESULT names, JSON in the last line, or none."""
    backoff_limit: Annotated[int, AfterValidator(_zero)] = 0
    """Only 0: attempts belong to the playbook, see the step's `retry`."""
    restart_policy: Annotated[Literal["Never"], BeforeValidator(_never)] = "Never"
    """Only Never, for the same reason."""
