//! A list without some of its objects: what stays is as it came, in both forms.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    call::Reply,
    connect::json::to_json,
    error::{Error, Reason},
    rpc::{Field, MethodSpec},
};

/// The members of a JSON object as they stand there.
struct Members<'j>(Vec<(String, &'j RawValue)>);

/// The answer with the objects that `keep` says, by position.
///
/// # Errors
/// The answer is not what it was when it was read.
pub(super) fn retain(method: &'static MethodSpec, reply: Reply, keep: &[bool]) -> Result<Reply, Error> {
    let invalid = || Error::refuse(Reason::UpstreamInvalidResponse);
    let (field, output) = method.listed().zip(method.output()).ok_or_else(invalid)?;
    let wire = method.retain(&reply.wire, keep).map_err(|error| invalid().with_source(error))?;
    // A text that does not show the objects that were judged must not go on: it is written anew.
    let json = match text(&reply.json, field, keep) {
        Some(json) => json,
        None => to_json((method.schema)(), output, &wire).map_err(|error| invalid().with_source(error))?,
    };
    let seen = method.view(&wire).map_err(|error| invalid().with_source(error))?;
    Ok(Reply { json: json.into(), wire, seen, ..reply })
}

/// `None` if the text has another list than the one that was judged.
fn text(json: &[u8], field: &Field, keep: &[bool]) -> Option<Vec<u8>> {
    let Members(members) = serde_json::from_slice(json).ok()?;
    let mut text = Vec::with_capacity(json.len());
    let mut judged = false;
    text.push(b'{');
    for (name, value) in members {
        if text.len() > 1 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &name).ok()?;
        text.push(b':');
        if name != field.name && name != field.json_name {
            text.extend_from_slice(value.get().as_bytes());
            continue;
        }
        if judged {
            return None;
        }
        judged = true;
        let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        if items.len() != keep.len() {
            return None;
        }
        let kept = items.iter().zip(keep).filter(|(_, keep)| **keep).map(|(item, _)| item.get());
        text.push(b'[');
        text.extend_from_slice(kept.collect::<Vec<_>>().join(",").as_bytes());
        text.push(b']');
    }
    text.push(b'}');
    judged.then_some(text)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Read)
    }
}
