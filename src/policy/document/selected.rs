//! What is allowed and denied by name.

use std::{borrow::Cow, fmt, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::entry::{Entry, Form, table};
use crate::rule::{Mode, Share};

/// Names, ids or methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selected {
    /// Only these, one or more, or `"any"`.
    pub allow: Option<Allow>,
    /// And none of these.
    pub deny: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    Any,
    Only(Vec<String>),
}

/// Selected
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SelectedTable {
    /// Only these, one or more, or `"any"`.
    #[serde(default)]
    allow: Option<Allow>,
    /// And none of these.
    #[serde(default)]
    deny: Vec<String>,
    /// What becomes of calls that break it. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
    /// Of the calls, above 0 and at most 1, the mode is for; the others are audited. Default: 1.
    #[serde(default)]
    share: Share,
    /// Looked at beside it, as if in mode `audit`.
    #[serde(default)]
    candidate: Option<Selected>,
    /// For those who want to know more: an https URL of at most 512 characters.
    #[serde(default)]
    link: Option<Arc<str>>,
}

struct Allowing;

impl Form for Selected {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry<Self>, D::Error> {
        let SelectedTable { allow, deny, mode, share, candidate, link } =
            table::<SelectedTable, D>(deserializer, "a table with `allow` or `deny`")?;
        Ok(Entry { value: Self { allow, deny }, mode, share, candidate, link })
    }

    fn name() -> Cow<'static, str> {
        "Selected".into()
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<SelectedTable>()
    }
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Allowing)
    }
}

impl<'de> Visitor<'de> for Allowing {
    type Value = Allow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or \"any\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Allow, E> {
        match text {
            "any" => Ok(Allow::Any),
            _ => Err(E::custom("must be a list, or \"any\"")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Allow, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Allow::Only)
    }
}

impl JsonSchema for Allow {
    fn schema_name() -> Cow<'static, str> {
        "Allow".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "const": "any" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ]
        })
    }
}
