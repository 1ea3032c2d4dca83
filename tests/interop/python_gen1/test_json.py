"""JSON as it crosses: the caller's is judged and written anew, upstream's comes back as it was."""

import httpx
import pytest
from gitpod import BadRequestError, Gitpod
from upstream import answers

ID = "0d2b1c5e-8a51-4a6f-8f0e-0c7f6ad0b8b1"
OTHER = "7f3f1d0a-1c1b-4f5e-9d38-0d9d3b6f3b10"

# What a newer upstream might say: a field, a nested one, a phase and a number that nobody here has heard of.
NEWER = {
    "prebuild": {
        "id": ID,
        "metadata": {"createdAt": "2026-01-02T03:04:05.678Z", "triggeredBy": "PREBUILD_TRIGGER_DREAM"},
        "status": {"phase": "PREBUILD_PHASE_HIBERNATING", "statusVersion": "9007199254740993", "mood": [1, None, "x"]},
        "futureField": {"nested": {"a": 1.5}, "Unusual Name": True},
    },
    "alsoNew": "",
}

TWICE = {
    "one field twice": b'{"prebuildId": "%s", "prebuildId": "%s"}' % (ID.encode(), OTHER.encode()),
    "both spellings": b'{"prebuildId": "%s", "prebuild_id": "%s"}' % (ID.encode(), ID.encode()),
    "an unknown field twice": b'{"prebuildId": "%s", "x": 1, "x": 2}' % ID.encode(),
    "an unknown field": b'{"prebuildId": "%s", "x": 1}' % ID.encode(),
}


def test_what_only_upstream_knows_reaches_the_caller(upstream, serve):
    gateway = serve(upstream(answers(NEWER)).open().base_url)

    prebuild = sdk(gateway).prebuilds.retrieve(prebuild_id=ID).prebuild
    assert prebuild.status.phase == "PREBUILD_PHASE_HIBERNATING"
    assert prebuild.metadata.triggered_by == "PREBUILD_TRIGGER_DREAM"
    assert prebuild.futureField == NEWER["prebuild"]["futureField"]

    assert post(gateway, "GetPrebuild", b'{"prebuildId": "%s"}' % ID.encode()).json() == NEWER


@pytest.mark.parametrize("body", TWICE.values(), ids=TWICE.keys())
def test_what_could_be_read_in_two_ways_is_refused(upstream, serve, body):
    watched = upstream(answers({})).open()

    refused = post(serve(watched.base_url), "DeletePrebuild", body)

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_argument")
    assert refused.headers["content-type"] == "application/json"
    assert watched.requests == []


def test_a_field_that_only_the_sdks_user_knows_is_refused(upstream, serve):
    watched = upstream(answers({})).open()

    with pytest.raises(BadRequestError):
        sdk(serve(watched.base_url)).prebuilds.delete(prebuild_id=ID, extra_body={"force": True})

    assert watched.requests == []


def test_upstream_gets_canonical_json_and_no_header_of_the_sdks(upstream, serve):
    watched = upstream(answers({"warmPool": {"id": ID}})).open()

    sdk(serve(watched.base_url)).prebuilds.create_warm_pool(
        project_id=ID, environment_class_id=OTHER, min_size=None, max_size=0
    )

    [request] = watched.requests
    assert request.path == "/api/gitpod.v1.PrebuildService/CreateWarmPool"
    assert request.body == {"projectId": ID, "environmentClassId": OTHER, "maxSize": 0}
    assert request.headers["authorization"] == "Bearer upstream-token"
    assert [name for name in request.headers if name.startswith("x-stainless")] == []


@pytest.mark.parametrize("size", [{"page_size": 1}, {"pagination": {"page_size": 1}}], ids=["query", "body"])
def test_the_page_is_asked_for_in_the_body_and_in_the_query(upstream, serve, size):
    def pages(handler):
        last = len(handler.server.requests) == 3
        page = {"prebuilds": [{"id": ID}]} | ({} if last else {"pagination": {"nextToken": "a+b/c=="}})
        answers(page)(handler)

    watched = upstream(pages).open()

    assert len(list(sdk(serve(watched.base_url)).prebuilds.list(**size))) == 3

    paginations = [request.body["pagination"] for request in watched.requests]
    assert paginations == [{"pageSize": 1}] + 2 * [{"pageSize": 1, "token": "a+b/c=="}]
    assert [request.query.get("token") for request in watched.requests] == [None, ["a+b/c=="], ["a+b/c=="]]


def sdk(gateway):
    return Gitpod(base_url=gateway.base_url, bearer_token=gateway.key)


def post(gateway, method, body):
    """As the SDK would, with a body that it would never write."""
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    return httpx.post(f"{gateway.base_url}/gitpod.v1.PrebuildService/{method}", content=body, headers=headers)
