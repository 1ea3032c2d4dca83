"""Fixtures: a gRPC client for each of the `dev` gateway's two orgs."""

import grpc
import pytest
from client import Client

pytest_plugins = ["gateway"]


@pytest.fixture(scope="module")
def channel(dev):
    with grpc.insecure_channel(dev.gateway) as channel:
        yield channel


@pytest.fixture(scope="module")
def client(channel, org):
    return Client(channel, org.key)


@pytest.fixture(scope="module")
def foreigner(channel, other_org):
    """A caller of the other org."""
    return Client(channel, other_org.key)
