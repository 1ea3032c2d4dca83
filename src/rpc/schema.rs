//! The descriptors as plain tables: what the transcoder and the unknown-field walk ask on every call.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::proto;

/// All messages and enums of a descriptor set.
#[derive(Debug, Default)]
pub struct Schema {
    messages: Vec<MessageSchema>,
    enums: Vec<EnumSchema>,
    message_names: HashMap<String, usize>,
    enum_names: HashMap<String, usize>,
}

/// One message.
#[derive(Debug)]
pub struct MessageSchema {
    /// `package.Message`, without a leading dot.
    pub full_name: String,
    /// By number.
    pub fields: Vec<Field>,
    by_name: HashMap<String, usize>,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// As the proto has it, snake_case.
    pub name: String,
    /// As canonical JSON has it, lowerCamelCase.
    pub json_name: String,
    pub number: u32,
    pub kind: Kind,
    pub repeated: bool,
    /// `optional`, a message or a member of a oneof: a default value that is set differs from an absent one.
    pub presence: bool,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scalar(Type),
    Enum(usize),
    Message(usize),
}

/// One enum.
#[derive(Debug)]
pub struct EnumSchema {
    pub full_name: String,
    by_name: HashMap<String, i32>,
    by_number: HashMap<i32, String>,
}

static GITPOD: LazyLock<Schema> = LazyLock::new(|| Schema::from_descriptors(proto::DESCRIPTORS));

impl Schema {
    /// The schema of `proto/`.
    pub fn gitpod() -> &'static Self {
        &GITPOD
    }

    /// The tables of an encoded `google.protobuf.FileDescriptorSet`. Bytes that are none give an empty schema: the
    /// set is part of the program, and the method table's test finds every row's messages.
    pub fn from_descriptors(descriptors: &[u8]) -> Self {
        let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
        let mut schema = Self::default();
        for file in &set.file {
            schema.name_types(file.package(), &file.message_type, &file.enum_type);
        }
        for file in &set.file {
            schema.add_messages(&file.message_type, file.package());
        }
        schema
    }

    pub fn message(&self, full_name: &str) -> Option<&MessageSchema> {
        self.message_names.get(full_name).map(|index| &self.messages[*index])
    }

    pub fn message_at(&self, index: usize) -> &MessageSchema {
        &self.messages[index]
    }

    pub fn enum_at(&self, index: usize) -> &EnumSchema {
        &self.enums[index]
    }

    /// First pass: every type gets its index, so that fields can point at types of later files.
    fn name_types(&mut self, scope: &str, messages: &[DescriptorProto], enums: &[EnumDescriptorProto]) {
        for descriptor in enums {
            let full_name = join(scope, descriptor.name());
            let values = || descriptor.value.iter().map(|value| (value.name().to_owned(), value.number()));
            self.enum_names.insert(full_name.clone(), self.enums.len());
            self.enums.push(EnumSchema {
                full_name,
                by_name: values().collect(),
                // The first name of a number is the canonical one (aliases follow).
                by_number: values().rev().map(|(name, number)| (number, name)).collect(),
            });
        }
        for descriptor in messages {
            let full_name = join(scope, descriptor.name());
            self.message_names.insert(full_name.clone(), self.message_names.len());
            self.name_types(&full_name, &descriptor.nested_type, &descriptor.enum_type);
        }
    }

    /// Second pass, in the order of the first.
    fn add_messages(&mut self, messages: &[DescriptorProto], scope: &str) {
        for descriptor in messages {
            let full_name = join(scope, descriptor.name());
            let mut fields: Vec<_> = descriptor.field.iter().filter_map(|field| self.field(field)).collect();
            fields.sort_by_key(|field| field.number);
            let by_name = fields
                .iter()
                .enumerate()
                .flat_map(|(index, field)| [(field.name.clone(), index), (field.json_name.clone(), index)])
                .collect();
            self.messages.push(MessageSchema { full_name: full_name.clone(), fields, by_name });
            self.add_messages(&descriptor.nested_type, &full_name);
        }
    }

    fn field(&self, field: &FieldDescriptorProto) -> Option<Field> {
        let type_name = field.type_name().trim_start_matches('.');
        let kind = match field.r#type() {
            Type::Message => Kind::Message(*self.message_names.get(type_name)?),
            Type::Enum => Kind::Enum(*self.enum_names.get(type_name)?),
            // Groups do not exist in proto3.
            Type::Group => return None,
            scalar => Kind::Scalar(scalar),
        };
        let repeated = field.label() == Label::Repeated;
        Some(Field {
            name: field.name().to_owned(),
            json_name: field.json_name().to_owned(),
            number: u32::try_from(field.number()).ok()?,
            kind,
            repeated,
            presence: !repeated && (matches!(kind, Kind::Message(_)) || field.oneof_index.is_some()),
        })
    }
}

impl MessageSchema {
    pub fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|index| &self.fields[index])
    }

    /// By either spelling: lowerCamelCase or as in the proto.
    pub fn field_named(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).map(|index| &self.fields[*index])
    }
}

impl EnumSchema {
    pub fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    pub fn name(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
