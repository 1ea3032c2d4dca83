"""The audit log after some calls: who did what, in the words of OCSF, and no secret."""

from collections import defaultdict

import grpc
import pytest
from audit_schema import ocsf, unmapped
from client import SERVICE, Client, refused
from gitpod.v1.prebuild_pb2 import (
    CreatePrebuildLogsTokenRequest,
    CreatePrebuildRequest,
    CreateWarmPoolRequest,
    DeletePrebuildRequest,
    GetPrebuildRequest,
    ListPrebuildsRequest,
    PrebuildSpec,
    UpdateWarmPoolRequest,
)
from google.protobuf.duration_pb2 import Duration

WRONG_KEY = "a-key-that-nobody-has"


@pytest.fixture(scope="module")
def story(channel, client, foreigner, org):
    """Makes one call of each kind; tells what must not be found in the log."""
    spec = PrebuildSpec(timeout=Duration(seconds=3600))
    created = client.CreatePrebuild(CreatePrebuildRequest(project_id=org.projects[0], spec=spec)).prebuild
    client.ListPrebuilds(ListPrebuildsRequest())
    token = client.CreatePrebuildLogsToken(CreatePrebuildLogsTokenRequest(prebuild_id=created.id)).access_token
    with refused(grpc.StatusCode.NOT_FOUND):
        foreigner.GetPrebuild(GetPrebuildRequest(prebuild_id=created.id))
    client.DeletePrebuild(DeletePrebuildRequest(prebuild_id=created.id))
    pool = CreateWarmPoolRequest(
        project_id=org.projects[0], environment_class_id=org.classes[0], min_size=0, max_size=3
    )
    pool = client.CreateWarmPool(pool).warm_pool
    client.UpdateWarmPool(UpdateWarmPoolRequest(warm_pool_id=pool.id, max_size=2))
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        client.CreateWarmPool(CreateWarmPoolRequest(max_size=21))
    for _ in range(3):
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            Client(channel, WRONG_KEY).ListPrebuilds(ListPrebuildsRequest())
    with refused(grpc.StatusCode.UNIMPLEMENTED):
        client.send_bytes(f"/{SERVICE.full_name}/Nope", b"")
    return [org.key, token, WRONG_KEY]


@pytest.fixture(scope="module")
def records(dev, story, eventually):
    """The log, once the refusals, which are never waited for, have reached it, and the count of those that are alike."""

    def complete():
        found = dev.audit_records()
        stages = [record["unmapped"]["stage"] for record in found]
        return stages.count("reject") >= 3 and "aggregate" in stages and found

    return eventually(complete)


def stage(record):
    return record["unmapped"]["stage"]


def test_every_record_is_valid_ocsf(records):
    """By OCSF's own schema of the class, which allows nothing that it does not name."""
    validator = ocsf()
    for record in records:
        assert record["metadata"]["version"] == "1.6.0"
        assert [error.message for error in validator.iter_errors(record)] == [], record


def test_what_ocsf_does_not_name_is_valid_by_our_own_schema(records):
    validator = unmapped()
    for record in records:
        assert [error.message for error in validator.iter_errors(record["unmapped"])] == [], record


@pytest.mark.parametrize("method", ["CreatePrebuild", "CreatePrebuildLogsToken", "DeletePrebuild"])
def test_a_mutation_or_secret_has_an_intent_and_then_an_outcome(records, method):
    by_request = defaultdict(list)
    for record in records:
        if record["api"]["operation"].endswith(f"/{method}"):
            by_request[record["api"]["request"]["uid"]].append(stage(record))

    assert list(by_request.values()) == [["intent", "outcome"]]


def test_a_record_names_who(records, org):
    intent = next(record for record in records if stage(record) == "intent")

    assert intent["actor"]["user"]["org"]["uid"] == org.id
    assert intent["actor"]["user"]["uid"]
    assert intent["src_endpoint"]["ip"] == "127.0.0.1"


def test_a_refusal_by_the_rules_is_recorded(records, org):
    [record] = [
        record
        for record in records
        if record["api"]["operation"].endswith("/CreateWarmPool") and stage(record) == "reject"
    ]

    assert record["actor"]["user"]["org"]["uid"] == org.id


def test_refusals_before_the_rules_are_recorded(records):
    rejects = [record["api"]["response"]["error"] for record in records if stage(record) == "reject"]

    assert "UNAUTHENTICATED" in rejects
    assert "UNKNOWN_METHOD" in rejects


def test_refusals_that_are_alike_are_counted(records):
    [aggregate] = [record for record in records if stage(record) == "aggregate"]

    assert aggregate["api"]["response"]["error"] == "UNAUTHENTICATED"
    assert aggregate["unmapped"]["count"] == aggregate["count"] == 2


def test_request_ids_are_the_joint(records):
    intents = [record["api"]["request"]["uid"] for record in records if stage(record) == "intent"]
    outcomes = [record["api"]["request"]["uid"] for record in records if stage(record) == "outcome"]

    assert len(intents) == len(set(intents))
    assert set(intents) <= set(outcomes)


def test_no_secret_is_written(dev, records, story):
    files = [file for file in dev.audit.rglob("*") if file.is_file()]
    assert files
    for file in files:
        for secret in story:
            assert secret not in file.read_text(), f"a secret in {file.name}"
