"""The quick start, as it stands, against `dev`."""

import quickstart
from gitpod import Gitpod


def test_quickstart(dev, org):
    quickstart.main(f"http://{dev.gateway}/api", org.key, org.projects[0], org.classes[0])


def test_environment(dev, org, monkeypatch):
    """A program that is set up by its environment is not touched at all."""
    monkeypatch.setenv("GITPOD_BASE_URL", f"http://{dev.gateway}/api")
    monkeypatch.setenv("GITPOD_API_KEY", org.key)
    assert Gitpod().identity.get_authenticated_identity().subject.id == "demo"
