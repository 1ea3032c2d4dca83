"""The README's story by the binary's own `call`: the life of a prebuild and a pool, and refusals that say why."""

import json
import subprocess

import pytest


@pytest.fixture(scope="module")
def run(dev, org, gateway_binary):
    """Runs `call METHOD JSON`, as the first org unless another key is given."""

    def run(method, request, key=org.key):
        command = [gateway_binary, "call", method, json.dumps(request), "--address", f"http://{dev.gateway}", "--key", key]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="module")
def call(run):
    """The same for a call that must go through: the answer."""

    def call(method, request):
        done = run(method, request)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) > 1 or done.stdout.strip() == "{}", "pretty, one field a line"
        return json.loads(done.stdout)

    return call


def test_a_prebuild(call, org, eventually):
    created = call("CreatePrebuild", {"projectId": org.projects[0], "spec": {"timeout": "3600s"}})["prebuild"]
    assert created["spec"]["timeout"] == "3600s"

    assert created["id"] in [prebuild["id"] for prebuild in call("ListPrebuilds", {})["prebuilds"]]

    def phase():
        return call("GetPrebuild", {"prebuildId": created["id"]})["prebuild"]["status"]["phase"]

    eventually(lambda: phase() == "PREBUILD_PHASE_COMPLETED", every=0.5)
    assert call("CreatePrebuildLogsToken", {"prebuildId": created["id"]})["accessToken"]
    assert call("DeletePrebuild", {"prebuildId": created["id"]}) == {}


def test_a_pool(call, org):
    sizes = {"minSize": 0, "maxSize": 3}
    pool = call("CreateWarmPool", {"projectId": org.projects[0], "environmentClassId": org.classes[0]} | sizes)["warmPool"]
    assert pool["spec"]["minSize"] == 0, "an explicit 0 is shown"

    pool = call("UpdateWarmPool", {"warmPoolId": pool["id"], "minSize": 1})["warmPool"]
    assert (pool["spec"]["minSize"], pool["spec"]["maxSize"]) == (1, 3)
    assert call("DeleteWarmPool", {"warmPoolId": pool["id"]}) == {}


def test_a_refusal_names_rule_field_and_bound(run, org):
    done = run("CreatePrebuild", {"projectId": org.projects[0], "spec": {"timeout": "7201s"}})

    assert done.returncode != 0
    for word in ("GUARDRAIL", "spec.timeout", "7200s"):
        assert word in done.stdout + done.stderr


def test_the_exit_code_tells_the_status(run, org):
    nobody = "00000000-0000-4000-8000-000000000000"

    codes = [
        run("GetPrebuild", {"prebuildId": nobody}).returncode,
        run("GetPrebuild", {"prebuildId": "x"}).returncode,
        run("ListPrebuilds", {}, key="wrong").returncode,
    ]

    assert 0 not in codes
    assert len(set(codes)) == 3, "NOT_FOUND, INVALID_ARGUMENT and UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("method", "request_json"), [("Nope", "{}"), ("ListPrebuilds", "{"), ("ListPrebuilds", '{"no": 1}')]
)
def test_what_is_no_call_is_not_sent(dev, org, gateway_binary, method, request_json):
    command = [gateway_binary, "call", method, request_json, "--address", f"http://{dev.gateway}", "--key", org.key]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    assert done.returncode != 0
    assert done.stderr.strip()
