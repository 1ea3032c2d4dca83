//! Puts a message's fields in order, as a decoder would see them.

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::super::{
    problem::WireError,
    wire::{Records, Value},
};
use crate::rpc::{Kind, MessageSchema};

/// The known fields in the order of their numbers: of a scalar that comes twice the last one, messages merged, lists in
/// the order of their elements. One level only. (Map keys that come twice stay so.)
pub(super) fn canonical<'w>(message: &MessageSchema, wire: &'w [u8]) -> Result<Cow<'w, [u8]>, WireError> {
    let (mut known, mut in_order) = (Vec::new(), true);
    let mut records = Records::new(wire);
    let mut last = 0;
    while let Some(record) = records.next_whole() {
        let (number, value, whole) = record?;
        let Some(field) = message.field(number) else { continue };
        if !value.fits(field) {
            return Err(WireError::Malformed);
        }
        in_order &= number > last || (number == last && field.repeated);
        last = number;
        known.push((field, value, whole));
    }
    if in_order {
        return Ok(Cow::Borrowed(wire));
    }
    known.sort_by_key(|(field, ..)| field.number);
    let mut out = Vec::with_capacity(wire.len());
    for same in known.chunk_by(|(one, ..), (other, ..)| one.number == other.number) {
        match same {
            [(field, ..), ..] if !field.repeated && matches!(field.kind, Kind::Message(_)) => {
                let parts = same.iter().filter_map(|(_, value, _)| match value {
                    Value::Bytes(bytes) => Some(*bytes),
                    Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) | Value::Group => None,
                });
                let merged: Vec<_> = parts.collect::<Vec<_>>().concat();
                encode_key(field.number, WireType::LengthDelimited, &mut out);
                encode_varint(merged.len() as u64, &mut out);
                out.extend(merged);
            }
            [.., (field, _, whole)] if !field.repeated => out.extend_from_slice(whole),
            same => same.iter().for_each(|(_, _, whole)| out.extend_from_slice(whole)),
        }
    }
    Ok(Cow::Owned(out))
}
