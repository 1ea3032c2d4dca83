"""Quick start for Python, first generation of the SDK: set the base URL and the key, and nothing else.

pip install gitpod-sdk==0.11.0 googleapis-common-protos
python quickstart.py http://127.0.0.1:8080/api KEY PROJECT_ID ENVIRONMENT_CLASS_ID
"""

import base64
import sys

from gitpod import BadRequestError, Gitpod
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo


def main(base_url, key, project, environment_class):
    client = Gitpod(base_url=base_url, bearer_token=key)

    identity = client.identity.get_authenticated_identity()
    print("calls for organization", identity.organization_id)

    prebuilds(client.prebuilds, project)
    warm_pools(client.prebuilds, project, environment_class)
    refusal(client.prebuilds, project)


def prebuilds(api, project):
    created = [api.create(project_id=project, spec={"timeout": "3600s"}).prebuild for _ in range(3)]

    # The SDK fetches page after page; here each has one prebuild.
    listed = [prebuild.id for prebuild in api.list(page_size=1, filter={"project_ids": [project]})]
    assert listed[:3] == [prebuild.id for prebuild in reversed(created)], "newest first"

    first = created[0].id
    assert api.retrieve(prebuild_id=first).prebuild.spec.timeout == "3600s"
    assert api.create_logs_token(prebuild_id=first).access_token
    assert api.cancel(prebuild_id=first).prebuild.id == first
    api.delete(prebuild_id=first)


def warm_pools(api, project, environment_class):
    # `None` is sent as null: it means "not set", as if it were left out.
    pool = api.create_warm_pool(
        project_id=project, environment_class_id=environment_class, min_size=None, max_size=3
    ).warm_pool
    assert api.retrieve_warm_pool(warm_pool_id=pool.id).warm_pool.spec.max_size == 3
    assert pool.id in [pool.id for pool in api.list_warm_pools(page_size=1)]

    # 0 is not null: the pool may scale down to nothing.
    updated = api.update_warm_pool(warm_pool_id=pool.id, min_size=0).warm_pool
    assert (updated.spec.min_size, updated.spec.max_size) == (0, 3)
    api.delete_warm_pool(warm_pool_id=pool.id)


def refusal(api, project):
    try:
        api.create(project_id=project, spec={"timeout": "7201s"})
        raise AssertionError("two hours is the most")
    except BadRequestError as error:
        details = {detail["type"]: unpack(detail["value"]) for detail in error.body["details"]}
    info = ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.domain, info.reason) == ("prebuild-gateway", "GUARDRAIL")
    [violation] = BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations
    print("refused:", violation.field, violation.description)
    assert violation.field == "spec.timeout"


def unpack(value):
    return base64.b64decode(value + "==")  # Connect leaves out the padding


if __name__ == "__main__":
    main(*sys.argv[1:])
