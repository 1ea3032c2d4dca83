"""The call that SDKs and Terraform make first: whose key is this?"""

import uuid

import grpc
import pytest
from client import Client, refused
from gitpod.v1 import identity_pb2
from gitpod.v1.identity_pb2 import GetAuthenticatedIdentityRequest, GetAuthenticatedIdentityResponse
from gitpod.v1.prebuild_pb2 import CreatePrebuildRequest, PrebuildSpec

SERVICE = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]


def who_am_i(client):
    ask = client.channel.unary_unary(
        f"/{SERVICE.full_name}/GetAuthenticatedIdentity",
        request_serializer=GetAuthenticatedIdentityRequest.SerializeToString,
        response_deserializer=GetAuthenticatedIdentityResponse.FromString,
    )
    return ask(GetAuthenticatedIdentityRequest(), timeout=20, metadata=client.metadata)


def test_a_caller_is_told_its_organization(client, foreigner):
    mine, theirs = who_am_i(client), who_am_i(foreigner)

    assert uuid.UUID(mine.organization_id) != uuid.UUID(theirs.organization_id)
    assert who_am_i(client) == mine


def test_it_is_the_organization_of_the_callers_objects(client, org):
    request = CreatePrebuildRequest(project_id=org.projects[0], spec=PrebuildSpec())
    created = client.CreatePrebuild(request).prebuild

    assert who_am_i(client).organization_id == created.metadata.organization_id


def test_the_subject_is_the_gateways_caller_and_not_the_owner_of_its_credential(client, org):
    request = CreatePrebuildRequest(project_id=org.projects[0], spec=PrebuildSpec())
    owner = client.CreatePrebuild(request).prebuild.metadata.creator

    subject = who_am_i(client).subject

    assert subject.id == "demo"
    assert subject.principal == identity_pb2.PRINCIPAL_SERVICE_ACCOUNT
    assert owner.id and owner.id != subject.id


def test_a_stranger_is_told_nothing(channel):
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        who_am_i(Client(channel, None))


OTHERS = [method.name for method in SERVICE.methods if method.name != "GetAuthenticatedIdentity"]


@pytest.mark.parametrize("method", OTHERS)
def test_the_rest_of_the_service_is_not_served(client, method):
    with refused(grpc.StatusCode.UNIMPLEMENTED) as refusal:
        client.send_bytes(f"/{SERVICE.full_name}/{method}", b"")

    assert refusal().info.reason == "UNKNOWN_METHOD"
