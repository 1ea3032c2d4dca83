//! The proto3 JSON scalars that serde does not know: lenient in, canonical out.

use std::{fmt, marker::PhantomData, time::SystemTime};

use humantime_serde::re::humantime;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

const NANOS: i128 = 1_000_000_000;

/// The range of `google.protobuf.Duration`: 10,000 years of seconds, either way.
const MAX_SECONDS: i128 = 315_576_000_000;

/// A message: a JSON object and nothing else (serde's own structs would also take an array).
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

/// `int32`: a number, or a string of one; whole, even if written `2.0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Int32(pub(super) i32);

/// `google.protobuf.Duration`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(i128);

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp(pub(super) SystemTime);

/// `int64` and `uint64`, which JSON writes as a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long(pub(super) u64);

/// An enum value in a request: its name or its number, which may be one that is not defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open<E> {
    Defined(E),
    Undefined(i32),
}

/// An enum of the schema.
pub(super) trait Enum: Copy + 'static {
    /// Every value with its number and its name.
    const VALUES: &'static [(Self, i32, &'static str)];
}

/// Writes an enum with its numbers and names, `Serialize` by name included.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant),+ }

        impl $crate::sandbox::scalar::Enum for $name {
            const VALUES: &'static [(Self, i32, &'static str)] = &[$((Self::$variant, $number, $text)),+];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}
pub(super) use wire_enum;

struct ObjectVisitor<T>(PhantomData<T>);
struct Int32Visitor;
struct OpenVisitor<E>(PhantomData<E>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

impl<'de> Deserialize<'de> for Int32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int32Visitor).map(Self)
    }
}

impl Visitor<'_> for Int32Visitor {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 32-bit whole number")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i32, E> {
        i32::try_from(value).map_err(|_| E::custom("out of the range of int32"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i32, E> {
        i32::try_from(value).map_err(|_| E::custom("out of the range of int32"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i32, E> {
        let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
        if !fits || value.fract() != 0.0 {
            return Err(E::custom("not a whole number in the range of int32"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range, as just seen")]
        Ok(value as i32)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<i32, E> {
        value.parse().map_err(|_| E::custom("not a whole number in the range of int32"))
    }
}

impl Span {
    pub(super) const fn seconds(seconds: u32) -> Self {
        Self(seconds as i128 * NANOS)
    }

    /// As the standard library has it; `None` below zero.
    pub(super) fn duration(self) -> Option<std::time::Duration> {
        u64::try_from(self.0 / NANOS)
            .ok()
            .zip(u32::try_from(self.0 % NANOS).ok())
            .map(|(seconds, nanos)| std::time::Duration::new(seconds, nanos))
    }

    fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_suffix('s')? {
            rest if rest.starts_with('-') => (-1, &rest[1..]),
            rest => (1, rest.strip_prefix('+').unwrap_or(rest)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let written = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !written(whole) || !written(fraction) || fraction.len() > 9 || whole.len() > 18 {
            return None;
        }
        let nanos = format!("{fraction:0<9}").parse::<i128>().ok()?;
        let span = sign * (whole.parse::<i128>().ok()? * NANOS + nanos);
        (span.abs() <= MAX_SECONDS * NANOS).then_some(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (seconds, nanos) = (self.0.abs() / NANOS, self.0.abs() % NANOS);
        match nanos {
            0 => write!(f, "{sign}{seconds}s"),
            _ if nanos % 1_000_000 == 0 => write!(f, "{sign}{seconds}.{:03}s", nanos / 1_000_000),
            _ if nanos % 1_000 == 0 => write!(f, "{sign}{seconds}.{:06}s", nanos / 1_000),
            _ => write!(f, "{sign}{seconds}.{nanos:09}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a google.protobuf.Duration"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339(self.0))
    }
}

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, E: Enum> Deserialize<'de> for Open<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpenVisitor(PhantomData))
    }
}

impl<E: Enum> OpenVisitor<E> {
    fn number(number: i32) -> Open<E> {
        let known = E::VALUES.iter().find(|(_, value, _)| *value == number);
        known.map_or(Open::Undefined(number), |(known, ..)| Open::Defined(*known))
    }
}

impl<E: Enum> Visitor<'_> for OpenVisitor<E> {
    type Value = Open<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or the number of an enum value")
    }

    fn visit_i64<X: de::Error>(self, value: i64) -> Result<Self::Value, X> {
        Int32Visitor.visit_i64(value).map(Self::number)
    }

    fn visit_u64<X: de::Error>(self, value: u64) -> Result<Self::Value, X> {
        Int32Visitor.visit_u64(value).map(Self::number)
    }

    fn visit_f64<X: de::Error>(self, value: f64) -> Result<Self::Value, X> {
        Int32Visitor.visit_f64(value).map(Self::number)
    }

    fn visit_str<X: de::Error>(self, value: &str) -> Result<Self::Value, X> {
        let known = E::VALUES.iter().find(|(_, _, name)| *name == value);
        known.map(|(known, ..)| Open::Defined(*known)).ok_or_else(|| X::custom("not a value of the enum"))
    }
}
