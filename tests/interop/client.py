"""A gRPC client out of nothing but grpcio and the official message classes."""

from contextlib import contextmanager
from functools import partial

import grpc
from gitpod.v1 import prebuild_pb2
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SERVICE = prebuild_pb2.DESCRIPTOR.services_by_name["PrebuildService"]


class Client:
    """Each RPC of the service is a method: `client.GetPrebuild(request, timeout=1)`."""

    def __init__(self, channel, key):
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {key}")] if key else []

    def __getattr__(self, name):
        if name not in SERVICE.methods_by_name:
            raise AttributeError(name)
        return partial(self.call, name)

    def call(self, name, request, timeout=20, headers=(), **options):
        method = SERVICE.methods_by_name[name]
        send = self.channel.unary_unary(
            f"/{SERVICE.full_name}/{name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return send(request, timeout=timeout, metadata=[*self.metadata, *headers], **options)

    def send_bytes(self, path, message, timeout=20):
        """Calls any path with any bytes."""
        return self.channel.unary_unary(path)(message, timeout=timeout, metadata=self.metadata)


class Refusal:
    """A gRPC error with what `grpc-status-details-bin` says of it."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.metadata = dict(error.trailing_metadata() or ())
        status = rpc_status.from_call(error)  # None without details; raises where they contradict the status
        self.details = list(status.details) if status else []

    def detail(self, kind):
        """The one detail of this kind."""
        found = [kind.FromString(any.value) for any in self.details if any.Is(kind.DESCRIPTOR)]
        assert len(found) == 1, f"{len(found)} {kind.__name__} in {self.details}"
        return found[0]

    @property
    def info(self):
        return self.detail(error_details_pb2.ErrorInfo)

    @property
    def fields(self):
        """Field path -> what is wrong with it."""
        violations = self.detail(error_details_pb2.BadRequest).field_violations
        return {violation.field: violation.description for violation in violations}


@contextmanager
def refused(code):
    """`with refused(code) as refusal:` holds what follows to fail with this code; afterwards `refusal()` tells more."""
    caught = []
    try:
        yield lambda: caught[0]
    except grpc.RpcError as error:
        caught.append(Refusal(error))
        assert error.code() is code, f"{error.code()} instead of {code}: {error.details()}"
    else:
        raise AssertionError(f"expected {code}, but the call went through")
