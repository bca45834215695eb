"""A container: created, parked, and never waited for. A watcher tells of its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from portcall import ids
from portcall.clock import Clock, SystemClock
from portcall.errors import RejectedError, ToolError, UnavailableError
from portcall.model.outcome import Evidence, Handle, State, Timings, data_of, outcome
from portcall.quantity import parse_cpu, parse_memory
from portcall.runtime.port import JobSpec, Runtime, StagedFile
from portcall.tool.container_config import ContainerConfig, EnvVar, ValueFrom
from portcall.tool.credential import named
from portcall.tool.port import Call, Deferred, Done, Parked, Result, Services

_PREFIX = "pc"
_AWAY_SECONDS = 5.0


class Container:
    kind: ClassVar[str] = "container"
    Config: ClassVar[type[ContainerConfig]] = ContainerConfig
    raw: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    async def start(self, call: Call, services: Services) -> Result:
        runtime = services.runtime
        if runtime is None:
            raise ToolError(
                "This worker has no runtime for containers; start it with --runtime process or kubernetes.",
                kind="config",
            )
        config = ContainerConfig.model_validate(call.config)
        name = ids.job_name(_PREFIX, call.step, call.call_id)
        try:
            spec = job_spec(call, config, services, runtime.name)
            if not await services.still_mine():
                return Deferred("The lease of this call has ended; nothing was created.", 0.0)
            if services.cancelled.is_set():
                return await self._begun(call, name, runtime)
            handle = await runtime.dispatch(spec)
        except UnavailableError as error:
            seconds = error.retry_after
            return Deferred(error.message, _AWAY_SECONDS if seconds is None else seconds)
        except RejectedError as error:
            return self._refused(call, error, Handle(runtime=runtime.name, name=name))
        return Parked(handle=handle, timeout_seconds=config.timeout_seconds)

    async def _begun(self, call: Call, name: str, runtime: Runtime) -> Result:
        """The call is to stop: the Job that an earlier dispatch has made, or the end of the call."""
        found = await runtime.get(name)
        if found is None or found.call_id != call.call_id:
            raise ToolError(
                f"The container of step {call.step} was cancelled before it began.", kind="cancelled"
            )
        return Parked(handle=found.handle)

    def _refused(self, call: Call, error: RejectedError, job: Handle) -> Done:
        """The runtime's answer is the outcome: nothing was started, and nothing will come of waiting."""
        now = self._clock.now()
        ended = outcome(
            cast("State", error.state),
            started=False,
            reason=error.reason,
            message=error.message,
            evidence=Evidence(level="partial", read=["the runtime's answer"]),
            attempt=call.attempt,
            timings=Timings(finished=now, observed=now),
            job=job,
        )
        return Done(data=data_of(ended), outcome=ended)


def job_spec(call: Call, config: ContainerConfig, services: Services, runtime: str) -> JobSpec:
    """What the runtime is asked for. Raises `RejectedError` for what this runtime has not."""
    limits = {**config.resources.limits, **call.grown}
    described = config.model_dump(mode="json", exclude_unset=True)
    if limits:
        described["resources"] = {**described.get("resources", {}), "limits": limits}
    return JobSpec(
        name=ids.job_name(_PREFIX, call.step, call.call_id),
        execution_id=call.execution_id,
        step=call.step,
        call_id=call.call_id,
        attempt=call.attempt,
        playbook=call.playbook,
        image=config.image,
        command=config.command,
        args=config.args,
        env=_env(config.env, services, runtime),
        memory_limit=parse_memory(limits["memory"]) if "memory" in limits else None,
        cpu_limit=parse_cpu(limits["cpu"]) if "cpu" in limits else None,
        timeout_seconds=config.timeout_seconds,
        result=config.result,
        files=[StagedFile(path=file.path, content=file.content, mode=file.mode) for file in config.files],
        workdir=services.workdir,
        traceparent=call.traceparent,
        config=described,
    )


def _env(variables: list[EnvVar], services: Services, runtime: str) -> dict[str, str]:
    """The values that are known here. What only a cluster knows stays in the spec's `config`."""
    env: dict[str, str] = {}
    for variable in variables:
        source = variable.value_from
        if source is None:
            env[variable.name] = variable.value or ""
        elif source.keychain is not None:
            env[variable.name] = _from_keychain(variable.name, source, services)
        elif runtime == "process":
            raise RejectedError(
                f"The variable {variable.name} comes from a {_kind_of(source)}, which the process runtime does "
                "not have; give its value, take it from the keychain, or run on Kubernetes.",
                reason="NoCluster",
            )
    return env


def _kind_of(source: ValueFrom) -> str:
    return "Secret" if source.secret_name else "ConfigMap" if source.config_map_name else "field of the pod"


def _from_keychain(name: str, source: ValueFrom, services: Services) -> str:
    fields: Mapping[str, Any] = named(source.keychain or "", services)
    value = fields.get(source.field or "")
    if value is None:
        raise ToolError(
            f"The variable {name} wants the field {source.field} of the credential {source.keychain}, which "
            "does not have it.",
            kind="config",
        )
    return str(value)
