//! Descriptors of messages with fields of every kind, which the API itself does not have.

use std::sync::LazyLock;

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::rpc::Schema;

const SCALARS: [(&str, Type); 15] = [
    ("double", Type::Double),
    ("float", Type::Float),
    ("int64", Type::Int64),
    ("uint64", Type::Uint64),
    ("int32", Type::Int32),
    ("fixed64", Type::Fixed64),
    ("fixed32", Type::Fixed32),
    ("bool", Type::Bool),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("uint32", Type::Uint32),
    ("sfixed32", Type::Sfixed32),
    ("sfixed64", Type::Sfixed64),
    ("sint32", Type::Sint32),
    ("sint64", Type::Sint64),
];

const TYPED: [(&str, Type, &str); 4] = [
    ("mood", Type::Enum, ".test.Mood"),
    ("duration", Type::Message, ".google.protobuf.Duration"),
    ("timestamp", Type::Message, ".google.protobuf.Timestamp"),
    ("child", Type::Message, ".test.Everything"),
];

/// Name, key and value.
const MAPS: [(&str, Type, Type, &str); 12] = [
    ("texts", Type::String, Type::String, ""),
    ("flags", Type::Bool, Type::Bool, ""),
    ("longs", Type::Int64, Type::Uint64, ""),
    ("ints", Type::Int32, Type::Int32, ""),
    ("zigzags", Type::Sint64, Type::Sint32, ""),
    ("fixed", Type::Fixed32, Type::Double, ""),
    ("more_fixed", Type::Sfixed64, Type::Float, ""),
    ("blobs", Type::Uint32, Type::Bytes, ""),
    ("moods", Type::String, Type::Enum, ".test.Mood"),
    ("times", Type::String, Type::Message, ".google.protobuf.Timestamp"),
    ("holders", Type::String, Type::Message, ".test.Holder"),
    ("anys", Type::String, Type::Message, ".google.protobuf.Any"),
];

static DESCRIPTORS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let known = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
    let mut file: Vec<_> =
        known.file.into_iter().filter(|file| file.package() == "google.protobuf").collect();
    file.push(google("any", "Any", &[("type_url", Type::String), ("value", Type::Bytes)]));
    file.push(google("wrappers", "StringValue", &[("value", Type::String)]));
    file.push(FileDescriptorProto {
        name: Some("test.proto".to_owned()),
        package: Some("test".to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency: ["duration", "timestamp", "any", "wrappers"]
            .map(|name| format!("google/protobuf/{name}.proto"))
            .into(),
        message_type: vec![everything(), holder(), odd()],
        enum_type: vec![mood()],
        ..FileDescriptorProto::default()
    });
    FileDescriptorSet { file }.encode_to_vec()
});

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::from_descriptors(&DESCRIPTORS));

pub(super) fn descriptors() -> &'static [u8] {
    &DESCRIPTORS
}

pub(super) fn schema() -> &'static Schema {
    &SCHEMA
}

/// Each kind three times: as it is (1..), `optional` (41..), repeated (81..); and a oneof.
fn everything() -> DescriptorProto {
    let kinds = SCALARS.iter().map(|(name, kind)| (*name, *kind, "")).chain(TYPED);
    let mut message = DescriptorProto { name: Some("Everything".to_owned()), ..DescriptorProto::default() };
    message.oneof_decl.push(OneofDescriptorProto { name: Some("pick".to_owned()), options: None });
    let picks = [("pick_text", 121, Type::String), ("pick_number", 122, Type::Int32)];
    for (name, number, kind) in picks {
        let pick = field(name, number, kind, "", Label::Optional);
        message.field.push(FieldDescriptorProto { oneof_index: Some(0), ..pick });
    }
    for ((name, kind, type_name), index) in kinds.zip(1..) {
        message.field.push(field(&format!("f_{name}"), index, kind, type_name, Label::Optional));
        let optional = field(&format!("o_{name}"), 40 + index, kind, type_name, Label::Optional);
        message.field.push(FieldDescriptorProto {
            proto3_optional: Some(true),
            oneof_index: Some(index),
            ..optional
        });
        message.oneof_decl.push(OneofDescriptorProto { name: Some(format!("_o_{name}")), options: None });
        message.field.push(field(&format!("r_{name}"), 80 + index, kind, type_name, Label::Repeated));
    }
    message
}

/// Maps and `Any`s, also in each other.
fn holder() -> DescriptorProto {
    let mut message = DescriptorProto { name: Some("Holder".to_owned()), ..DescriptorProto::default() };
    for ((name, key, kind, type_name), number) in MAPS.into_iter().zip(1..) {
        let entry = format!("{}Entry", camel(&format!("_{name}")));
        let typed = format!(".test.Holder.{entry}");
        message.field.push(field(name, number, Type::Message, &typed, Label::Repeated));
        message.nested_type.push(DescriptorProto {
            name: Some(entry),
            field: vec![
                field("key", 1, key, "", Label::Optional),
                field("value", 2, kind, type_name, Label::Optional),
            ],
            options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
            ..DescriptorProto::default()
        });
    }
    message.field.extend([
        field("any", 21, Type::Message, ".google.protobuf.Any", Label::Optional),
        field("list", 22, Type::Message, ".google.protobuf.Any", Label::Repeated),
        field("holder", 23, Type::Message, ".test.Holder", Label::Optional),
        field("number", 24, Type::Int32, "", Label::Optional),
    ]);
    message
}

/// Fields that are not translated.
fn odd() -> DescriptorProto {
    DescriptorProto {
        name: Some("Odd".to_owned()),
        field: vec![
            field("text", 1, Type::Message, ".google.protobuf.StringValue", Label::Optional),
            field("texts", 2, Type::Message, ".google.protobuf.StringValue", Label::Repeated),
            field("odd", 3, Type::Message, ".test.Odd", Label::Optional),
            field("any", 4, Type::Message, ".google.protobuf.Any", Label::Optional),
        ],
        ..DescriptorProto::default()
    }
}

fn google(file: &str, message: &str, fields: &[(&str, Type)]) -> FileDescriptorProto {
    let fields = fields.iter().zip(1..);
    FileDescriptorProto {
        name: Some(format!("google/protobuf/{file}.proto")),
        package: Some("google.protobuf".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some(message.to_owned()),
            field: fields
                .map(|((name, kind), number)| field(name, number, *kind, "", Label::Optional))
                .collect(),
            ..DescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    }
}

fn mood() -> EnumDescriptorProto {
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        options: None,
    };
    EnumDescriptorProto {
        name: Some("Mood".to_owned()),
        value: vec![value("MOOD_UNSPECIFIED", 0), value("MOOD_GOOD", 10), value("MOOD_BAD", -1)],
        ..EnumDescriptorProto::default()
    }
}

fn field(name: &str, number: i32, kind: Type, type_name: &str, label: Label) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: (!type_name.is_empty()).then(|| type_name.to_owned()),
        json_name: Some(camel(name)),
        ..FieldDescriptorProto::default()
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}
