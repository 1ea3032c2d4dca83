//! Pages asked for in the URL, as the SDKs of the first generation do: `POST .../ListPrebuilds?token=...&pageSize=...`.
//!
//! A server that reads the body alone would answer them with the first page for ever.

use bytes::Bytes;
use http::Uri;
use prost::encoding::{WireType, encode_key, encode_varint, int32, string};

use super::{message::malformed_field, query::Query};
use crate::{error::Error, rpc::MethodSpec};

#[cfg(test)]
mod tests;

const PAGINATION: &str = "pagination";
/// Field numbers of `gitpod.v1.PaginationRequest`.
const PAGE_SIZE: u32 = 1;
const TOKEN: u32 = 2;

/// The message with the page that the query asks for: what stands there wins over the body.
///
/// # Errors
/// `pageSize` is no number, `token` no UTF-8, or one of them stands there twice.
pub(super) fn merge(method: &MethodSpec, uri: &Uri, wire: Bytes) -> Result<Bytes, Error> {
    let Some(field) = method.input().and_then(|input| input.field_named(PAGINATION)) else { return Ok(wire) };
    let query = Query::of(uri);
    let token = query.get("token")?.unwrap_or_default();
    let token = String::from_utf8(token).map_err(|_| malformed_field("pagination.token", "is not UTF-8"))?;
    let page_size = query.get("pageSize")?.filter(|value| !value.is_empty());
    let page_size = page_size.map(|value| number(&value)).transpose()?;
    // A message field that comes again is merged into what came before (protobuf encoding, "Last One Wins"). An explicit
    // 0 is written, too: it stands for the default, whatever the body says.
    let mut page = Vec::new();
    if let Some(page_size) = page_size {
        int32::encode(PAGE_SIZE, &page_size, &mut page);
    }
    if !token.is_empty() {
        string::encode(TOKEN, &token, &mut page);
    }
    if page.is_empty() {
        return Ok(wire);
    }
    let mut merged = wire.to_vec();
    encode_key(field.number, WireType::LengthDelimited, &mut merged);
    encode_varint(page.len() as u64, &mut merged);
    merged.extend(page);
    Ok(merged.into())
}

fn number(value: &[u8]) -> Result<i32, Error> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| malformed_field("pagination.page_size", "is not a number"))
}
