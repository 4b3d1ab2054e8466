"""deploy/kubernetes and deploy/docker: what they promise. Their schemas: make check-deploy."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from backends import find_program
from processes import Process, eventually, free_port
from sidecar import BINARY

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy")
DOCKER = os.path.join(DEPLOY, "docker")
KUBERNETES = os.path.join(DEPLOY, "kubernetes")


def read(*names):
    with open(os.path.join(DEPLOY, *names)) as file:
        return file.read()


@pytest.fixture(scope="module")
def manifests():
    """{"Deployment": {...}}, as kustomize lists them."""
    listed = yaml.safe_load(read("kubernetes", "kustomization.yaml"))["resources"]
    objects = [yaml.safe_load(read("kubernetes", name)) for name in listed]
    return {manifest["kind"]: manifest for manifest in objects}


@pytest.fixture
def pod(manifests):
    return manifests["Deployment"]["spec"]["template"]["spec"]


def test_every_manifest_is_listed(manifests):
    named = {name for name in os.listdir(KUBERNETES) if name.endswith(".yaml")}
    listed = yaml.safe_load(read("kubernetes", "kustomization.yaml"))["resources"]
    assert named == {*listed, "kustomization.yaml"}
    assert set(manifests) == {"Deployment", "Service", "ServiceMonitor", "NetworkPolicy",
                              "PodDisruptionBudget"}


def test_the_sidecar_is_a_native_one_and_probed_on_its_admin_port(pod):
    sidecar, = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["ports"] == [{"name": "admin", "containerPort": 9380}]
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"),
                        ("livenessProbe", "/healthz")):
        assert sidecar[probe]["httpGet"] == {"path": path, "port": "admin"}
    drain_s, grace_s = 5, pod["terminationGracePeriodSeconds"]
    assert grace_s > 2 * drain_s


def test_no_container_has_privileges(pod):
    """What Pod Security's level `restricted` asks for, and a read-only root."""
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["initContainers"] + pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security.get("privileged")
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    assert all({"configMap", "emptyDir"} & set(volume) for volume in pod["volumes"])


def test_all_select_the_same_pods(manifests):
    kustomization = yaml.safe_load(read("kubernetes", "kustomization.yaml"))
    wanted, = (labels["pairs"] for labels in kustomization["labels"])
    selectors = [
        manifests["Service"]["spec"]["selector"],
        manifests["ServiceMonitor"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [wanted] * 4


def test_secrets_are_named_and_never_said(pod, manifests):
    sidecar, = pod["initContainers"]
    for variable in sidecar["env"]:
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "sidecar", "key": variable["name"]}
    assert {variable["name"] for variable in sidecar["env"]} == {
        "REDIS_URL", "DATABASE_URL", "SIDECAR_SNAPSHOT_KEY"}
    assert "Secret" not in manifests


def test_the_network_policy_knows_the_ports_that_are_used(manifests):
    policy = manifests["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    inward, = policy["ingress"]
    assert inward["ports"] == [{"port": "admin", "protocol": "TCP"}] and inward["from"]
    assert {6379, 5432, 6432, 6543} <= {rule["port"] for egress in policy["egress"]
                                         for rule in egress["ports"]}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl")
def test_kustomize_puts_them_together():
    built = subprocess.run(["kubectl", "kustomize", KUBERNETES], capture_output=True, text=True,
                           check=True, timeout=30).stdout
    objects = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(built)}
    template = objects["Deployment"]["spec"]["template"]
    pod = template["spec"]
    assert pod["volumes"][0]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    assert "sidecar.ini" in objects["ConfigMap"]["data"]
    assert pod["initContainers"][0]["image"] == "sidecar:0.1.0"
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]


def test_the_settings_of_the_pod_are_good(pod, tmp_path):
    file = os.path.join(KUBERNETES, "sidecar.ini")
    result = subprocess.run(
        [BINARY, "--print-config", "-c", file], capture_output=True, text=True, timeout=20,
        env={"REDIS_URL": "rediss://default:x@redis.example:6379", "SIDECAR_SNAPSHOT_KEY": "ab" * 32,
             "DATABASE_URL": "postgres://sidecar:x@pooler.example:6543/postgres"})
    assert result.returncode == 0, result.stderr
    mounts = {mount["mountPath"] for mount in pod["initContainers"][0]["volumeMounts"]}
    written = re.findall(r"^(?:journal|file) = (\S+)", result.stdout, re.M)
    assert {os.path.dirname(path) for path in written} == {"/var/lib/sidecar"} <= mounts


# Docker


def test_the_image_runs_without_root_and_is_asked_for_its_health():
    dockerfile = read("docker", "Dockerfile")
    final = dockerfile[dockerfile.rindex("\nFROM "):]
    assert re.search(r"^USER \d+:\d+$", final, re.M)
    assert "HEALTHCHECK" in final and "STOPSIGNAL SIGTERM" in final
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|TOKEN|KEY|SECRET)", dockerfile, re.M | re.I)
    for line in read("..", ".dockerignore").splitlines():
        assert line.startswith(("#", "*", "!")), line
        assert not line.startswith("!") or os.path.exists(os.path.join(DEPLOY, "..", line[1:])), line


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(read("docker", "compose.yml"))


def test_compose_mounts_only_what_there_is(compose):
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert os.path.exists(os.path.join(DOCKER, source)), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_compose_names_every_secret_and_knows_none(compose):
    text = read("docker", "compose.yml")
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    assert wanted == set(re.findall(r"^(\w+)=$", read("docker", "example.env"), re.M))
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|URL", name):
                assert "${" in value, name


def test_compose_starts_what_the_mission_names(compose):
    assert set(compose["services"]) == {"app", "sidecar", "certificates", "redis", "postgres",
                                        "pgbouncer", "prometheus", "grafana"}
    assert compose["services"]["pgbouncer"]["environment"]["POOL_MODE"] == "transaction"
    # The sidecar has to answer without its backends, so it waits for none.
    assert set(compose["services"]["sidecar"]["depends_on"]) == {"certificates"}
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port


def test_the_certificates_and_redis_of_compose_serve_a_sidecar(compose, session, start_sidecar,
                                                               tmp_path):
    """make-certificates.sh, and the very command of the service redis, on a free port."""
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    made = subprocess.run(["sh", os.path.join(DOCKER, "make-certificates.sh"), certificates, "redis"],
                          capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    assert {file.name for file in certificates.iterdir()} == {"ca.pem", "redis.pem", "redis.key"}
    port = free_port()
    command = compose["services"]["redis"]["command"][-1].replace("$$", "$")
    for ours, theirs in (("/certificates", str(certificates)), ("tls-port 6379", f"tls-port {port}"),
                         ("/tmp/redis.conf", str(tmp_path / "redis.conf"))):
        assert ours in command
        command = command.replace(ours, theirs)
    redis = Process(session, "compose-redis")
    redis.spawn(["sh", "-c", command], env={
        "REDIS_PASSWORD": "s3cret", "PATH": os.path.dirname(find_program("redis-server")) + ":/bin"})
    try:
        # The name is in the certificate, the address is not: as far as DNS goes, that is all.
        sidecar = start_sidecar(redis={"url": f"rediss://default:s3cret@127.0.0.1:{port}",
                                       "tls_ca": certificates / "ca.pem"})
        eventually(lambda: sidecar.log_lines("redis down", "certificate"), 10,
                   what="a word about the name that does not match")
        hosts = tmp_path / "hosts"
        hosts.write_text("127.0.0.1 redis\n")
        named = start_sidecar(redis={"url": f"rediss://default:s3cret@redis:{port}",
                                     "tls_ca": certificates / "ca.pem"},
                              prefix=["unshare", "--mount", "sh", "-c",
                                      f'mount --bind {hosts} /etc/hosts && exec "$0" "$@"'])
        eventually(lambda: named.call("SET", "a", "1") == "OK", 10, what="SET by TLS")
        assert named.call("GET", "a") == b"1"
    finally:
        redis.end()
