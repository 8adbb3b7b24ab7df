"""The templates of pools whose runs are containers or jobs: by Prefect's rules, and by what comes out of them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prefect.server.schemas.actions import WorkPoolCreate
from prefect.utilities.schema_tools import validate
from prefect.workers.base import BaseJobConfiguration

DEPLOYMENTS = Path(__file__).resolve().parents[2] / "deployments"
KINDS, POOLS = ("docker", "kubernetes"), ("cpu", "gpu")
KUBERNETES = "1.33"


def read_template(kind: str, pool: str) -> dict[str, Any]:
    return json.loads((DEPLOYMENTS / kind / f"pool-{pool}.json").read_text("utf-8"))


class NoServer:
    """Stands where Prefect's client would: a template of ours names no block and no variable of a server."""

    async def __aenter__(self) -> NoServer:
        return self

    async def __aexit__(self, *details: object) -> None:
        return None


def fill(configuration: type[BaseJobConfiguration], template: dict[str, Any], **values: Any) -> Any:
    """Return what a worker makes of a template and a deployment's job variables."""
    return asyncio.run(configuration.from_template_and_values(template, values, client=NoServer()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", POOLS)
def test_the_server_takes_a_template_and_its_defaults(kind: str, pool: str) -> None:
    template = read_template(kind, pool)
    made = WorkPoolCreate(name=pool, type=kind, base_job_template=template)  # placeholders without a variable raise
    jsonschema.Draft202012Validator.check_schema(template["variables"])
    properties = made.base_job_template["variables"]["properties"]
    defaults = {name: about["default"] for name, about in properties.items() if "default" in about}
    validate(defaults, template["variables"], raise_on_error=True, preprocess=True, ignore_required=True)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(properties), "a variable that no job gets does nothing"
    assert all(about.get("title") and about.get("description") for about in properties.values())


@pytest.mark.parametrize("kind", KINDS)
def test_pools_differ_by_their_defaults_alone(kind: str) -> None:
    cpu, gpu = read_template(kind, "cpu"), read_template(kind, "gpu")
    assert cpu["job_configuration"] == gpu["job_configuration"]
    for template in (cpu, gpu):
        for about in template["variables"]["properties"].values():
            about.pop("default", None)
    assert cpu == gpu


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("docker", {"device_requests": [{"driver": "nvidia"}]}),
        ("docker", {"mem_limit": "lots"}),
        ("docker", {"volumes": ["relative"]}),
        ("kubernetes", {"gpus": -1}),
        ("kubernetes", {"memory_limit": "32 gigabytes"}),
        ("kubernetes", {"tolerations": {"key": "nvidia.com/gpu"}}),
    ],
)
def test_the_form_refuses_a_wrong_variable(kind: str, variables: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="Validation failed"):
        validate(variables, read_template(kind, "gpu")["variables"], raise_on_error=True, preprocess=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_job_variables_of_deployments_reach_the_job(kind: str) -> None:
    """What prefect.yaml gives every run, a process or not: the folder and the environment."""
    file = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text("utf-8"))
    given = {name for deployment in file["deployments"] for name in deployment["work_pool"]["job_variables"]}
    assert given <= set(read_template(kind, "cpu")["variables"]["properties"])


def test_docker_makes_of_it_a_container_with_a_gpu() -> None:
    reader = pytest.importorskip("prefect_docker.worker", reason="no prefect-docker")
    types = pytest.importorskip("docker.types", reason="no docker")
    for pool, num_gpus in (("cpu", 0), ("gpu", 1)):
        job = fill(
            reader.DockerWorkerJobConfiguration, read_template("docker", pool), env={"A": "1"}, working_dir="/elsewhere"
        )
        assert job.image == f"mmpipe:{pool}" and job.env["A"] == "1" and job.env["MMPIPE_CONFIG"]
        kwargs = dict(job.container_create_kwargs)
        assert kwargs.pop("working_dir") == "/elsewhere" and kwargs.pop("user") == "10001:10001"
        host = types.HostConfig(version="1.45", **kwargs)
        assert len(host["DeviceRequests"]) == num_gpus and host["ShmSize"] >= 2 << 30 and host["Init"]
        assert all(request["Capabilities"] == [["gpu"]] for request in host["DeviceRequests"])


def test_docker_mounts_what_compose_mounts() -> None:
    compose = yaml.safe_load((DEPLOYMENTS / "docker" / "compose.yaml").read_text("utf-8"))
    mounted = {f"{compose['name']}_{volume}" for volume in compose["services"]["worker"]["volumes"]}
    for pool in POOLS:
        properties = read_template("docker", pool)["variables"]["properties"]
        assert set(properties["volumes"]["default"]) == mounted
        assert properties["networks"]["default"] == [f"{compose['name']}_inside"]


@pytest.mark.parametrize("pool", POOLS)
def test_kubernetes_makes_of_it_a_job(pool: str) -> None:
    reader = pytest.importorskip("prefect_kubernetes.worker", reason="no prefect-kubernetes")
    checker = pytest.importorskip("kubernetes_validate", reason="it carries the schemas of Kubernetes")
    job = fill(reader.KubernetesWorkerJobConfiguration, read_template("kubernetes", pool), env={"A": "1"}, name="night")
    manifest = job.job_manifest
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    gpus = {"cpu": 0, "gpu": 1}[pool]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    assert len(manifest["spec"]["template"]["spec"]["tolerations"]) == gpus
    # The worker puts these in their final form just before it asks the cluster.
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    container["args"] = ["prefect", "flow-run", "execute"]
    manifest["metadata"] = {"generateName": "night-", "namespace": "mmpipe"}
    for field in ("parallelism", "completions"):  # Prefect asks for them in the pod, where clusters pass them over
        assert manifest["spec"]["template"]["spec"].pop(field) == 1
    checker.validate(manifest, KUBERNETES, strict=True)
    manifest["spec"]["template"]["spec"]["nodeSelectors"] = {}
    with pytest.raises(checker.ValidationError):
        checker.validate(manifest, KUBERNETES, strict=True)
