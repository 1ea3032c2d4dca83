"""The audit log after some calls: who did what, and no secret."""

from collections import defaultdict

import grpc
import pytest
from client import SERVICE, Client, refused
from gitpod.v1.prebuild_pb2 import (
    CreatePrebuildLogsTokenRequest,
    CreatePrebuildRequest,
    CreateWarmPoolRequest,
    DeletePrebuildRequest,
    ListPrebuildsRequest,
    PrebuildSpec,
)
from google.protobuf.duration_pb2 import Duration

WRONG_KEY = "a-key-that-nobody-has"


@pytest.fixture(scope="module")
def story(channel, client, org):
    """Makes one call of each kind; tells what must not be found in the log."""
    spec = PrebuildSpec(timeout=Duration(seconds=3600))
    created = client.CreatePrebuild(CreatePrebuildRequest(project_id=org.projects[0], spec=spec)).prebuild
    client.ListPrebuilds(ListPrebuildsRequest())
    token = client.CreatePrebuildLogsToken(CreatePrebuildLogsTokenRequest(prebuild_id=created.id)).access_token
    client.DeletePrebuild(DeletePrebuildRequest(prebuild_id=created.id))
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        client.CreateWarmPool(CreateWarmPoolRequest(max_size=21))
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        Client(channel, WRONG_KEY).ListPrebuilds(ListPrebuildsRequest())
    with refused(grpc.StatusCode.UNIMPLEMENTED):
        client.send_bytes(f"/{SERVICE.full_name}/Nope", b"")
    return [org.key, token, WRONG_KEY]


@pytest.fixture(scope="module")
def records(dev, story, eventually):
    """The log, once the refusals, which are never waited for, have reached it."""

    def complete():
        found = dev.audit_records()
        return len([record for record in found if record["stage"] == "reject"]) >= 3 and found

    return eventually(complete)


@pytest.mark.parametrize("method", ["CreatePrebuild", "CreatePrebuildLogsToken", "DeletePrebuild"])
def test_a_mutation_or_secret_has_an_intent_and_then_an_outcome(records, method):
    by_request = defaultdict(list)
    for record in records:
        if record.get("method", "").endswith(f"/{method}"):
            by_request[record["request_id"]].append(record["stage"])

    assert list(by_request.values()) == [["intent", "outcome"]]


def test_a_record_names_who(records, org):
    intent = next(record for record in records if record["stage"] == "intent")

    assert intent["org"] == org.id
    assert intent["subject"]


def test_a_refusal_by_the_rules_is_recorded(records, org):
    [record] = [record for record in records if record.get("method", "").endswith("/CreateWarmPool")]

    assert record["stage"] == "reject"
    assert record["org"] == org.id


def test_refusals_before_the_rules_are_recorded(records):
    rejects = [str(record) for record in records if record["stage"] == "reject"]

    assert any("UNAUTHENTICATED" in record for record in rejects)
    assert any("UNKNOWN_METHOD" in record for record in rejects)


def test_request_ids_are_the_joint(records):
    intents = [record["request_id"] for record in records if record["stage"] == "intent"]
    outcomes = [record["request_id"] for record in records if record["stage"] == "outcome"]

    assert len(intents) == len(set(intents))
    assert set(intents) <= set(outcomes)


def test_no_secret_is_written(dev, records, story):
    files = [file for file in dev.audit.rglob("*") if file.is_file()]
    assert files
    for file in files:
        for secret in story:
            assert secret not in file.read_text(), f"a secret in {file.name}"
