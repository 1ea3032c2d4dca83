//! Changes in a JSON text that leave the rest as it came: what the schema does not know stays, to the byte.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Error, value::RawValue};

use crate::rpc::Field;

/// The members of an object as they stand there.
struct Members<'j>(Vec<(String, &'j RawValue)>);

/// The object with one member changed: `change` gets its text, if it is there, and gives the new one, or none to leave
/// it out. A member that is not there is added at the end.
///
/// # Errors
/// The text is no object, or has the member twice, in whatever spelling: one of them would go unseen.
pub fn member<'t>(
    text: &'t str,
    field: &Field,
    change: impl FnOnce(Option<&'t str>) -> Result<Option<Cow<'t, str>>, Error>,
) -> Result<String, Error> {
    let Members(members) = serde_json::from_str(text)?;
    let is_it = |name: &str| name == field.name || name == field.json_name;
    let mut found = members.iter().filter(|(name, _)| is_it(name));
    let old = found.next().map(|(_, value)| value.get());
    if found.next().is_some() {
        return Err(Error::custom("a member stands twice"));
    }
    let new = change(old)?;
    let kept = members.iter().filter_map(|(name, value)| {
        let value = if is_it(name) { new.as_deref()? } else { value.get() };
        Some((name.as_str(), value))
    });
    let added = new.as_deref().filter(|_| old.is_none()).map(|value| (field.json_name.as_str(), value));
    let mut written = String::with_capacity(text.len());
    for (name, value) in kept.chain(added) {
        written.push(if written.is_empty() { '{' } else { ',' });
        written.push_str(&serde_json::to_string(name)?);
        written.push(':');
        written.push_str(value);
    }
    written.push_str(if written.is_empty() { "{}" } else { "}" });
    Ok(written)
}

/// The array with its items changed: `change` gets the position and the text of each, and gives the new one, or none to
/// leave it out.
///
/// # Errors
/// The text is no array.
pub fn items<'t>(
    text: &'t str,
    mut change: impl FnMut(usize, &'t str) -> Result<Option<Cow<'t, str>>, Error>,
) -> Result<String, Error> {
    let items: Vec<&RawValue> = serde_json::from_str(text)?;
    let mut written = String::with_capacity(text.len());
    for (index, item) in items.into_iter().enumerate() {
        if let Some(item) = change(index, item.get())? {
            written.push(if written.is_empty() { '[' } else { ',' });
            written.push_str(&item);
        }
    }
    written.push_str(if written.is_empty() { "[]" } else { "]" });
    Ok(written)
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
