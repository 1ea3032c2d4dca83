//! What each record begins with: byte for byte as `docs/audit-log.md` has it.

use crate::audit::tree::Hash;

#[cfg(test)]
mod tests;

/// The longest record, in bytes: with its line's end 64 KiB.
pub const MAX_RECORD: usize = (64 << 10) - 1;

/// A record's place in its log, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin<'a> {
    pub sequence: u64,
    /// The instance.
    pub log: &'a str,
    /// The leaf hash of the record before.
    pub prev: Hash,
    pub stage: &'a str,
}

/// What is left of a record to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Begin<'a> {
    /// None if the record does not begin as one of this format does.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(record);
        rest.skip(br#"{"metadata":{"sequence":"#)?;
        let sequence = rest.number()?;
        rest.skip(br#","log_name":""#)?;
        let log = rest.text()?;
        rest.skip(br#","log_version":"1","product":{"name":"prebuild-gateway","vendor_name":"prebuild-gateway","version":""#)?;
        rest.text()?;
        rest.skip(br#"},"version":"1.6.0"},"unmapped":{"prev":""#)?;
        let prev = rest.text()?.parse().ok()?;
        rest.skip(br#","stage":""#)?;
        let stage = rest.text().filter(|stage| stage.bytes().all(|byte| byte.is_ascii_lowercase()))?;
        matches!(rest.0.first(), Some(b',' | b'}')).then_some(Self { sequence, log, prev, stage })
    }
}

impl<'a> Rest<'a> {
    fn skip(&mut self, fixed: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(fixed)?;
        Some(())
    }

    /// Decimal, without leading zeros.
    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(digits);
        self.0 = rest;
        let plain = digits == b"0" || digits.first() != Some(&b'0');
        str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
    }

    /// Up to the closing quote, and that. Nothing is escaped in these.
    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| matches!(byte, b'"' | b'\\')).filter(|end| *end > 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        str::from_utf8(text).ok()
    }
}
