//! The descriptors as plain tables: what the transcoder and the unknown-field walk ask on every call.
//!
//! Look-ups are made to be quick for writers that keep the proto's order, as canonical ones do: the next field is
//! looked for just after the one before, and only then in a sorted table.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

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
    /// The messages that stand for a map's entries.
    entries: HashSet<usize>,
}

/// One message.
#[derive(Debug)]
pub struct MessageSchema {
    /// `package.Message`, without a leading dot.
    pub full_name: String,
    /// How it looks in JSON.
    pub form: Form,
    /// By number.
    pub fields: Vec<Field>,
    by_name: Names<usize>,
}

/// How a message looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with one key per field.
    Object,
    /// `google.protobuf.Duration`: `"3600s"`.
    Duration,
    /// `google.protobuf.Timestamp`: RFC 3339.
    Timestamp,
    /// `google.protobuf.Any`: the object of another message, with its type in `@type`.
    Any,
    /// A form of its own that is not translated: `Struct`, `FieldMask`, a wrapper.
    Other,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// As the proto has it, snake_case.
    pub name: String,
    /// As canonical JSON has it, lowerCamelCase.
    pub json_name: String,
    /// `"jsonName":`, ready to be written.
    pub json_key: String,
    pub number: u32,
    pub kind: Kind,
    /// A list or a map: any number of records on the wire.
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
    /// The message is the one of the entries: key (1) and value (2).
    Map(usize),
}

/// One enum.
#[derive(Debug)]
pub struct EnumSchema {
    pub full_name: String,
    by_name: Names<i32>,
    /// Sorted; the first name of a number is the canonical one (aliases follow).
    by_number: Vec<(i32, String)>,
}

/// What names stand for, sorted by length first: most comparisons end there.
#[derive(Debug)]
struct Names<T>(Vec<(String, T)>);

/// How far ahead of the field before the next one is looked for: more than a message of this API has fields.
const LOOK_AHEAD: usize = 16;

/// Messages whose JSON is neither an object of their fields nor known here.
const OTHER_FORMS: [&str; 13] = [
    "google.protobuf.BoolValue",
    "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue",
    "google.protobuf.FieldMask",
    "google.protobuf.FloatValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.ListValue",
    "google.protobuf.StringValue",
    "google.protobuf.Struct",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Value",
];

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
            let mut by_number: Vec<_> = values().map(|(name, number)| (number, name)).collect();
            by_number.sort_by_key(|(number, _)| *number);
            by_number.dedup_by_key(|(number, _)| *number);
            self.enum_names.insert(full_name.clone(), self.enums.len());
            self.enums.push(EnumSchema { full_name, by_name: Names::new(values()), by_number });
        }
        for descriptor in messages {
            let full_name = join(scope, descriptor.name());
            let index = self.message_names.len();
            self.message_names.insert(full_name.clone(), index);
            if descriptor.options.as_ref().is_some_and(|options| options.map_entry()) {
                self.entries.insert(index);
            }
            self.name_types(&full_name, &descriptor.nested_type, &descriptor.enum_type);
        }
    }

    /// Second pass, in the order of the first.
    fn add_messages(&mut self, messages: &[DescriptorProto], scope: &str) {
        for descriptor in messages {
            let full_name = join(scope, descriptor.name());
            let mut fields: Vec<_> = descriptor.field.iter().filter_map(|field| self.field(field)).collect();
            fields.sort_by_key(|field| field.number);
            let names = fields
                .iter()
                .enumerate()
                .flat_map(|(index, field)| [(field.name.clone(), index), (field.json_name.clone(), index)]);
            let by_name = Names::new(names);
            let form = form(&full_name);
            self.messages.push(MessageSchema { full_name: full_name.clone(), form, fields, by_name });
            self.add_messages(&descriptor.nested_type, &full_name);
        }
    }

    fn field(&self, field: &FieldDescriptorProto) -> Option<Field> {
        let type_name = field.type_name().trim_start_matches('.');
        let kind = match field.r#type() {
            Type::Message => match *self.message_names.get(type_name)? {
                index if self.entries.contains(&index) => Kind::Map(index),
                index => Kind::Message(index),
            },
            Type::Enum => Kind::Enum(*self.enum_names.get(type_name)?),
            // A group, which proto3 lacks, stays one: the transcoder says that it cannot do it.
            scalar => Kind::Scalar(scalar),
        };
        let repeated = field.label() == Label::Repeated;
        Some(Field {
            name: field.name().to_owned(),
            json_name: field.json_name().to_owned(),
            json_key: format!("{}:", serde_json::Value::from(field.json_name())),
            number: u32::try_from(field.number()).ok()?,
            kind,
            repeated,
            presence: !repeated && (matches!(kind, Kind::Message(_)) || field.oneof_index.is_some()),
        })
    }
}

impl MessageSchema {
    pub fn field(&self, number: u32) -> Option<&Field> {
        // Most messages number their fields without a gap.
        let dense = usize::try_from(number).ok()?.checked_sub(1).and_then(|index| self.fields.get(index));
        dense.filter(|field| field.number == number).or_else(|| {
            let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
            self.fields.get(index)
        })
    }

    /// By either spelling: lowerCamelCase or as in the proto.
    pub fn field_named(&self, name: &str) -> Option<&Field> {
        self.fields.get(self.position(name, 0)?)
    }

    /// Where in `fields` a name is, by either spelling. `after` is where to look first; it changes nothing but speed.
    pub fn position(&self, name: &str, after: usize) -> Option<usize> {
        let ahead = self.fields.iter().enumerate().skip(after).take(LOOK_AHEAD);
        let next =
            ahead.map(|(index, field)| (index, field.json_name.as_str())).find(|(_, next)| *next == name);
        next.map(|(index, _)| index).or_else(|| self.by_name.get(name))
    }
}

impl Field {
    /// Whether a list of it is one record on the wire.
    pub fn packed(&self) -> bool {
        let whole = match self.kind {
            Kind::Message(_) | Kind::Map(_) => true,
            Kind::Scalar(scalar) => matches!(scalar, Type::String | Type::Bytes | Type::Group),
            Kind::Enum(_) => false,
        };
        self.repeated && !whole
    }
}

impl EnumSchema {
    pub fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name)
    }

    pub fn name(&self, number: i32) -> Option<&str> {
        let index = self.by_number.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        self.by_number.get(index).map(|(_, name)| name.as_str())
    }
}

impl<T: Copy> Names<T> {
    fn new(names: impl Iterator<Item = (String, T)>) -> Self {
        let mut names: Vec<_> = names.collect();
        names.sort_by(|(one, _), (other, _)| rank(one).cmp(&rank(other)));
        names.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(names)
    }

    fn get(&self, name: &str) -> Option<T> {
        let index = self.0.binary_search_by(|(known, _)| rank(known).cmp(&rank(name))).ok()?;
        self.0.get(index).map(|(_, value)| *value)
    }
}

fn rank(name: &str) -> (usize, &str) {
    (name.len(), name)
}

fn form(full_name: &str) -> Form {
    match full_name {
        "google.protobuf.Any" => Form::Any,
        "google.protobuf.Duration" => Form::Duration,
        "google.protobuf.Timestamp" => Form::Timestamp,
        name if OTHER_FORMS.contains(&name) => Form::Other,
        _ => Form::Object,
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
