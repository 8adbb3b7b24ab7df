"""The manifest for KubeRay: its fields, what Ray's own autoscaler reads in it, and that it fits the README."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).resolve().parents[2] / "deployments" / "ray"


class Part(BaseModel):
    """A part of the manifest: what is not named here is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Resources(Part):
    requests: dict[str, str]
    limits: dict[str, str]


class Claim(Part):
    claimName: str
    readOnly: bool = False


class Volume(Part):
    name: str
    persistentVolumeClaim: Claim


class Mount(Part):
    name: str
    mountPath: str = Field(pattern="^/")
    readOnly: bool = False


class Variable(Part):
    name: str
    value: str  # a bare number would be refused by Kubernetes


class Port(Part):
    containerPort: int
    name: str


class Container(Part):
    name: str
    image: str
    resources: Resources
    ports: list[Port] = []
    env: list[Variable]
    volumeMounts: list[Mount]


class Pod(Part):
    containers: list[Container] = Field(min_length=1)
    volumes: list[Volume]
    terminationGracePeriodSeconds: int = 30


class Metadata(Part):
    labels: dict[str, str]
    name: str = ""


class Template(Part):
    metadata: Metadata
    spec: Pod


class HeadGroup(Part):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    rayStartParams: dict[str, str]
    template: Template


class WorkerGroup(Part):
    groupName: str
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=0)
    rayStartParams: dict[str, str]
    template: Template


class AutoscalerOptions(Part):
    upscalingMode: Literal["Default", "Aggressive", "Conservative"]
    idleTimeoutSeconds: int
    resources: Resources


class Cluster(Part):
    rayVersion: str
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]


class Manifest(Part):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: Cluster


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "raycluster.yaml").read_text())


@pytest.fixture(scope="module")
def cluster(table: dict[str, Any]) -> Cluster:
    return Manifest.model_validate(table).spec


def test_all_pods_run_one_image_and_see_the_same_folders(cluster: Cluster) -> None:
    pods = [cluster.headGroupSpec.template.spec, *(group.template.spec for group in cluster.workerGroupSpecs)]
    containers = [container for pod in pods for container in pod.containers]
    assert len({container.image for container in containers}) == 1
    assert len({str(container.volumeMounts) for container in containers}) == 1
    for pod in pods:
        claimed = {volume.name for volume in pod.volumes}
        assert {mount.name for container in pod.containers for mount in container.volumeMounts} == claimed
    assert f"rayproject/ray:{cluster.rayVersion}-" in (FOLDER / "Dockerfile").read_text()


def test_the_head_makes_no_shards_and_answers_clients(cluster: Cluster) -> None:
    head = cluster.headGroupSpec
    assert head.rayStartParams["num-cpus"] == "0"
    assert {port.containerPort for port in head.template.spec.containers[0].ports} == {6379, 10001}
    assert 'address = "ray://mmpipe-head-svc:10001"' in (FOLDER / "README.md").read_text()


def test_groups_grow_from_nothing(cluster: Cluster) -> None:
    for group in cluster.workerGroupSpecs:
        assert group.minReplicas <= group.replicas <= group.maxReplicas and group.maxReplicas > 0


def test_rays_autoscaler_reads_what_was_meant(table: dict[str, Any]) -> None:
    pytest.importorskip("requests", reason="Ray's reader of manifests needs it")
    reader = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config", reason="no mmpipe[ray]")
    found = reader._derive_autoscaling_config_from_ray_cr({**table, "metadata": {"name": "mmpipe", "namespace": "x"}})
    kinds = found["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    assert kinds["cpu"]["resources"] == {"CPU": 8, "memory": 24 << 30}
    assert kinds["gpu"]["resources"] == {"CPU": 16, "memory": 64 << 30, "GPU": 1}
    assert [(kinds[name]["min_workers"], kinds[name]["max_workers"]) for name in ("cpu", "gpu")] == [(0, 8), (0, 2)]


def test_the_config_in_the_readme_is_one() -> None:
    import tomllib

    from mmpipe.config import parse_config

    text = (FOLDER / "README.md").read_text().partition("```toml\n")[2].partition("```")[0]
    assert parse_config(tomllib.loads(text)).engine.ray.address.startswith("ray://")


def test_the_definition_of_kuberay_takes_it() -> None:
    """Run against `ray.io_rayclusters.yaml` of the KubeRay release that a cluster has: it is too large to keep here."""
    if not (crd_file := os.environ.get("KUBERAY_CRD")):
        pytest.skip("KUBERAY_CRD names no ray.io_rayclusters.yaml")
    versions = yaml.safe_load(Path(crd_file).read_text())["spec"]["versions"]
    (schema,) = (one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1")
    manifest = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
    assert not [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(manifest)]
    assert not list(unknown_fields(schema, manifest, ""))


def unknown_fields(schema: dict[str, Any], value: object, path: str) -> Iterator[str]:
    """Yield what a cluster would drop in silence."""
    if isinstance(value, dict) and "properties" in schema:
        for key, part in value.items():
            if key in schema["properties"]:
                yield from unknown_fields(schema["properties"][key], part, f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    if isinstance(value, list):
        for part in value:
            yield from unknown_fields(schema["items"], part, path)
