"""All eleven RPCs by a real gRPC client with the official message classes."""

import uuid

import grpc
import pytest
from client import SERVICE, refused
from gitpod.v1.pagination_pb2 import PaginationRequest
from gitpod.v1.prebuild_pb2 import (
    PREBUILD_PHASE_CANCELLED,
    PREBUILD_PHASE_CANCELLING,
    PREBUILD_PHASE_COMPLETED,
    PREBUILD_PHASE_PENDING,
    PREBUILD_PHASE_STARTING,
    CancelPrebuildRequest,
    CreatePrebuildLogsTokenRequest,
    CreatePrebuildRequest,
    CreateWarmPoolRequest,
    DeletePrebuildRequest,
    DeleteWarmPoolRequest,
    GetPrebuildRequest,
    GetWarmPoolRequest,
    ListPrebuildsRequest,
    ListWarmPoolsRequest,
    PrebuildSpec,
    UpdateWarmPoolRequest,
)
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc


def create(client, org, **options):
    spec = PrebuildSpec(timeout=Duration(seconds=3600))
    return client.CreatePrebuild(CreatePrebuildRequest(project_id=org.projects[0], spec=spec), **options).prebuild


def test_life_of_a_prebuild(client, org, eventually):
    created = create(client, org)
    assert uuid.UUID(created.id)
    assert created.metadata.project_id == org.projects[0]
    assert created.metadata.environment_class_id in org.classes, "the project's default class"
    assert created.metadata.created_at.seconds > 0
    assert created.spec.timeout == Duration(seconds=3600)
    assert created.status.phase in (PREBUILD_PHASE_PENDING, PREBUILD_PHASE_STARTING)

    def get():
        return client.GetPrebuild(GetPrebuildRequest(prebuild_id=created.id)).prebuild

    completed = eventually(lambda: (now := get()).status.phase == PREBUILD_PHASE_COMPLETED and now)
    assert completed.metadata.created_at == created.metadata.created_at, "to the nanosecond"
    assert completed.status.snapshot_size_bytes > 0, "an int64, which travels as a string in JSON"
    assert completed.status.completion_time.seconds >= created.metadata.created_at.seconds

    token = client.CreatePrebuildLogsToken(CreatePrebuildLogsTokenRequest(prebuild_id=created.id))
    assert token.access_token

    client.DeletePrebuild(DeletePrebuildRequest(prebuild_id=created.id))
    eventually(lambda: is_gone(get))


def test_cancel(client, org, eventually):
    created = create(client, org)

    cancelled = client.CancelPrebuild(CancelPrebuildRequest(prebuild_id=created.id)).prebuild

    assert cancelled.id == created.id
    assert cancelled.status.phase in (PREBUILD_PHASE_CANCELLING, PREBUILD_PHASE_CANCELLED)
    get = GetPrebuildRequest(prebuild_id=created.id)
    eventually(lambda: client.GetPrebuild(get).prebuild.status.phase == PREBUILD_PHASE_CANCELLED)


def test_pages(client, org):
    created = {create(client, org).id for _ in range(5)}
    request = ListPrebuildsRequest(pagination=PaginationRequest(page_size=2))
    request.filter.project_ids.append(org.projects[0])

    pages = []
    while len(pages) < 100:
        answer = client.ListPrebuilds(request)
        pages.append([prebuild.id for prebuild in answer.prebuilds])
        request.pagination.token = answer.pagination.next_token
        if not request.pagination.token:
            break

    listed = [id for page in pages for id in page]
    assert len(pages) >= 3
    assert all(len(page) <= 2 for page in pages)
    assert len(listed) == len(set(listed)), "no prebuild is on two pages"
    assert created <= set(listed)


def test_filter_without_a_match_is_an_empty_list(client):
    request = ListPrebuildsRequest()
    request.filter.creator_ids.append(str(uuid.uuid4()))

    answer = client.ListPrebuilds(request)

    assert list(answer.prebuilds) == []
    assert answer.pagination.next_token == ""


def test_life_of_a_pool(client, org, eventually):
    project, environment_class = org.projects[0], org.classes[0]
    request = CreateWarmPoolRequest(project_id=project, environment_class_id=environment_class, min_size=0, max_size=3)
    created = client.CreateWarmPool(request).warm_pool
    assert (created.metadata.project_id, created.metadata.environment_class_id) == (project, environment_class)

    def get():
        return client.GetWarmPool(GetWarmPoolRequest(warm_pool_id=created.id)).warm_pool

    spec = get().spec
    assert spec.HasField("min_size"), "an explicit 0 is not an absent size"
    assert (spec.min_size, spec.max_size) == (0, 3)

    updated = client.UpdateWarmPool(UpdateWarmPoolRequest(warm_pool_id=created.id, min_size=2)).warm_pool
    assert (updated.spec.min_size, updated.spec.max_size) == (2, 3)
    assert updated.spec.spec_version > created.spec.spec_version

    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.UpdateWarmPool(UpdateWarmPoolRequest(warm_pool_id=created.id, max_size=1))
    assert list(refusal().fields) == ["max_size"], "checked against the pool's present min_size"

    back = client.UpdateWarmPool(UpdateWarmPoolRequest(warm_pool_id=created.id, min_size=0)).warm_pool
    assert back.spec.HasField("min_size") and back.spec.min_size == 0

    filtered = ListWarmPoolsRequest()
    filtered.filter.environment_class_ids.append(environment_class)
    assert created.id in [pool.id for pool in client.ListWarmPools(filtered).warm_pools]

    client.DeleteWarmPool(DeleteWarmPoolRequest(warm_pool_id=created.id))
    eventually(lambda: is_gone(get))


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods])
def test_every_method_asks_for_a_key(channel, method):
    call = channel.unary_unary(f"/{SERVICE.full_name}/{method}")

    for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", "Basic abc")]):
        with refused(grpc.StatusCode.UNAUTHENTICATED) as refusal:
            call(b"", timeout=20, metadata=metadata)
        assert refusal().info.reason == "UNAUTHENTICATED"


def test_gzip(client, org):
    created = create(client, org, compression=grpc.Compression.Gzip)

    listed = client.ListPrebuilds(ListPrebuildsRequest(), compression=grpc.Compression.Gzip).prebuilds
    assert created.id in [prebuild.id for prebuild in listed]


@pytest.mark.parametrize("service", ["", SERVICE.full_name])
def test_health(channel, service):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=20)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def is_gone(get):
    try:
        get()
        return False
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND, error
        return True
