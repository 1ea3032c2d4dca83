"""What `dev` tells a script, and how it ends."""

import signal
import urllib.request

import pytest
from gateway import Dev


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(tmp_path, with_signal):
    dev = Dev.start(tmp_path / "stderr")

    assert dev.stop(with_signal) == (0, "")


def test_it_tells_addresses_and_orgs(dev):
    assert len({dev.gateway, dev.admin, dev.sandbox}) == 3
    assert len(dev.orgs) == 2
    for org in dev.orgs:
        assert org.id and org.name and org.key and org.projects and org.classes
    assert dev.audit.is_dir()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_admin_port_answers(dev, path):
    with urllib.request.urlopen(f"http://{dev.admin}{path}", timeout=10) as answer:
        assert answer.status == 200
