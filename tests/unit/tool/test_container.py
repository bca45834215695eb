from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from portcall.errors import RejectedError, ToolError, UnavailableError
from portcall.ids import job_name
from portcall.model.outcome import Evidence, Handle, Timings, data_of, outcome
from portcall.runtime.port import JobSpec, Observation
from portcall.tool.container import Container
from portcall.tool.container_config import ContainerConfig
from portcall.tool.port import Deferred, Done, Parked

CALL_ID = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Recorder:
    """A runtime that keeps what it was asked for, or raises."""

    def __init__(self, name: str = "process", error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.specs: list[JobSpec] = []

    async def dispatch(self, spec: JobSpec) -> Handle:
        if self.error:
            raise self.error
        self.specs.append(spec)
        return Handle(runtime=self.name, name=spec.name, uid="u")

    async def get(self, name: str) -> Observation | None:
        """What was dispatched before."""
        made = [spec for spec in self.specs if spec.name == name]
        if not made:
            return None
        handle = Handle(runtime=self.name, name=name, uid="u")
        return Observation(handle=handle, call_id=made[0].call_id, execution_id="1", phase="started")


class Fixed:
    def now(self) -> datetime:
        return NOW


FULL = {
    "image": "registry.example/trainer:v1",
    "command": ["python", "-m", "trainer"],
    "args": ["--epochs", 3],
    "env": [
        {"name": "RUN", "value": 5},
        {"name": "DRY", "value": True},
        {"name": "DB", "value_from": {"keychain": "warehouse", "field": "dsn"}},
    ],
    "resources": {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": 2, "memory": "4Gi", "nvidia.com/gpu": 1},
    },
    "timeout_seconds": "1h",
    "pull_policy": "IfNotPresent",
    "pull_secrets": ["registry"],
    "namespace": "jobs",
    "service_account": "trainer",
    "node_selector": {"accelerator": "l4"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "volumes": [{"name": "scratch", "empty_dir": {"size_limit": "10Gi"}}],
    "volume_mounts": [{"name": "scratch", "mount_path": "/scratch"}],
    "files": [{"path": "/job/run.sh", "content": "echo", "mode": "0755"}],
    "init": [{"name": "wait", "image": "busybox", "command": ["true"], "restart_policy": "Always"}],
    "security_context": {"run_as_non_root": True},
    "queue": "gpu-queue",
    "priority_class": "batch",
    "grace": {"image_pull": "4m", "scheduling": "15m", "node_lost": "5m"},
    "on_node_lost": "retry_after(10m)",
    "result": "stdout",
    "backoff_limit": 0,
    "restart_policy": "Never",
}


def test_every_field_of_the_language_makes_the_spec(bench: Any) -> None:
    bench.runtime = runtime = Recorder()
    bench.credentials["warehouse"] = {"dsn": "postgres://x"}
    parked = bench.run("container", FULL, traceparent="00-t")
    name = job_name("pc", "train model", CALL_ID)
    assert parked == Parked(handle=Handle(runtime="process", name=name, uid="u"), timeout_seconds=3600.0)
    [spec] = runtime.specs
    assert (spec.name, spec.call_id, spec.execution_id, spec.attempt) == (name, CALL_ID, "7", 2)
    assert (spec.step, spec.playbook, spec.traceparent) == ("train model", "demo/train", "00-t")
    assert (spec.command, spec.args) == (["python", "-m", "trainer"], ["--epochs", "3"])
    assert spec.env == {"RUN": "5", "DRY": "true", "DB": "postgres://x"}
    assert (spec.memory_limit, spec.cpu_limit, spec.timeout_seconds) == (4 << 30, 2.0, 3600.0)
    assert (spec.result, spec.workdir) == ("stdout", str(bench.workdir))
    assert [(file.path, file.content, file.mode) for file in spec.files] == [("/job/run.sh", "echo", "0755")]
    assert spec.config["grace"] == {"image_pull": 240.0, "scheduling": 900.0, "node_lost": 300.0}
    assert spec.config["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert "postgres://x" not in str(spec.config)


def test_limits_that_a_retry_raised_replace_those_of_the_playbook(bench: Any) -> None:
    bench.runtime = runtime = Recorder()
    limits = {"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}
    bench.run("container", limits, grown={"memory": "128Mi"})
    [spec] = runtime.specs
    assert (spec.memory_limit, spec.cpu_limit) == (128 << 20, 0.5)
    assert spec.config["resources"]["limits"] == {"memory": "128Mi", "cpu": "500m"}


def test_env_as_a_map(bench: Any) -> None:
    bench.runtime = runtime = Recorder()
    bench.run("container", {"env": {"A": 1.5, "B": False, "C": None, "D": "{}"}})
    assert runtime.specs[0].env == {"A": "1.5", "B": "false", "C": "", "D": "{}"}


def test_a_runtime_that_is_away_defers(bench: Any) -> None:
    away = UnavailableError("The API server is away.")
    bench.runtime = Recorder(error=away)
    assert bench.run("container", {}) == Deferred("The API server is away.", 5.0)
    away.retry_after = 30.0
    assert bench.run("container", {}) == Deferred("The API server is away.", 30.0)


def test_a_refusal_is_an_outcome_of_a_container_that_never_started(bench: Any) -> None:
    bench.runtime = Recorder(error=RejectedError("Quota.", reason="Forbidden", state="failed_quota"))
    done = asyncio.run(bench.start(Container(Fixed()), {}))
    assert isinstance(done, Done)
    assert done.outcome is not None
    assert (done.outcome.state, done.outcome.failure_class) == ("failed_quota", "infrastructure")
    assert (done.outcome.started, done.outcome.reason, done.outcome.attempt) == (False, "Forbidden", 2)
    assert done.data == data_of(done.outcome)
    assert done.data["completed_at"] == "2026-03-01T08:00:00Z"


def test_without_the_lease_nothing_is_created(bench: Any) -> None:
    bench.runtime, bench.mine = Recorder(), False
    assert isinstance(bench.run("container", {}), Deferred)
    assert bench.runtime.specs == []


def test_a_call_that_is_to_stop_creates_nothing_but_finds_what_was_created(bench: Any) -> None:
    bench.runtime, bench.stopping = Recorder(), True
    with pytest.raises(ToolError, match="cancelled before it began") as raised:
        bench.run("container", {})
    assert raised.value.kind == "cancelled"
    assert bench.runtime.specs == []
    bench.stopping = False
    begun = bench.run("container", {})
    bench.stopping = True
    assert bench.run("container", {}) == begun
    assert len(bench.runtime.specs) == 1


SECRET = {"env": [{"name": "T", "value_from": {"secret_name": "ml", "secret_key": "token"}}]}


def test_secrets_of_a_cluster_are_its_runtime_s_business_only(bench: Any) -> None:
    bench.runtime = Recorder("process")
    refused = asyncio.run(bench.start("container", SECRET))
    assert refused.outcome.state == "failed_rejected"
    assert "a Secret, which the process runtime does not have" in refused.outcome.message
    bench.runtime = cluster = Recorder("kubernetes")
    bench.run("container", SECRET)
    assert cluster.specs[0].env == {}
    assert cluster.specs[0].config["env"] == [
        {"name": "T", "value_from": {"secret_name": "ml", "secret_key": "token"}}
    ]


def test_a_credential_that_lacks_the_field(bench: Any) -> None:
    bench.runtime = Recorder()
    bench.credentials["w"] = {"user": "hunter2"}
    with pytest.raises(ToolError, match="wants the field dsn") as caught:
        bench.run("container", {"env": {"DB": {"value_from": {"keychain": "w", "field": "dsn"}}}})
    assert "hunter2" not in caught.value.message


def test_a_worker_without_a_runtime_says_so(bench: Any) -> None:
    with pytest.raises(ToolError, match="no runtime for containers"):
        bench.run("container", {})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backoff_limit": 3}, "attempts belong to the playbook"),
        ({"restart_policy": "OnFailure"}, "attempts belong to the playbook"),
        ({"resources": {"limits": {"memory": "lots"}}}, "memory is written such as 64Mi"),
        ({"resources": {"limits": {"cpu": 0}}}, "quantities above 0"),
        ({"env": {"a=b": 1}}, "a variable's name"),
        ({"env": [{"name": "A", "value": 1, "value_from": {"field": "x"}}]}, "one of value and value_from"),
        ({"env": [{"name": "A", "value_from": {"secret_name": "x"}}]}, "secret_name and secret_key"),
        ({"volumes": [{"name": "v"}]}, "Give one of empty_dir"),
        ({"files": [{"path": "a", "content": "", "mode": "rwx"}]}, "pattern"),
        ({"on_node_lost": "retry_after(soon)"}, "retry_after"),
        ({"timeout_seconds": 0}, "seconds above 0"),
        ({"imagePullPolicy": "Never"}, "Extra inputs"),
    ],
)
def test_wrong_fields_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ContainerConfig.model_validate(config)
    assert message in str(caught.value)


def test_the_schema_describes_the_fields() -> None:
    schema = ContainerConfig.model_json_schema(by_alias=False)
    assert schema["properties"]["args"]["description"] == "Further arguments."
    assert "A credential of portcall" in schema["$defs"]["ValueFrom"]["properties"]["keychain"]["description"]


def test_the_data_of_an_outcome() -> None:
    ended = outcome(
        "succeeded",
        exit_code=0,
        warnings=["a child was killed"],
        evidence=Evidence(level="full"),
        timings=Timings(finished=NOW),
        result={"accuracy": 0.9},
        job=Handle(runtime="process", name="pc-x", uid="u"),
    )
    assert data_of(ended) == {
        "terminal_state": "succeeded",
        "exit_code": 0,
        "reason": "",
        "message": "",
        "job_name": "pc-x",
        "job_uid": "u",
        "completed_at": "2026-03-01T08:00:00Z",
        "result": {"accuracy": 0.9},
        "warnings": ["a child was killed"],
    }
    assert "warnings" not in data_of(outcome("lost", evidence=Evidence(level="none")))
