"""Refusals and failures as a gRPC client sees them: code, reason, fields."""

import time
import uuid

import grpc
import pytest
from client import SERVICE, refused
from gitpod.v1.pagination_pb2 import PaginationRequest
from gitpod.v1.prebuild_pb2 import (
    CreatePrebuildRequest,
    CreateWarmPoolRequest,
    GetPrebuildRequest,
    GetWarmPoolRequest,
    ListPrebuildsRequest,
    PrebuildSpec,
    UpdateWarmPoolRequest,
)
from google.protobuf.duration_pb2 import Duration

DOMAIN = "prebuild-gateway"
TWO_HOURS = 7200
SLOW = ("x-sandbox-fault", "delay=3s")


def prebuild(org, **timeout):
    return CreatePrebuildRequest(project_id=org.projects[0], spec=PrebuildSpec(timeout=Duration(**timeout)))


def test_two_hours_pass(client, org):
    created = client.CreatePrebuild(prebuild(org, seconds=TWO_HOURS)).prebuild

    assert created.spec.timeout == Duration(seconds=TWO_HOURS)


@pytest.mark.parametrize(
    "timeout",
    [dict(seconds=TWO_HOURS, nanos=1), dict(seconds=10**9), dict(seconds=0), dict(seconds=-1), dict(seconds=1, nanos=-1)],
    ids=str,
)
def test_a_timeout_beyond_its_bounds(client, org, timeout):
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.CreatePrebuild(prebuild(org, **timeout))

    assert list(refusal().fields) == ["spec.timeout"]
    info = refusal().info
    assert (info.domain, info.reason) == (DOMAIN, "GUARDRAIL")
    assert info.metadata["rule"]
    assert uuid.UUID(info.metadata["request_id"])


def test_the_bound_is_named(client, org):
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.CreatePrebuild(prebuild(org, seconds=TWO_HOURS + 1))

    assert "7200s" in refusal().fields["spec.timeout"]


def test_all_violations_at_once(client):
    request = CreateWarmPoolRequest(project_id="not-a-uuid", min_size=-1, max_size=21)

    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.CreateWarmPool(request)

    assert set(refusal().fields) == {"project_id", "environment_class_id", "min_size", "max_size"}


def test_min_above_max(client, org):
    request = CreateWarmPoolRequest(project_id=org.projects[0], environment_class_id=org.classes[0], min_size=4, max_size=3)

    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.CreateWarmPool(request)

    assert "min_size" in refusal().fields


@pytest.mark.parametrize("size", [-1, 101])
def test_a_page_size_beyond_its_bounds(client, size):
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.ListPrebuilds(ListPrebuildsRequest(pagination=PaginationRequest(page_size=size)))

    assert list(refusal().fields) == ["pagination.page_size"]


def test_a_stricter_bound_is_left_to_upstream(client, org):
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.CreatePrebuild(prebuild(org, seconds=60))

    assert "spec.timeout" in refusal().fields, "upstream's own details come through"
    assert not is_the_gateways(refusal())


def test_what_upstream_does_not_find(client):
    with refused(grpc.StatusCode.NOT_FOUND) as refusal:
        client.GetPrebuild(GetPrebuildRequest(prebuild_id=str(uuid.uuid4())))

    assert is_the_gateways(refusal()), "what is absent and what is another org's are told in the same words"
    assert refusal().info.reason == "NOT_FOUND"


def test_what_is_foreign_looks_absent(client, org, foreigner):
    created = client.CreatePrebuild(prebuild(org, seconds=3600)).prebuild

    refusals = []
    for id in (created.id, str(uuid.uuid4())):
        with refused(grpc.StatusCode.NOT_FOUND) as refusal:
            foreigner.GetPrebuild(GetPrebuildRequest(prebuild_id=id))
        refusals.append((refusal().message, refusal().info.reason, refusal().info.domain))

    assert refusals[0] == refusals[1]
    assert created.id not in [prebuild.id for prebuild in foreigner.ListPrebuilds(ListPrebuildsRequest()).prebuilds]


def test_a_foreign_pool_looks_absent_to_the_validation(client, org, foreigner):
    pool = client.CreateWarmPool(
        CreateWarmPoolRequest(project_id=org.projects[0], environment_class_id=org.classes[0], min_size=2, max_size=3)
    ).warm_pool

    refusals = []
    for id in (pool.id, str(uuid.uuid4())):
        with refused(grpc.StatusCode.NOT_FOUND) as refusal:
            foreigner.UpdateWarmPool(UpdateWarmPoolRequest(warm_pool_id=id, max_size=1))
        refusals.append((refusal().message, len(refusal().details)))

    assert refusals[0] == refusals[1]
    assert client.GetWarmPool(GetWarmPoolRequest(warm_pool_id=pool.id)).warm_pool.spec.max_size == 3


@pytest.mark.parametrize("method", ["ListPrebuilds", "CreatePrebuild"])
def test_a_deadline_is_kept(client, org, method):
    request = ListPrebuildsRequest() if method == "ListPrebuilds" else prebuild(org, seconds=3600)
    start = time.monotonic()

    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        client.call(method, request, timeout=0.3, headers=[SLOW])

    assert time.monotonic() - start < 1


@pytest.mark.parametrize("path", [f"/{SERVICE.full_name}/StartPrebuild", "/gitpod.v1.Nobody/GetPrebuild", "/x"])
def test_an_unknown_method(client, path):
    with refused(grpc.StatusCode.UNIMPLEMENTED) as refusal:
        client.send_bytes(path, b"")

    assert refusal().info.domain == DOMAIN


def test_an_oversize_message(client):
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
        client.GetPrebuild(GetPrebuildRequest(prebuild_id="x" * 70_000))

    assert refusal().info.reason == "MESSAGE_TOO_LARGE"


def test_a_message_that_inflates_beyond_the_limit(client):
    request = GetPrebuildRequest(prebuild_id="x" * 1_000_000)

    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
        client.GetPrebuild(request, compression=grpc.Compression.Gzip)

    assert refusal().info.reason == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff\xff", "MALFORMED_MESSAGE"),
        (b"\x0a\x7f", "MALFORMED_MESSAGE"),
        (b"\x0a\x02\xc3\x28", "MALFORMED_MESSAGE"),
        (b"\xf8\x3e\x01", "UNKNOWN_FIELD"),
    ],
    ids=["no tag", "cut off", "not UTF-8", "unknown field 1007"],
)
def test_a_message_that_is_none(client, message, reason):
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.send_bytes(f"/{SERVICE.full_name}/GetPrebuild", message)

    assert refusal().info.reason == reason


def is_the_gateways(refusal):
    return any(DOMAIN.encode() in detail.value for detail in refusal.details)
