//! One entry: a value, bare or in a table with what becomes of calls that break it.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::rule::{Mode, Share};

/// A limit as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub value: T,
    pub mode: Mode,
    pub share: Share,
    /// Tried beside it.
    pub candidate: Option<T>,
    pub link: Option<Arc<str>>,
}

/// A length of time, like `"45m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub Duration,
);

/// What can be written as an entry.
pub trait Form: Sized {
    /// # Errors
    /// It is not of its form.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry<Self>, D::Error>;

    fn name() -> Cow<'static, str>;

    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A single value in a table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de>"))]
struct Table<T> {
    value: T,
    /// What becomes of calls that break it. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
    /// Of the calls, above 0 and at most 1, the mode is for; the others are audited. Default: 1.
    #[serde(default)]
    share: Share,
    /// Looked at beside `value`, as if in mode `audit`.
    #[serde(default)]
    candidate: Option<T>,
    /// For those who want to know more: an https URL of at most 512 characters.
    #[serde(default)]
    link: Option<Arc<str>>,
}

/// Reads either.
struct Either<T>(PhantomData<T>);

/// Reads a table alone, whatever other forms serde knows for a struct; `.0` says what is expected.
struct Alone<T>(&'static str, PhantomData<T>);

impl<'de, T: Form> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer)
    }
}

impl<T: Form> JsonSchema for Entry<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Entry", T::name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = Entry<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a table with `value`")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Entry<T>, E> {
        T::deserialize(number.into_deserializer()).map(Entry::bare)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry<T>, E> {
        T::deserialize(text.into_deserializer()).map(Entry::bare)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Entry<T>, E> {
        T::deserialize(number.into_deserializer()).map(Entry::bare)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Entry<T>, E> {
        T::deserialize(flag.into_deserializer()).map(Entry::bare)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry<T>, A::Error> {
        let Table { value, mode, share, candidate, link } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Entry { value, mode, share, candidate, link })
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Alone<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// # Errors
/// It is no table, or not of this form.
pub(super) fn table<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(Alone(expected, PhantomData))
}

impl<T> Entry<T> {
    /// As it is without a table around it.
    pub fn bare(value: T) -> Self {
        Self { value, mode: Mode::default(), share: Share::default(), candidate: None, link: None }
    }
}

macro_rules! either {
    ($($value:ty),*) => {
        $(impl Form for $value {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry<Self>, D::Error> {
                deserializer.deserialize_any(Either(PhantomData))
            }

            fn name() -> Cow<'static, str> {
                <Self as JsonSchema>::schema_name()
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                let (bare, table) =
                    (generator.subschema_for::<Self>(), generator.subschema_for::<Table<Self>>());
                json_schema!({ "anyOf": [bare, table] })
            }
        })*
    };
}

either!(i64, Span);
