"""The schema over server reflection, by a client that knows nothing of ours (it asks by v1alpha)."""

import grpc
import pytest
from client import refused
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICES = {
    "gitpod.v1.PrebuildService",
    "gitpod.v1.IdentityService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


class WithKey(grpc.StreamStreamClientInterceptor):
    """The database takes a channel and no metadata."""

    def __init__(self, metadata):
        self.metadata = metadata

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=self.metadata), requests)


@pytest.fixture
def database(channel, client):
    return ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, WithKey(client.metadata)))


def test_every_service_is_listed(database):
    assert set(database.get_services()) == SERVICES


def test_a_call_can_be_made_from_the_schema_alone(database, channel, client, org):
    service = DescriptorPool(database).FindServiceByName("gitpod.v1.PrebuildService")
    method = service.methods_by_name["ListPrebuilds"]
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )

    answer = call(request(filter={"project_ids": [org.projects[0]]}), timeout=20, metadata=client.metadata)

    assert answer.DESCRIPTOR.full_name == "gitpod.v1.ListPrebuildsResponse"
    assert len(service.methods) == 11


def test_a_stranger_learns_nothing(channel):
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        ProtoReflectionDescriptorDatabase(channel).get_services()
