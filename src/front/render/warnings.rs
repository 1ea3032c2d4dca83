//! What rules in mode `warn` tell a caller, on answers and errors alike.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{call::Context, front::POLICY_WARNING, rule::Ruling};

const WARNING: HeaderName = HeaderName::from_static(POLICY_WARNING);
/// Headers have a bound; who breaks more is told of the rest when these are mended.
const MAX_WARNINGS: usize = 8;
/// Of one warning, in bytes.
const MAX_WARNING: usize = 512;
/// Of all of them: with the details of an error they stay within the 8 KiB of headers that gRPC clients take.
const MAX_BYTES: usize = 3 << 9;

/// One for each broken rule: `<rule>: <bound or message> (policy <version>)`.
pub(super) fn append(context: &Context, headers: &mut HeaderMap) {
    let Some(version) = context.policy() else { return };
    let mut room = MAX_BYTES;
    for ruling in context.rulings().iter().filter(|ruling| ruling.warns()).take(MAX_WARNINGS) {
        let text = printable(&format!("{}: {} (policy {version})", ruling.rule, said(ruling)));
        let Some(left) = room.checked_sub(text.len()) else { break };
        room = left;
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(WARNING, value);
        }
    }
}

/// The operator's words come first.
fn said(ruling: &Ruling) -> &str {
    let bound = ruling.bound.as_deref();
    ruling.message.as_deref().or(bound).unwrap_or("would be refused")
}

/// As metadata may be.
fn printable(text: &str) -> String {
    let is_plain = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    let plain = text.chars().map(|letter| if is_plain(letter) { letter } else { '?' });
    plain.take(MAX_WARNING).collect()
}
