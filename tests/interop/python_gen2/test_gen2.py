"""The quick start, as it stands, against `dev`."""

import ona_sdk
import quickstart
from gitpod.v1.identity_pb2 import GetAuthenticatedIdentityRequest


def test_quickstart(dev, org):
    quickstart.main(f"http://{dev.gateway}/api", org.key, org.projects[0], org.classes[0])


def test_environment(dev, org, monkeypatch):
    """A program that is set up by its environment is not touched at all."""
    monkeypatch.setenv("ONA_BASE_URL", f"http://{dev.gateway}/api")
    monkeypatch.setenv("ONA_API_KEY", org.key)
    identity = ona_sdk.create_client_from_env().services.identity
    assert identity.get_authenticated_identity(GetAuthenticatedIdentityRequest()).subject.id == "demo"
