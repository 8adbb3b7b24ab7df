"""The manifests for Kubernetes: by its own schemas, and that what is in different files fits each other."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings.legacy import _get_settings_fields
from prefect.settings.models.root import Settings

from mmpipe.config import parse_config

FOLDER = Path(__file__).resolve().parents[2] / "deployments" / "kubernetes"
KUBERNETES = "1.33"
README = (FOLDER / "README.md").read_text("utf-8")
MANIFESTS = [
    manifest for path in sorted(FOLDER.glob("*.yaml")) for manifest in yaml.safe_load_all(path.read_text("utf-8"))
]
NAMES = [f"{manifest['kind']}-{manifest['metadata']['name']}" for manifest in MANIFESTS]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {manifest["metadata"]["name"]: manifest for manifest in MANIFESTS if manifest["kind"] in kinds}


WORKLOADS = of_kind("Deployment", "StatefulSet")


def pod_of(name: str) -> dict[str, Any]:
    return WORKLOADS[name]["spec"]["template"]["spec"]


def container_of(name: str) -> dict[str, Any]:
    (container,) = pod_of(name)["containers"]
    return container


@pytest.mark.parametrize("manifest", MANIFESTS, ids=NAMES)
def test_kubernetes_takes_it_strictly(manifest: dict[str, Any]) -> None:
    checker = pytest.importorskip("kubernetes_validate", reason="it carries the schemas of Kubernetes")
    checker.validate(manifest, KUBERNETES, strict=True)
    with pytest.raises(checker.ValidationError):
        checker.validate({**manifest, "speck": {}}, KUBERNETES, strict=True)


def test_all_live_in_one_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    assert {manifest["metadata"]["namespace"] for manifest in MANIFESTS if manifest["kind"] != "Namespace"} == {
        namespace
    }
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", WORKLOADS)
def test_labels_and_mounts_of_a_workload_agree(name: str) -> None:
    spec, pod = WORKLOADS[name]["spec"], pod_of(name)
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    claimed = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())}
    volumes = {volume["name"] for volume in pod.get("volumes", ())} | claimed
    assert {mount["name"] for mount in container_of(name)["volumeMounts"]} == volumes
    # What the namespace's "restricted" standard asks of every pod.
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]
    context = container_of(name)["securityContext"]
    assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_services_lead_to_pods_and_addresses_to_services() -> None:
    services = of_kind("Service")
    for service in services.values():
        (workload,) = [
            name
            for name, entry in WORKLOADS.items()
            if service["spec"]["selector"].items() <= entry["spec"]["template"]["metadata"]["labels"].items()
        ]
        ports = {port["name"] for port in container_of(workload)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    values = {entry["name"]: entry["value"] for entry in container_of("mmpipe-server")["env"]}
    assert values["PREFECT_SERVER_DATABASE_HOST"] in services
    for name in ("mmpipe-worker-cpu", "mmpipe-worker-gpu"):
        (url,) = [entry["value"] for entry in container_of(name)["env"] if entry["name"] == "PREFECT_API_URL"]
        host, port = re.findall(r"^http://([\w-]+):(\d+)/api$", url)[0]
        assert int(port) in {entry["port"] for entry in services[host]["spec"]["ports"]}


def test_secrets_are_files_that_are_mounted_and_that_the_readme_makes() -> None:
    made = dict(re.findall(r"create secret generic ([\w-]+) --from-literal=(\w+)=", README))
    for name in WORKLOADS:
        container, pod = container_of(name), pod_of(name)
        secrets = {
            volume["name"]: volume["secret"]["secretName"] for volume in pod.get("volumes", ()) if "secret" in volume
        }
        places = {mount["mountPath"]: secrets.get(mount["name"]) for mount in container["volumeMounts"]}
        for entry in container["env"]:
            assert not re.search("PASSWORD$|AUTH_STRING$", entry["name"]), f"{name} has a secret as a value"
            if entry["value"].startswith("/secrets/"):
                folder, _, file = entry["value"].rpartition("/")
                assert made[str(places[folder])] == file, (name, entry)
    worker = {entry["name"]: entry["value"] for entry in container_of("mmpipe-worker-gpu")["env"]}
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    assert made[worker[f"{prefix}_NAME"]] == worker[f"{prefix}_KEY"]


def test_prefect_knows_every_setting() -> None:
    known = set(_get_settings_fields(Settings))
    for name in WORKLOADS:
        for entry in container_of(name)["env"]:
            if entry["name"].startswith("PREFECT_") and "_INTEGRATIONS_" not in entry["name"]:
                assert entry["name"].removesuffix("_FILE") in known, entry


def test_the_kubernetes_worker_knows_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pytest.importorskip("prefect_kubernetes.settings", reason="no prefect-kubernetes")
    for entry in container_of("mmpipe-worker-cpu")["env"]:
        if "_INTEGRATIONS_" in entry["name"]:
            monkeypatch.setenv(entry["name"], entry["value"])
    read = settings.KubernetesSettings()
    assert read.cluster_uid == "mmpipe" and set(read.observer.namespaces) == {"mmpipe"}
    assert (read.worker.api_auth_string_secret_name, read.worker.api_auth_string_secret_key) == (
        "mmpipe-api",
        "api_auth",
    )


def test_a_worker_may_make_jobs_here_and_nothing_else() -> None:
    (binding,), (role,) = of_kind("RoleBinding").values(), of_kind("Role").values()
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    accounts = of_kind("ServiceAccount")
    assert subject["name"] in accounts
    for name in ("mmpipe-worker-cpu", "mmpipe-worker-gpu"):
        assert pod_of(name)["serviceAccountName"] == subject["name"]
    changing = {
        resource
        for rule in role["rules"]
        for resource in rule["resources"]
        if set(rule["verbs"]) & {"create", "delete", "patch", "update"}
    }
    assert changing == {"jobs"}
    assert not of_kind("ClusterRole", "ClusterRoleBinding")


@pytest.mark.parametrize("pool", ["cpu", "gpu"])
def test_the_jobs_of_a_pool_find_what_they_mount(pool: str) -> None:
    template = json.loads((FOLDER / f"pool-{pool}.json").read_text("utf-8"))
    default = {name: about.get("default") for name, about in template["variables"]["properties"].items()}
    claims = of_kind("PersistentVolumeClaim")
    assert claims[default["store_claim"]]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert default["media_claim"] in claims and default["config_map"] in of_kind("ConfigMap")
    assert default["namespace"] in of_kind("Namespace")
    assert default["service_account_name"] in of_kind("ServiceAccount")
    args = container_of(f"mmpipe-worker-{pool}")["args"]
    assert args[args.index("--pool") + 1] == pool and args[args.index("--type") + 1] == "kubernetes"


def test_the_config_in_the_map_is_one() -> None:
    (table,) = of_kind("ConfigMap").values()
    assert str(parse_config(tomllib.loads(table["data"]["mmpipe.toml"])).store) == "/store"


def test_the_readme_applies_every_file() -> None:
    applied = {
        Path(word).name
        for line in re.findall(r"^kubectl apply (.+?)(?:#.*)?$", README, re.MULTILINE)
        for word in shlex.split(line)
        if word.endswith(".yaml")
    }
    assert applied == {path.name for path in FOLDER.glob("*.yaml")}
