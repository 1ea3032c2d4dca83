//! Single values: between the wire, JSON and what they are.

use std::{borrow::Cow, str::from_utf8};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::Type;
use serde::Serialize;
use serde_json::Number;

use super::{
    problem::{ReadProblem, WireError, WriteProblem},
    wire::Value,
};

/// Every JSON writer's dialect of base64: with padding or without.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// 2^53: from there on a JSON number with a fraction or an exponent may have been rounded on its way through `f64`, and
/// a rounded integer is a wrong one.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// A scalar value. Enums are `I32`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Text(&'a str),
    Bytes(Cow<'a, [u8]>),
}

/// A JSON value that is neither null, list nor object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "protobuf: 32-bit types take the low bits of a longer varint"
    )]
    pub(super) fn from_wire(kind: Type, value: Value<'a>) -> Result<Self, WriteProblem> {
        Ok(match (kind, value) {
            (Type::Bool, Value::Varint(raw)) => Self::Bool(raw != 0),
            (Type::Int32 | Type::Enum, Value::Varint(raw)) => Self::I32(raw as i32),
            (Type::Uint32, Value::Varint(raw)) => Self::U32(raw as u32),
            (Type::Sint32, Value::Varint(raw)) => Self::I32(unzigzag(u64::from(raw as u32)) as i32),
            (Type::Int64, Value::Varint(raw)) => Self::I64(raw.cast_signed()),
            (Type::Uint64, Value::Varint(raw)) => Self::U64(raw),
            (Type::Sint64, Value::Varint(raw)) => Self::I64(unzigzag(raw)),
            (Type::Fixed32, Value::Fixed32(raw)) => Self::U32(raw),
            (Type::Sfixed32, Value::Fixed32(raw)) => Self::I32(raw.cast_signed()),
            (Type::Float, Value::Fixed32(raw)) => Self::F32(f32::from_bits(raw)),
            (Type::Fixed64, Value::Fixed64(raw)) => Self::U64(raw),
            (Type::Sfixed64, Value::Fixed64(raw)) => Self::I64(raw.cast_signed()),
            (Type::Double, Value::Fixed64(raw)) => Self::F64(f64::from_bits(raw)),
            (Type::String, Value::Bytes(raw)) => Self::Text(from_utf8(raw).map_err(|_| WriteProblem::Utf8)?),
            (Type::Bytes, Value::Bytes(raw)) => Self::Bytes(Cow::Borrowed(raw)),
            (Type::Group, _) => return Err(WriteProblem::Unsupported),
            _ => return Err(WireError::Malformed.into()),
        })
    }

    pub(super) fn from_json(kind: Type, token: Token<'a>) -> Result<Self, ReadProblem> {
        Ok(match (kind, token) {
            (Type::Bool, Token::Bool(value)) => Self::Bool(value),
            (Type::String, Token::Text(text)) => Self::Text(text),
            (Type::Bytes, Token::Text(text)) => Self::Bytes(Cow::Owned(unbase64(text)?)),
            (Type::Bool | Type::String | Type::Bytes, _) => return Err(ReadProblem::Type),
            (Type::Int32 | Type::Sint32 | Type::Sfixed32 | Type::Enum, token) => Self::I32(integer(token)?),
            (Type::Uint32 | Type::Fixed32, token) => Self::U32(integer(token)?),
            (Type::Int64 | Type::Sint64 | Type::Sfixed64, token) => Self::I64(integer(token)?),
            (Type::Uint64 | Type::Fixed64, token) => Self::U64(integer(token)?),
            (Type::Float, token) => Self::F32(single(token)?),
            (Type::Double, token) => Self::F64(double(token)?),
            (Type::Group | Type::Message, _) => return Err(ReadProblem::Unsupported),
        })
    }

    /// Whether it is what an absent field stands for. (Negative zero is not.)
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::I32(value) => *value == 0,
            Self::U32(value) => *value == 0,
            Self::I64(value) => *value == 0,
            Self::U64(value) => *value == 0,
            Self::F32(value) => value.to_bits() == 0,
            Self::F64(value) => value.to_bits() == 0,
            Self::Text(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
        }
    }

    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => json(out, value),
            Self::I32(value) => json(out, value),
            Self::U32(value) => json(out, value),
            Self::I64(value) => quoted(out, |out| json(out, value)),
            Self::U64(value) => quoted(out, |out| json(out, value)),
            Self::F32(value) if value.is_finite() => json(out, value),
            Self::F32(value) => json(out, not_finite(f64::from(*value))),
            Self::F64(value) if value.is_finite() => json(out, value),
            Self::F64(value) => json(out, not_finite(*value)),
            Self::Text(value) => json(out, value),
            Self::Bytes(value) => json(out, &general_purpose::STANDARD.encode(value)),
        }
    }

    /// Writes the value without its key; `kind` tells integers of one type apart.
    pub(super) fn write_wire(&self, kind: Type, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::I32(value) if kind == Type::Sfixed32 => out.extend(value.to_le_bytes()),
            Self::I32(value) if kind == Type::Sint32 => encode_varint(zigzag(i64::from(*value)), out),
            Self::I32(value) => encode_varint(i64::from(*value).cast_unsigned(), out),
            Self::U32(value) if kind == Type::Fixed32 => out.extend(value.to_le_bytes()),
            Self::U32(value) => encode_varint(u64::from(*value), out),
            Self::I64(value) if kind == Type::Sfixed64 => out.extend(value.to_le_bytes()),
            Self::I64(value) if kind == Type::Sint64 => encode_varint(zigzag(*value), out),
            Self::I64(value) => encode_varint(value.cast_unsigned(), out),
            Self::U64(value) if kind == Type::Fixed64 => out.extend(value.to_le_bytes()),
            Self::U64(value) => encode_varint(*value, out),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Text(value) => delimited(value.as_bytes(), out),
            Self::Bytes(value) => delimited(value, out),
        }
    }
}

/// Appends a value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a plain value to memory cannot fail.
    serde_json::to_writer(out, value).ok();
}

/// Appends something between quotes.
pub(super) fn quoted(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    content(out);
    out.push(b'"');
}

fn not_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn delimited(value: &[u8], out: &mut Vec<u8>) {
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

fn integer<T: TryFrom<i128>>(token: Token<'_>) -> Result<T, ReadProblem> {
    let number = match token {
        Token::Unsigned(number) => i128::from(number),
        Token::Signed(number) => i128::from(number),
        Token::Float(number) => whole(number)?,
        Token::Text(text) => return integer(numeral(text)?),
        Token::Bool(_) => return Err(ReadProblem::Type),
    };
    T::try_from(number).map_err(|_| ReadProblem::Range)
}

#[expect(clippy::cast_possible_truncation, reason = "within 2^53")]
fn whole(number: f64) -> Result<i128, ReadProblem> {
    if number.fract() != 0.0 {
        Err(ReadProblem::Number)
    } else if number.abs() >= FIRST_INEXACT {
        Err(ReadProblem::Range)
    } else {
        Ok(number as i128)
    }
}

fn double(token: Token<'_>) -> Result<f64, ReadProblem> {
    match token {
        Token::Unsigned(number) => Ok(number as f64),
        Token::Signed(number) => Ok(number as f64),
        Token::Float(number) => Ok(number),
        Token::Text("NaN") => Ok(f64::NAN),
        Token::Text("Infinity") => Ok(f64::INFINITY),
        Token::Text("-Infinity") => Ok(f64::NEG_INFINITY),
        Token::Text(text) => double(numeral(text)?),
        Token::Bool(_) => Err(ReadProblem::Type),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float is a rounded double; overflow is looked for")]
fn single(token: Token<'_>) -> Result<f32, ReadProblem> {
    let wide = double(token)?;
    let number = match token {
        // Rounded once, not twice.
        Token::Unsigned(number) => number as f32,
        Token::Signed(number) => number as f32,
        Token::Text(text) if wide.is_finite() => text.parse().map_err(|_| ReadProblem::Number)?,
        Token::Bool(_) | Token::Float(_) | Token::Text(_) => wide as f32,
    };
    if number.is_infinite() && wide.is_finite() { Err(ReadProblem::Range) } else { Ok(number) }
}

/// A number in quotes: JSON's grammar, nothing around it.
fn numeral(text: &str) -> Result<Token<'static>, ReadProblem> {
    let number: Number = text.parse().map_err(|_| ReadProblem::Number)?;
    let whole = number.as_u64().map(Token::Unsigned).or_else(|| number.as_i64().map(Token::Signed));
    whole.or_else(|| number.as_f64().map(Token::Float)).ok_or(ReadProblem::Range)
}

fn unbase64(text: &str) -> Result<Vec<u8>, ReadProblem> {
    let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url_safe { LENIENT_URL_SAFE } else { LENIENT_STANDARD };
    engine.decode(text).map_err(|_| ReadProblem::Base64)
}
