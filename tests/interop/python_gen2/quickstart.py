"""Quick start for Python, second generation of the SDK: set the base URL and the key, and nothing else.

pip install gitpod-sdk==1.2.0 googleapis-common-protos
python quickstart.py http://127.0.0.1:8080/api KEY PROJECT_ID ENVIRONMENT_CLASS_ID
"""

import sys

import ona_sdk
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from gitpod.v1.identity_pb2 import GetAuthenticatedIdentityRequest
from gitpod.v1.pagination_pb2 import PaginationRequest
from gitpod.v1.prebuild_pb2 import (
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
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo


def main(base_url, key, project, environment_class):
    client = ona_sdk.create_client(base_url=base_url, api_key=key)

    identity = client.services.identity.get_authenticated_identity(GetAuthenticatedIdentityRequest())
    print("calls for organization", identity.organization_id)

    prebuilds(client.services.prebuild, project)
    warm_pools(client.services.prebuild, project, environment_class)
    refusal(client.services.prebuild, project)


def prebuilds(api, project):
    spec = PrebuildSpec(timeout=Duration(seconds=3600))
    request = CreatePrebuildRequest(project_id=project, spec=spec)
    created = [api.create_prebuild(request).prebuild.id for _ in range(3)]

    listed = []
    request = ListPrebuildsRequest(
        pagination=PaginationRequest(page_size=1), filter=ListPrebuildsRequest.Filter(project_ids=[project])
    )
    for _ in range(3):
        page = api.list_prebuilds(request)
        listed += [prebuild.id for prebuild in page.prebuilds]
        request.pagination.token = page.pagination.next_token
    assert listed == created[::-1], "three pages of one, newest first"

    first = created[0]
    assert api.get_prebuild(GetPrebuildRequest(prebuild_id=first)).prebuild.spec.timeout == spec.timeout
    assert api.create_prebuild_logs_token(CreatePrebuildLogsTokenRequest(prebuild_id=first)).access_token
    assert api.cancel_prebuild(CancelPrebuildRequest(prebuild_id=first)).prebuild.id == first
    api.delete_prebuild(DeletePrebuildRequest(prebuild_id=first))


def warm_pools(api, project, environment_class):
    request = CreateWarmPoolRequest(project_id=project, environment_class_id=environment_class, max_size=3)
    pool = api.create_warm_pool(request).warm_pool.id
    assert api.get_warm_pool(GetWarmPoolRequest(warm_pool_id=pool)).warm_pool.spec.max_size == 3
    assert pool in [pool.id for pool in api.list_warm_pools(ListWarmPoolsRequest()).warm_pools]

    # 0 is not "not set": the pool may scale down to nothing.
    spec = api.update_warm_pool(UpdateWarmPoolRequest(warm_pool_id=pool, min_size=0)).warm_pool.spec
    assert spec.HasField("min_size") and (spec.min_size, spec.max_size) == (0, 3)
    api.delete_warm_pool(DeleteWarmPoolRequest(warm_pool_id=pool))


def refusal(api, project):
    spec = PrebuildSpec(timeout=Duration(seconds=7201))
    try:
        api.create_prebuild(CreatePrebuildRequest(project_id=project, spec=spec))
        raise AssertionError("two hours is the most")
    except ConnectError as error:
        assert error.code == Code.INVALID_ARGUMENT
        details = {detail.type_name: detail.message_bytes for detail in error.details}
    info = ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.domain, info.reason) == ("prebuild-gateway", "GUARDRAIL")
    [violation] = BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations
    print("refused:", violation.field, violation.description)
    assert violation.field == "spec.timeout"


if __name__ == "__main__":
    main(*sys.argv[1:])
