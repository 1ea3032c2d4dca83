//! When a credential ends.

use std::{fmt, time::SystemTime};

use prost_types::Timestamp;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::value::Datetime;

/// A time by RFC 3339, written as a string or as TOML's own offset date-time.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Expiry {
    at: SystemTime,
    /// As it is written.
    text: String,
}

/// The text is no time, or one without an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time by RFC 3339 with its offset, like \"2027-01-31T00:00:00Z\"")]
pub struct NotATime;

/// Takes either form.
struct Either;

impl Expiry {
    /// Whether it is still to come.
    pub fn is_after(&self, now: SystemTime) -> bool {
        self.at > now
    }
}

impl TryFrom<&str> for Expiry {
    type Error = NotATime;

    fn try_from(text: &str) -> Result<Self, NotATime> {
        // Of the two libraries one knows the form exactly, and the other one the calendar.
        let time: Datetime = text.parse().map_err(|_| NotATime)?;
        if time.date.is_none() || time.time.is_none() || time.offset.is_none() {
            return Err(NotATime);
        }
        let text = time.to_string();
        let at: Timestamp = text.parse().map_err(|_| NotATime)?;
        let at = at.try_into().map_err(|_| NotATime)?;
        Ok(Self { at, text })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Visitor<'de> for Either {
    type Value = Expiry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time by RFC 3339")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expiry, E> {
        text.try_into().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expiry, A::Error> {
        let time = Datetime::deserialize(MapAccessDeserializer::new(map))?;
        time.to_string().as_str().try_into().map_err(A::Error::custom)
    }
}
