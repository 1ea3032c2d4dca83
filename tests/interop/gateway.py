"""A pytest plugin for every client in Python: a `dev` gateway of its own for every test module, and its two orgs."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

# A debug build on a busy machine starts within a second; what takes longer hangs.
START = 30
# More than the gateway's drain and less than anybody's patience.
STOP = 30

# The smallest configuration; a test adds sections to it.
SERVE = """
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"

[shutdown]
grace = "1s"

[audit]
directory = "{directory}/audit"

[[orgs]]
id = "acme"
credential = {{ env = "UPSTREAM_TOKEN" }}
# Stated, so that an upstream which counts requests sees none but the callers'.
upstream_organization_id = "0198c0de-0000-7000-8000-00000000acce"

[[identity.api_keys]]
id = "acme-ci"
subject = "ci"
org = "acme"
sha256 = "{hash}"

[upstream]
base_url = "{upstream}"
"""


@dataclass
class Org:
    id: str
    name: str
    key: str
    projects: list[str]
    classes: list[str]


@dataclass
class Dev:
    """A running `prebuild-gateway dev`."""

    process: subprocess.Popen
    gateway: str
    admin: str
    sandbox: str
    audit: Path
    orgs: list[Org]

    @classmethod
    def start(cls, log, env=None):
        command = [binary(), "dev", "--print", "json"]
        for port in ("--listen", "--admin", "--sandbox"):
            command += [port, "127.0.0.1:0"]
        # stdout is a pipe for the one line; the log goes to a file, for nobody would read a second pipe.
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | (env or {}),
            )
        watchdog = threading.Timer(START, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            process.kill()
            raise AssertionError(f"`dev` printed no line and ended with {process.wait()}:\n{log.read_text()}")
        told = json.loads(line)
        orgs = [Org(**org) for org in told["orgs"]]
        return cls(process, told["gateway"], told["admin"], told["sandbox"], Path(told["audit"]), orgs)

    def stop(self, with_signal=signal.SIGTERM):
        """Asks it to end and returns its exit code and what else it had to say on stdout."""
        self.process.send_signal(with_signal)
        try:
            rest, _ = self.process.communicate(timeout=STOP)
        finally:
            self.process.kill()
        return self.process.returncode, rest

    def audit_records(self):
        """Every record, in order; half a line at the end is one that is being written."""
        files = sorted([*self.audit.glob("*.jsonl"), *self.audit.glob("*/*.jsonl")])
        lines = [line for file in files for line in file.read_text().split("\n")[:-1]]
        return [json.loads(line) for line in lines]


@dataclass
class Serve:
    """A running `prebuild-gateway serve`, in front of whatever upstream a test has."""

    process: subprocess.Popen
    base_url: str
    key: str
    log: Path

    @classmethod
    def start(cls, directory, upstream, more=""):
        directory.mkdir()
        key = secrets.token_hex(32)
        text = SERVE.format(directory=directory, upstream=upstream, hash=sha256(key)) + more
        return cls.run(directory, text, key)

    @classmethod
    def run(cls, directory, text, key):
        """With this configuration; also where one has run before."""
        config = directory / "gateway.toml"
        config.touch(mode=0o600)
        config.write_text(text)
        log = directory / "stderr"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [binary(), "serve", "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | {"UPSTREAM_TOKEN": "upstream-token"},
            )
        serve = cls(process, "", key, log)
        serve.base_url = f"http://{serve.address()}/api"
        return serve

    def address(self):
        """As its log tells it: the port is whichever was free."""
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log.read_text().splitlines(keepends=True):
                if line.endswith("\n") and (found := json.loads(line).get("gateway")):
                    return found
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"`serve` did not start and ended with {self.process.wait()}:\n{self.log.read_text()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=STOP)
        finally:
            self.process.kill()
        assert code == 0, f"SIGTERM ends `serve` with 0, not {code}:\n{self.log.read_text()}"


@pytest.fixture(scope="session")
def gateway_binary():
    return binary()


@pytest.fixture(scope="module")
def dev_env():
    """What a module's gateway finds in its environment; a module that wants more has its own."""
    return {}


@pytest.fixture(scope="module")
def dev(tmp_path_factory, dev_env):
    log = tmp_path_factory.mktemp("dev") / "stderr"
    dev = Dev.start(log, dev_env)
    yield dev
    code, rest = dev.stop()
    assert code == 0, f"SIGTERM ends `dev` with 0, not {code}:\n{log.read_text()}"
    assert rest == "", "scripts get one line and no more"


@pytest.fixture(scope="module")
def org(dev):
    return dev.orgs[0]


@pytest.fixture(scope="module")
def other_org(dev):
    return dev.orgs[1]


@pytest.fixture
def serve(tmp_path):
    """Starts `serve` in front of the upstream with this base URL, with more configuration than it needs if a test wants that."""
    started = []

    def start(upstream, more=""):
        started.append(Serve.start(tmp_path / f"gateway-{len(started)}", upstream, more))
        return started[-1]

    yield start
    for serve in started:
        serve.stop()


@pytest.fixture(scope="session")
def eventually():
    """Asks again until the answer is true: what lives in the sandbox takes its time."""

    def ask(question, within=60, every=0.1):
        end = time.monotonic() + within
        while time.monotonic() < end:
            if answer := question():
                return answer
            time.sleep(every)
        raise AssertionError(f"not within {within} s")

    return ask


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def binary():
    path = os.environ.get("PREBUILD_GATEWAY_BIN")
    assert path, "PREBUILD_GATEWAY_BIN must name the gateway's binary; tests/run sets it"
    return str(Path(path).resolve(strict=True))
