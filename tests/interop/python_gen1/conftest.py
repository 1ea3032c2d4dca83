"""Fixtures: the gateway that every client in Python is tried against, and one with an upstream by script."""

import pytest
from upstream import Upstream

pytest_plugins = ["gateway"]


@pytest.fixture
def upstream():
    """Makes upstreams that answer as they are told, and ends them."""
    made = []

    def make(answer):
        made.append(Upstream(answer))
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()
