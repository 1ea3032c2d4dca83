//! Properties against `prost-reflect`, a canonical implementation by other hands. `PROPTEST_CASES` sets how many.

use std::sync::LazyLock;

use proptest::{
    prelude::{ProptestConfig, Strategy, any},
    prop_assert, prop_assert_eq, prop_assume, proptest,
    strategy::Union,
};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value,
};

use super::{
    super::{Duplicates, unknown_fields},
    Case, everything,
    random::{apply, edits, message, swap, swaps},
};
use crate::rpc::PREBUILD_METHODS;

/// A random message, and which of [`CASES`] it is of.
type Sample = (usize, DynamicMessage);

static CASES: LazyLock<Vec<(Case, MessageDescriptor)>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
    let rows = PREBUILD_METHODS.iter().flat_map(|row| [row.input, row.output]);
    let mut cases: Vec<_> = rows
        .map(|name| {
            let case = Case::gitpod(name.trim_start_matches("gitpod.v1."));
            (case, pool.get_message_by_name(name).unwrap())
        })
        .collect();
    let pool = DescriptorPool::decode(everything::descriptors()).unwrap();
    cases.push((Case::everything(), pool.get_message_by_name("test.Everything").unwrap()));
    cases.push((Case::holder(), pool.get_message_by_name("test.Holder").unwrap()));
    cases
});

fn sample() -> impl Strategy<Value = Sample> {
    Union::new(CASES.iter().enumerate().map(|(index, (_, descriptor))| {
        message(descriptor).prop_map(move |message| (index, message)).boxed()
    }))
}

fn case(sample: &Sample) -> Case {
    CASES[sample.0].0
}

fn reference_json(message: &DynamicMessage, options: &SerializeOptions) -> String {
    let mut json = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), options).unwrap();
    String::from_utf8(json).unwrap()
}

fn reference_read(sample: &Sample, json: &[u8]) -> Option<DynamicMessage> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let read = DynamicMessage::deserialize_with_options(sample.1.descriptor(), &mut deserializer, &options);
    read.ok().filter(|_| deserializer.end().is_ok())
}

/// What the bytes mean, by the reference implementation.
fn meant(sample: &Sample, wire: &[u8]) -> String {
    meaning(&DynamicMessage::decode(sample.1.descriptor(), wire).unwrap())
}

/// The fields of a message in a form of no order, which tells presence and negative zeros apart.
fn meaning(message: &DynamicMessage) -> String {
    let any = message.descriptor();
    if let Some(held) = held(message) {
        return format!("{} {:?} {}", any.full_name(), message.get_field_by_number(1), meaning(&held));
    }
    let mut fields: Vec<_> = message
        .fields()
        .map(|(field, value)| format!("{}={}", field.number(), value_meaning(value)))
        .collect();
    fields.sort();
    fields.join(";")
}

fn value_meaning(value: &Value) -> String {
    match value {
        Value::Message(message) => format!("({})", meaning(message)),
        Value::List(list) => format!("[{}]", list.iter().map(value_meaning).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(key, value)| format!("{key:?}: {}", value_meaning(value))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        scalar => format!("{scalar:?}"),
    }
}

/// What an `Any` holds.
fn held(message: &DynamicMessage) -> Option<DynamicMessage> {
    let any = message.descriptor();
    let (url, value) = (message.get_field_by_number(1)?, message.get_field_by_number(2)?);
    let name = url.as_str().filter(|_| any.full_name() == "google.protobuf.Any")?.rsplit_once('/')?.1;
    let inner = any.parent_pool().get_message_by_name(name)?;
    DynamicMessage::decode(inner, value.as_bytes()?.clone()).ok()
}

/// What a text means to us and to them, where both accept it and differ.
fn disagreement(sample: &Sample, json: &[u8]) -> Option<(String, String, String)> {
    let (ours, _) = case(sample).read_bytes(json, Duplicates::Reject).ok()?;
    let ours = meant(sample, &ours);
    let theirs = meaning(&reference_read(sample, json)?);
    (ours != theirs).then(|| (ours, theirs, String::from_utf8_lossy(json).into_owned()))
}

/// The same message as it might look after a few releases: every object has a key more.
fn with_news(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.values_mut().for_each(with_news);
            map.insert("news".to_owned(), serde_json::json!({"a": [1.5, null, {"id": "x"}], "id": "y"}));
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(with_news),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn our_json_is_the_canonical_one(sample in sample()) {
        let ours = case(&sample).write(&sample.1.encode_to_vec()).unwrap();
        let read = reference_read(&sample, ours.as_bytes());
        prop_assert_eq!(read.as_ref().map(meaning), Some(meant(&sample, &sample.1.encode_to_vec())), "{}", ours);
        let theirs: serde_json::Value =
            serde_json::from_str(&reference_json(&sample.1, &SerializeOptions::new())).unwrap();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), theirs);
    }

    #[test]
    fn every_spelling_of_theirs_is_read_alike(
        sample in sample(), numbers in any::<bool>(), names in any::<bool>(), whole in any::<bool>(),
        defaults in any::<bool>(),
    ) {
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(!whole)
            .use_enum_numbers(numbers)
            .use_proto_field_name(names)
            .skip_default_fields(!defaults);
        let theirs = reference_json(&sample.1, &options);
        let (wire, drift) = case(&sample).read_bytes(theirs.as_bytes(), Duplicates::Reject).unwrap();
        prop_assert!(drift.is_empty(), "{:?}", drift);
        prop_assert_eq!(meant(&sample, &wire), meaning(&sample.1), "{}", theirs);
    }

    #[test]
    fn there_and_back_is_the_identity(sample in sample()) {
        let wire = sample.1.encode_to_vec();
        let json = case(&sample).write(&wire).unwrap();
        let (back, drift) = case(&sample).read_bytes(json.as_bytes(), Duplicates::Reject).unwrap();
        prop_assert!(drift.is_empty());
        prop_assert_eq!(meant(&sample, &back), meant(&sample, &wire), "{}", json);
        // A map's entries may leave defaults out or not.
        prop_assert!(back == wire || case(&sample).message.full_name == "test.Holder", "{}", json);
    }

    #[test]
    fn news_changes_nothing_and_is_noticed(sample in sample()) {
        // One key more is an entry more to a map.
        prop_assume!(case(&sample).message.full_name != "test.Holder");
        let wire = sample.1.encode_to_vec();
        let mut json = serde_json::from_str(&case(&sample).write(&wire).unwrap()).unwrap();
        with_news(&mut json);
        let (back, drift) = case(&sample).read(&json.to_string()).unwrap();
        prop_assert!(drift.fields.iter().all(|item| item.name == "news") && !drift.fields.is_empty());
        prop_assert_eq!(meant(&sample, &back), meaning(&sample.1));
    }

    #[test]
    fn edited_json_never_panics_and_never_means_something_else(sample in sample(), edits in edits()) {
        let mut json = case(&sample).write(&sample.1.encode_to_vec()).unwrap().into_bytes();
        apply(&edits, &mut json);
        if let Ok((wire, _)) = case(&sample).read_bytes(&json, Duplicates::LastWins) {
            prop_assert!(DynamicMessage::decode(sample.1.descriptor(), &wire[..]).is_ok());
        }
        prop_assert_eq!(disagreement(&sample, &json), None);
    }

    #[test]
    fn other_values_never_mean_something_else(sample in sample(), swaps in swaps()) {
        let mut json = serde_json::from_str(&case(&sample).write(&sample.1.encode_to_vec()).unwrap()).unwrap();
        swap(&swaps, &mut json);
        prop_assert_eq!(disagreement(&sample, json.to_string().as_bytes()), None);
    }

    #[test]
    fn edited_wire_bytes_never_panic_and_unknown_fields_are_found(sample in sample(), edits in edits()) {
        let case = case(&sample);
        let mut wire = sample.1.encode_to_vec();
        prop_assert_eq!(unknown_fields(case.schema, case.message, &wire), Ok(vec![]));
        apply(&edits, &mut wire);
        if let Ok(json) = case.write(&wire) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
        let unknown = unknown_fields(case.schema, case.message, &wire);
        // To a decoder what an `Any` holds is mere bytes.
        let holds_any = case.message.full_name == "test.Holder";
        if unknown.is_err() && holds_any {
            return Ok(());
        }
        if let Ok(theirs) = DynamicMessage::decode(sample.1.descriptor(), &wire[..]) {
            let at_top = |path: &String| path.starts_with('#');
            let ours = unknown.unwrap_or_default();
            prop_assert_eq!(ours.iter().any(at_top), theirs.unknown_fields().next().is_some(), "{:?}", ours);
        }
    }
}
