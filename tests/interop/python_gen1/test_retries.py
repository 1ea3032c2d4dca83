"""Promise: a change is sent once. The SDK repeats by itself, on connection errors, 409, 429 and from 500 up; the gateway's
`x-should-retry` tells it when it must not.
"""

import gitpod
import pytest
from gitpod import DefaultHttpxClient, Gitpod
from upstream import answers, is_cut_off, is_down, is_silent, refuses, resets

PROJECT = "7f3f1d0a-1c1b-4f5e-9d38-0d9d3b6f3b10"
PREBUILD = {"prebuild": {"id": "0d2b1c5e-8a51-4a6f-8f0e-0c7f6ad0b8b1"}}

FAULTS = {
    "reset after the request": resets,
    "503 in HTML": is_down,
    "200 cut off": is_cut_off,
    "silence until the deadline": is_silent,
    "unavailable, and x-should-retry": refuses(503, "unavailable", ("x-should-retry", "true")),
    "already exists": refuses(409, "already_exists"),
    "aborted": refuses(409, "aborted"),
}


@pytest.fixture(params=FAULTS.values(), ids=FAULTS.keys())
def faulty(request, upstream):
    return upstream(request.param).open()


def test_through_the_gateway_a_change_is_sent_once(faulty, serve):
    # The gateway's deadline passes long before the SDK's own 60 s.
    gateway = serve(faulty.base_url, more='[deadline]\ndefault = "500ms"\n')

    with pytest.raises(gitpod.APIStatusError) as error:
        create(Gitpod(base_url=gateway.base_url, bearer_token=gateway.key))

    assert len(faulty.requests) == 1
    assert error.value.response.headers["x-should-retry"] == "false"


def test_without_the_gateway_it_is_sent_again_and_again(faulty):
    with pytest.raises(gitpod.APIError):
        create(Gitpod(base_url=faulty.base_url, bearer_token="upstream-token", timeout=0.5))

    assert len(faulty.requests) > 1, "or the test above shows nothing"


def test_what_never_left_is_tried_again(upstream, serve):
    away = upstream(answers(PREBUILD))
    gateway = serve(away.base_url)
    responses = []

    def come_back(response):
        responses.append((response.status_code, response.headers.get("x-should-retry")))
        if len(responses) == 1:
            away.open()

    client = DefaultHttpxClient(event_hooks={"response": [come_back]})
    created = create(Gitpod(base_url=gateway.base_url, bearer_token=gateway.key, http_client=client))

    assert created.prebuild.id == PREBUILD["prebuild"]["id"]
    assert responses == [(503, "true"), (200, None)]
    assert len(away.requests) == 1


def test_a_read_is_tried_again(upstream, serve):
    down = upstream(is_down).open()
    gateway = serve(down.base_url)

    with pytest.raises(gitpod.InternalServerError):
        Gitpod(base_url=gateway.base_url, bearer_token=gateway.key).prebuilds.list()

    assert len(down.requests) > 1


def test_a_rate_is_waited_for(upstream, serve, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("rates.org.all = { per_second = 1, burst = 1 }\n")
    policy.chmod(0o644)
    gateway = serve(upstream(answers(PREBUILD)).open().base_url, more=f'[policy]\nfile = "{policy}"\n')
    responses = []
    client = DefaultHttpxClient(event_hooks={"response": [responses.append]})
    client = Gitpod(base_url=gateway.base_url, bearer_token=gateway.key, http_client=client)

    create(client)
    create(client)

    assert [response.status_code for response in responses] == [200, 429, 200]
    assert responses[1].headers["retry-after"] == "1"


def create(client):
    return client.prebuilds.create(project_id=PROJECT, spec={})
