"""Our proto/ files against the official descriptors: what the service reaches must be equal."""

from pathlib import Path
from shutil import copytree

import grpc_tools
import pytest
from gitpod.v1 import identity_pb2, prebuild_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"
OFFICIAL = [
    *prebuild_pb2.DESCRIPTOR.services_by_name["PrebuildService"].methods,
    identity_pb2.DESCRIPTOR.services_by_name["IdentityService"].methods_by_name["GetAuthenticatedIdentity"],
]


def test_methods_are_the_official_ones(tmp_path):
    own = methods(compile_protos(PROTO, tmp_path))

    assert len(own) == 12, "eleven of PrebuildService, and the one by which a token's organization is found"
    assert [describe_method(method) for method in own] == [describe_method(method) for method in OFFICIAL]


def test_types_are_the_official_ones(tmp_path):
    own, official = reached(methods(compile_protos(PROTO, tmp_path))), reached(OFFICIAL)

    assert sorted(own) == sorted(official)
    assert len(own) > 40, "the walk must find messages, nested messages and enums"
    for name in official:
        assert describe_type(own[name]) == describe_type(official[name])


def test_nothing_is_declared_that_no_method_reaches(tmp_path):
    pool = compile_protos(PROTO, tmp_path)
    declared = set()
    for name in proto_files(PROTO):
        file = pool.FindFileByName(name)
        for message in file.message_types_by_name.values():
            declared |= {message.full_name, *nested(message)}
        declared |= {enum.full_name for enum in file.enum_types_by_name.values()}

    # Beside the API's own there is what the gateway says of itself, in details of errors.
    declared = {name for name in declared if not name.startswith("prebuildgateway.")}
    assert declared == {name for name in reached(methods(pool)) if name.startswith("gitpod.")}


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("optional int32 min_size = 4;", "optional int32 min_size = 7;"),
        ("optional int32 min_size = 4;", "int32 min_size = 4;"),
        ("optional int32 min_size = 4;", "optional int64 min_size = 4;"),
        ("optional int32 min_size = 4;", "optional int32 minimum = 4;"),
        ("optional int32 min_size = 4;", 'optional int32 min_size = 4 [json_name = "min"];'),
        ("repeated WarmPool warm_pools = 2;", "WarmPool warm_pools = 2;"),
        ("repeated WarmPool warm_pools = 2;", "repeated Prebuild warm_pools = 2;"),
        ("int32 desired_size = 3 [deprecated = true];", "int32 desired_size = 3;"),
        ("WARM_POOL_PHASE_READY = 20;", "WARM_POOL_PHASE_READY = 21;"),
        ("PREBUILD_TRIGGER_SCHEDULED = 2;", ""),
    ],
)
def test_a_changed_line_is_found(tmp_path, line, changed):
    copytree(PROTO, tmp_path / "proto")
    file = tmp_path / "proto/gitpod/v1/prebuild.proto"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, changed))

    own, official = reached(methods(compile_protos(tmp_path / "proto", tmp_path))), reached(OFFICIAL)

    assert [name for name in official if describe_type(own[name]) != describe_type(official[name])]


def test_a_changed_method_is_found(tmp_path):
    copytree(PROTO, tmp_path / "proto")
    file = tmp_path / "proto/gitpod/v1/prebuild.proto"
    file.write_text(file.read_text().replace("option idempotency_level = NO_SIDE_EFFECTS;", "", 1))

    own = methods(compile_protos(tmp_path / "proto", tmp_path))

    changed = [one.name for one, other in zip(own, OFFICIAL) if describe_method(one) != describe_method(other)]
    assert changed == ["ListPrebuilds"]


def compile_protos(root, scratch):
    """A pool of our own with the files below `root`, compiled by protoc: a second opinion beside the build's compiler."""
    out = scratch / "descriptors.bin"
    well_known = Path(grpc_tools.__file__).with_name("_proto")
    flags = [f"-I{root}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", *flags, *proto_files(root)]) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
    return pool


def proto_files(root):
    return sorted(str(file.relative_to(root)) for file in root.rglob("*.proto"))


def methods(pool):
    return [
        method
        for service in ("gitpod.v1.PrebuildService", "gitpod.v1.IdentityService")
        for method in pool.FindServiceByName(service).methods
    ]


def reached(methods):
    """Every message and enum that the methods' inputs and outputs lead to, by full name."""
    found = {}
    queue = [message for method in methods for message in (method.input_type, method.output_type)]
    while queue:
        descriptor = queue.pop()
        if descriptor.full_name in found:
            continue
        found[descriptor.full_name] = descriptor
        for field in getattr(descriptor, "fields", []):
            queue += [used for used in (field.message_type, field.enum_type) if used]
    return found


def nested(message):
    yield from (enum.full_name for enum in message.enum_types)
    for inner in message.nested_types:
        yield inner.full_name
        yield from nested(inner)


def describe_method(method):
    return {
        "name": method.full_name,
        "input": method.input_type.full_name,
        "output": method.output_type.full_name,
        "streaming": (method.client_streaming, method.server_streaming),
        "idempotency": method.GetOptions().idempotency_level,
    }


def describe_type(descriptor):
    """What a message or an enum is on the wire and in JSON, in plain values."""
    plain = {"name": descriptor.full_name, "file": descriptor.file.name}
    if hasattr(descriptor, "values"):
        return plain | {"values": {value.name: value.number for value in descriptor.values}}
    return plain | {"fields": {field.number: describe_field(field) for field in descriptor.fields}}


def describe_field(field):
    type_name = field.message_type or field.enum_type
    return {
        "name": field.name,
        "json name": field.json_name,
        "type": field.type,
        "type name": type_name and type_name.full_name,
        "label": field.label,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "oneof": field.containing_oneof and field.containing_oneof.name,
        "deprecated": field.GetOptions().deprecated,
    }
