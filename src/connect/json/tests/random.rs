//! Random messages of any type, random edits of texts.

use proptest::{
    collection::vec,
    option,
    prelude::{Strategy, any},
    prop_oneof,
    sample::{Index, select},
    strategy::{BoxedStrategy, Just, Union},
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// How deep a type that contains itself is filled.
const DEPTH: usize = 2;

const ODD_STRINGS: [&str; 9] = [
    "",
    "\0\u{1}\u{1f}\u{7f}",
    "\"\\/\u{8}\u{c}\n\r\t",
    "\u{2028}\u{2029}\u{feff}\u{fffd}",
    "😀\u{10ffff}",
    "</script>",
    "null",
    "1e5",
    "0ed3e5a2-0f3c-4c8c-9d3b-0b0f3a4fb6a1",
];

/// Fragments that bend JSON where it matters.
const FRAGMENTS: [&str; 33] = [
    "null",
    "true",
    "0",
    "-",
    "-1",
    "1.0",
    "1e3",
    "1e400",
    "99999999999999999999",
    "\"\"",
    "\"1\"",
    "\"NaN\"",
    "\"+5s\"",
    "\"1.5s\"",
    "\"2024-05-06T07:08:09+02:00\"",
    "\"PREBUILD_PHASE_NEW\"",
    "\\ud800",
    "\\u0041",
    "\\",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "{}",
    "[]",
    "{\"x\":1},",
    "\"x\":[{}],",
    "\"@type\":\"a/test.Holder\",",
    "\"value\":{},",
    " ",
];

/// Values that some field might take in its own way.
const VALUES: [&str; 41] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "-2.5",
    "1e3",
    "1E-3",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "9007199254740993.0",
    "1e39",
    "\"\"",
    "\"0\"",
    "\"-1\"",
    "\"1.0\"",
    "\"1e3\"",
    "\"NaN\"",
    "\"-Infinity\"",
    "\"inf\"",
    "\"AQ\"",
    "\"-_8=\"",
    "\"1.5s\"",
    "\"-0.5s\"",
    "\"+7s\"",
    "\"315576000000s\"",
    "\"2024-05-06T07:08:09.5+02:00\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"PREBUILD_PHASE_RUNNING\"",
    "\"MOOD_GOOD\"",
    "\"PREBUILD_PHASE_NEW\"",
    "[]",
    "{}",
    "[null]",
    "{\"a\":null}",
    "{\"1\":\"1\",\"2\":2}",
    "{\"true\":true,\"@type\":\"a/google.protobuf.Duration\",\"value\":\"1s\"}",
];

/// One change of a text.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Truncate(Index),
    Set(Index, u8),
    Delete(Index, usize),
    Insert(Index, &'static str),
    Replace(Index, usize, &'static str),
    Copy(Index, Index, usize),
}

pub(super) fn message(descriptor: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
    message_to(descriptor, DEPTH)
}

pub(super) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let fragment = || select(&FRAGMENTS[..]);
    let edit = prop_oneof![
        1 => any::<Index>().prop_map(Edit::Truncate),
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (any::<Index>(), 1..8_usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        4 => (any::<Index>(), fragment()).prop_map(|(at, text)| Edit::Insert(at, text)),
        4 => (any::<Index>(), 0..12_usize, fragment()).prop_map(|(at, count, text)| Edit::Replace(at, count, text)),
        2 => (any::<Index>(), any::<Index>(), 1..40_usize).prop_map(|(from, to, count)| Edit::Copy(from, to, count)),
    ];
    vec(edit, 1..4)
}

/// Which value of a text to replace, and with what.
pub(super) fn swaps() -> impl Strategy<Value = Vec<(Index, &'static str)>> {
    vec((any::<Index>(), select(&VALUES[..])), 1..3)
}

pub(super) fn swap(swaps: &[(Index, &str)], json: &mut serde_json::Value) {
    for (index, value) in swaps {
        let mut leaves = 0;
        walk(json, &mut |_| leaves += 1);
        if leaves == 0 {
            return;
        }
        let mut left = index.index(leaves);
        walk(json, &mut |leaf| {
            if left == 0 {
                *leaf = serde_json::from_str(value).unwrap();
            }
            left = left.wrapping_sub(1);
        });
    }
}

/// Shows every value that is neither list nor object.
fn walk(json: &mut serde_json::Value, show: &mut impl FnMut(&mut serde_json::Value)) {
    match json {
        serde_json::Value::Object(map) => map.values_mut().for_each(|value| walk(value, show)),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|value| walk(value, show)),
        leaf => show(leaf),
    }
}

pub(super) fn apply(edits: &[Edit], bytes: &mut Vec<u8>) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let place = |index: &Index| index.index(bytes.len());
        let span = |start: usize, count: usize| start..(start + count).min(bytes.len());
        match edit {
            Edit::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Edit::Set(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Edit::Delete(at, count) => drop(bytes.drain(span(place(at), *count))),
            Edit::Insert(at, text) => {
                let at = place(at);
                bytes.splice(at..at, text.bytes());
            }
            Edit::Replace(at, count, text) => drop(bytes.splice(span(place(at), *count), text.bytes())),
            Edit::Copy(from, to, count) => {
                let (copy, to) = (bytes[span(place(from), *count)].to_vec(), place(to));
                bytes.splice(to..to, copy);
            }
        }
    }
}

fn message_to(descriptor: &MessageDescriptor, depth: usize) -> BoxedStrategy<DynamicMessage> {
    let fields: Vec<_> = descriptor.fields().filter(|field| depth > 0 || !is_own(field)).collect();
    let chance = if fields.len() > 20 { 0.2 } else { 0.7 };
    let values: Vec<_> = fields.iter().map(|field| option::weighted(chance, value(field, depth))).collect();
    let descriptor = descriptor.clone();
    values
        .prop_map(move |values| {
            let mut message = DynamicMessage::new(descriptor.clone());
            for (field, value) in fields.iter().zip(values) {
                if let Some(value) = value {
                    message.set_field(field, value);
                }
            }
            message
        })
        .boxed()
}

/// Whether the field's type is the message that it is in.
fn is_own(field: &FieldDescriptor) -> bool {
    let Kind::Message(inner) = field.kind() else { return false };
    let inner = if field.is_map() { inner.map_entry_value_field().kind() } else { Kind::Message(inner) };
    matches!(inner, Kind::Message(inner)
        if inner == *field.parent_message() || inner.full_name() == "google.protobuf.Any")
}

fn value(field: &FieldDescriptor, depth: usize) -> BoxedStrategy<Value> {
    let depth = if is_own(field) { depth.saturating_sub(1) } else { depth };
    let one = one(&field.kind(), depth);
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        // A key of its own for each entry, for the order of a map's entries is nobody's.
        return (self::one(&key.kind(), 0), self::value(&value, depth))
            .prop_map(|(key, value)| Value::Map([(map_key(key), value)].into()))
            .boxed();
    }
    if field.is_list() { vec(one, 0..4).prop_map(Value::List).boxed() } else { one }
}

fn one(kind: &Kind, depth: usize) -> BoxedStrategy<Value> {
    match kind {
        Kind::Double => prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits)]
            .prop_filter_map("NaN equals nothing", |value| (!value.is_nan()).then_some(Value::F64(value)))
            .boxed(),
        Kind::Float => prop_oneof![any::<f32>(), any::<u32>().prop_map(f32::from_bits)]
            .prop_filter_map("NaN equals nothing", |value| (!value.is_nan()).then_some(Value::F32(value)))
            .boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            prop_oneof![any::<i32>(), select(vec![0, 1, -1, i32::MIN, i32::MAX])].prop_map(Value::I32).boxed()
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            prop_oneof![any::<i64>(), select(vec![0, 1, -1, i64::MIN, i64::MAX])].prop_map(Value::I64).boxed()
        }
        Kind::Uint32 | Kind::Fixed32 => {
            prop_oneof![any::<u32>(), select(vec![0, 1, u32::MAX])].prop_map(Value::U32).boxed()
        }
        Kind::Uint64 | Kind::Fixed64 => {
            prop_oneof![any::<u64>(), select(vec![0, 1, u64::MAX])].prop_map(Value::U64).boxed()
        }
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => prop_oneof![
            any::<String>(),
            vec(any::<char>(), 0..6).prop_map(String::from_iter),
            select(&ODD_STRINGS[..]).prop_map(str::to_owned),
            "[a-z]{120,140}",
        ]
        .prop_map(Value::String)
        .boxed(),
        Kind::Bytes => vec(any::<u8>(), 0..8).prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
        Kind::Enum(descriptor) => {
            let known: Vec<_> = descriptor.values().map(|value| value.number()).collect();
            prop_oneof![9 => select(known), 1 => any::<i32>()].prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(descriptor) => match descriptor.full_name() {
            "google.protobuf.Duration" => time(descriptor, duration().boxed()),
            "google.protobuf.Timestamp" => time(descriptor, timestamp().boxed()),
            "google.protobuf.Any" => any_message(descriptor, depth),
            _ => message_to(descriptor, depth).prop_map(Value::Message).boxed(),
        },
    }
}

fn map_key(key: Value) -> MapKey {
    match key {
        Value::Bool(key) => MapKey::Bool(key),
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        other => panic!("{other:?} as a key"),
    }
}

/// Something of the pool; at the end of its depth nothing that holds an `Any` again.
fn any_message(descriptor: &MessageDescriptor, depth: usize) -> BoxedStrategy<Value> {
    let names: &'static [&'static str] = match depth {
        0 => &["google.protobuf.Duration", "google.protobuf.Timestamp"],
        _ => &["google.protobuf.Duration", "google.protobuf.Any", "test.Everything", "test.Holder"],
    };
    let held = names.iter().map(|name| {
        let inner = descriptor.parent_pool().get_message_by_name(name).unwrap();
        let any = descriptor.clone();
        one(&Kind::Message(inner), depth.saturating_sub(1)).prop_map(move |content| {
            let mut any = DynamicMessage::new(any.clone());
            any.set_field_by_number(1, Value::String(format!("type.googleapis.com/{name}")));
            let content = content.as_message().unwrap().encode_to_vec();
            any.set_field_by_number(2, Value::Bytes(content.into()));
            Value::Message(any)
        })
    });
    Union::new(held).boxed()
}

fn nanos() -> impl Strategy<Value = i32> {
    prop_oneof![
        Just(0),
        (0..1_000).prop_map(|nanos| nanos * 1_000_000),
        (0..1_000_000).prop_map(|nanos| nanos * 1_000),
        0..1_000_000_000,
    ]
}

fn duration() -> impl Strategy<Value = (i64, i32)> {
    let seconds = prop_oneof![Just(0), 0..=7200_i64, Just(315_576_000_000), 0..=315_576_000_000_i64];
    (seconds, nanos(), any::<bool>()).prop_map(|(seconds, nanos, negative)| {
        // The reference implementation does not go beyond the last whole second.
        let nanos = if seconds == 315_576_000_000 { 0 } else { nanos };
        if negative { (-seconds, -nanos) } else { (seconds, nanos) }
    })
}

fn timestamp() -> impl Strategy<Value = (i64, i32)> {
    let edges = select(vec![0, -1, -62_135_596_800, 253_402_300_799]);
    (prop_oneof![edges, -62_135_596_800..=253_402_300_799_i64, 1_600_000_000..1_900_000_000_i64], nanos())
}

fn time(descriptor: &MessageDescriptor, parts: BoxedStrategy<(i64, i32)>) -> BoxedStrategy<Value> {
    let descriptor = descriptor.clone();
    parts
        .prop_map(move |(seconds, nanos)| {
            let mut message = DynamicMessage::new(descriptor.clone());
            message.set_field_by_number(1, Value::I64(seconds));
            message.set_field_by_number(2, Value::I32(nanos));
            Value::Message(message)
        })
        .boxed()
}
