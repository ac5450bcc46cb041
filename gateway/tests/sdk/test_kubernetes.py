"""The manifests of tuning/k8s: Kubernetes' published schemas, and the configuration that they carry."""

import copy
import subprocess

import kubernetes_validate
import pytest
import yaml

from stack import BIN_DIR, ROOT

FOLDER = ROOT / "tuning" / "k8s"
# Oldest and newest version that the manifests are for.
VERSIONS = ["1.30", "1.37"]
# Kinds of operators, of which Kubernetes has no schema.
FOREIGN = {"PodMonitor"}


def documents(name):
    with open(FOLDER / name) as file:
        return [document for document in yaml.safe_load_all(file) if document]


def every_document():
    """Each with the name of its test."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in documents(path.name):
            yield pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")


def named(kind, name):
    return next(it for it in documents("base.yaml") if it["kind"] == kind and it["metadata"]["name"] == name)


DAEMON_SETS = ["daemonset-hostport.yaml", "daemonset-hostnetwork.yaml"]


def pod(name):
    (daemon_set,) = documents(name)
    return daemon_set["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", list(every_document()))
def test_a_manifest_is_what_kubernetes_takes(document, version):
    if document["kind"] in FOREIGN:
        pytest.skip("not a kind of Kubernetes itself")
    kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelled_key_is_seen():
    (document,) = documents("daemonset-hostport.yaml")
    wrong = copy.deepcopy(document)
    wrong["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", DAEMON_SETS)
def test_containers_are_restricted(name):
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    for volume in spec["volumes"]:
        source = volume.get("secret") or volume.get("configMap")
        assert source is None or source["defaultMode"] == 0o440


@pytest.mark.parametrize("name", DAEMON_SETS)
def test_what_is_mounted_and_probed_is_there(name):
    spec = pod(name)
    (container,) = spec["containers"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = yaml.safe_load(named("ConfigMap", "sluice")["data"]["config.yaml"])
    assert config["proxy"]["addr"].endswith(f":{ports['http']}")
    prometheus = config["observability"]["metrics"]["prometheus"]
    assert prometheus["addr"].endswith(f":{ports['metrics']}")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert spec["terminationGracePeriodSeconds"] > config["shutdown"]["max_drain_secs"]


def test_the_configuration_is_accepted_by_the_gateway(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(named("ConfigMap", "sluice")["data"]["config.yaml"])
    resources = tmp_path / "resources.yaml"
    resources.write_text(named("Secret", "sluice-resources")["stringData"]["resources.yaml"])
    variables = {name: "a-value-of-this-test" for name in named("Secret", "sluice")["stringData"]}
    for args in (["check", "--config", config], ["validate", "--resources", resources]):
        run = subprocess.run([BIN_DIR / "sluice", *args], env=variables, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "warning" not in run.stderr, run.stderr
