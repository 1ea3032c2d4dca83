//! Entries whose values are tables themselves: mode and share stand among their keys.

use std::{borrow::Cow, num::NonZeroU32, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::entry::{Entry, Form, Span, table};
use crate::rule::{Mode, Rate, Share};

/// So many creations of prebuilds in any stretch of so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Creates {
    /// 0 to 10000.
    pub count: i64,
    /// 1 s to 31 days.
    pub window: Span,
}

/// A rate
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateTable {
    /// Calls per second, minute or hour, 1 to 1000000: one of the three.
    #[serde(default)]
    per_second: Option<NonZeroU32>,
    #[serde(default)]
    per_minute: Option<NonZeroU32>,
    #[serde(default)]
    per_hour: Option<NonZeroU32>,
    /// Calls at once, 1 to 1000000.
    burst: NonZeroU32,
    /// What becomes of calls that break it. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
    /// Of the calls, above 0 and at most 1, the mode is for; the others are audited. Default: 1.
    #[serde(default)]
    share: Share,
    /// Looked at beside it, as if in mode `audit`.
    #[serde(default)]
    candidate: Option<Rate>,
    /// For those who want to know more: an https URL of at most 512 characters.
    #[serde(default)]
    link: Option<Arc<str>>,
}

/// Creations
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreatesTable {
    /// 0 to 10000.
    count: i64,
    /// 1 s to 31 days.
    window: Span,
    /// What becomes of calls that break it. Default: `enforce`.
    #[serde(default)]
    mode: Mode,
    /// Of the calls, above 0 and at most 1, the mode is for; the others are audited. Default: 1.
    #[serde(default)]
    share: Share,
    /// Looked at beside it, as if in mode `audit`.
    #[serde(default)]
    candidate: Option<Creates>,
    /// For those who want to know more: an https URL of at most 512 characters.
    #[serde(default)]
    link: Option<Arc<str>>,
}

impl Form for Rate {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry<Self>, D::Error> {
        let RateTable { per_second, per_minute, per_hour, burst, mode, share, candidate, link } =
            table::<RateTable, D>(deserializer, "a table like { per_second = 50, burst = 100 }")?;
        let value = Self::of([per_second, per_minute, per_hour], burst).map_err(D::Error::custom)?;
        Ok(Entry { value, mode, share, candidate, link })
    }

    fn name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<RateTable>()
    }
}

impl Form for Creates {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry<Self>, D::Error> {
        let CreatesTable { count, window, mode, share, candidate, link } =
            table::<CreatesTable, D>(deserializer, "a table like { count = 20, window = \"1h\" }")?;
        Ok(Entry { value: Self { count, window }, mode, share, candidate, link })
    }

    fn name() -> Cow<'static, str> {
        "Creates".into()
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<CreatesTable>()
    }
}
