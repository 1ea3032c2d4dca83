//! Protobuf's wire format, record by record.

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
    skip_field,
};
use prost_types::field_descriptor_proto::Type;

use super::problem::WireError;
use crate::rpc::{Field, Kind};

/// The value of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'w> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'w [u8]),
    /// Already skipped: proto3 has no groups.
    Group,
}

/// The records of a message: field numbers and values. Nothing follows an error.
#[derive(Clone, Debug)]
pub(super) struct Records<'w> {
    rest: &'w [u8],
}

/// A record's field number, its value, and its bytes with the key.
type Whole<'w> = (u32, Value<'w>, &'w [u8]);

/// A length-delimited record that is being written: where its content begins.
#[derive(Debug)]
pub(super) struct Open {
    start: usize,
    content: usize,
}

impl<'w> Value<'w> {
    /// Takes one value off the front of `bytes`.
    pub(super) fn take(bytes: &mut &'w [u8], wire_type: WireType, number: u32) -> Result<Self, WireError> {
        Ok(match wire_type {
            WireType::Varint => Self::Varint(varint(bytes)?),
            WireType::SixtyFourBit => Self::Fixed64(u64::from_le_bytes(*chunk(bytes)?)),
            WireType::ThirtyTwoBit => Self::Fixed32(u32::from_le_bytes(*chunk(bytes)?)),
            WireType::LengthDelimited => {
                let length = usize::try_from(varint(bytes)?).map_err(|_| WireError::Malformed)?;
                let (value, rest) = bytes.split_at_checked(length).ok_or(WireError::Malformed)?;
                *bytes = rest;
                Self::Bytes(value)
            }
            WireType::StartGroup => {
                // Bounded: the context counts nested groups down from 100.
                skip_field(wire_type, number, bytes, DecodeContext::default())
                    .map_err(|_| WireError::Malformed)?;
                Self::Group
            }
            WireType::EndGroup => return Err(WireError::Malformed),
        })
    }

    /// Whether a record of `field` may have this value. (Lists of numbers come packed or one by one.)
    pub(super) fn fits(&self, field: &Field) -> bool {
        match self {
            Self::Varint(_) => wire_type(field.kind) == WireType::Varint,
            Self::Fixed64(_) => wire_type(field.kind) == WireType::SixtyFourBit,
            Self::Fixed32(_) => wire_type(field.kind) == WireType::ThirtyTwoBit,
            Self::Bytes(_) => field.packed() || wire_type(field.kind) == WireType::LengthDelimited,
            Self::Group => wire_type(field.kind) == WireType::StartGroup,
        }
    }
}

impl<'w> Records<'w> {
    pub(super) fn new(wire: &'w [u8]) -> Self {
        Self { rest: wire }
    }

    /// The next record with its key, as it is on the wire.
    pub(super) fn next_whole(&mut self) -> Option<Result<Whole<'w>, WireError>> {
        let before = self.rest;
        let record = self.next()?;
        Some(record.map(|(number, value)| (number, value, &before[..before.len() - self.rest.len()])))
    }

    fn record(&mut self) -> Result<(u32, Value<'w>), WireError> {
        let (number, wire_type) = decode_key(&mut self.rest).map_err(|_| WireError::Malformed)?;
        Ok((number, Value::take(&mut self.rest, wire_type, number)?))
    }
}

impl<'w> Iterator for Records<'w> {
    type Item = Result<(u32, Value<'w>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

impl Open {
    /// Begins a record whose length is not known yet: one byte is kept for it, which most lengths need.
    pub(super) fn begin(out: &mut Vec<u8>, number: u32) -> Self {
        let start = out.len();
        encode_key(number, WireType::LengthDelimited, out);
        out.push(0);
        Self { start, content: out.len() }
    }

    /// Writes the length, and moves the content if that takes more than one byte.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        let length = out.len() - self.content;
        let extra = encoded_len_varint(length as u64) - 1;
        if extra > 0 {
            out.resize(out.len() + extra, 0);
            out.copy_within(self.content..self.content + length, self.content + extra);
        }
        let mut slot = &mut out[self.content - 1..self.content + extra];
        encode_varint(length as u64, &mut slot);
    }

    /// The same, but no record at all if it would be empty.
    pub(super) fn end_unless_empty(self, out: &mut Vec<u8>) {
        if out.len() == self.content {
            self.cancel(out);
        } else {
            self.end(out);
        }
    }

    /// Takes back what has been written of the record.
    pub(super) fn cancel(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    /// What has been written of the content.
    pub(super) fn content<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        out.get(self.content..).unwrap_or_default()
    }
}

/// How one value of a kind is written.
pub(super) fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Message(_) | Kind::Map(_) => WireType::LengthDelimited,
        Kind::Enum(_) => WireType::Varint,
        Kind::Scalar(scalar) => match scalar {
            Type::Double | Type::Fixed64 | Type::Sfixed64 => WireType::SixtyFourBit,
            Type::Float | Type::Fixed32 | Type::Sfixed32 => WireType::ThirtyTwoBit,
            Type::String | Type::Bytes | Type::Message => WireType::LengthDelimited,
            Type::Group => WireType::StartGroup,
            Type::Int32
            | Type::Int64
            | Type::Uint32
            | Type::Uint64
            | Type::Sint32
            | Type::Sint64
            | Type::Bool
            | Type::Enum => WireType::Varint,
        },
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    decode_varint(bytes).map_err(|_| WireError::Malformed)
}

fn chunk<'w, const N: usize>(bytes: &mut &'w [u8]) -> Result<&'w [u8; N], WireError> {
    let (chunk, rest) = bytes.split_first_chunk().ok_or(WireError::Malformed)?;
    *bytes = rest;
    Ok(chunk)
}
