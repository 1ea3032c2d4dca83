//! JSON that is one line for every reader: some take more than LF for the end of one, and terminals obey controls.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// Compact, and whatever is not printable ASCII is escaped.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let is_plain = |character: char| character.is_ascii() && character != '\u{7f}';
        let mut rest = text;
        while let Some(at) = rest.find(|character| !is_plain(character)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut characters = rest[at..].chars();
            if let Some(odd) = characters.next() {
                for unit in odd.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A string, in its quotes.
pub(crate) fn quoted(text: &str) -> Vec<u8> {
    let mut json = Vec::with_capacity(text.len() + 2);
    // To memory, which does not fail.
    let _ = text.serialize(&mut Serializer::with_formatter(&mut json, Ascii));
    json
}

/// What is behind the opening brace of an object, its closing one included. A value that is none gives nothing.
pub(super) fn members(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(1024);
    // To memory, which does not fail, and records have only string keys.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut json, Ascii));
    json.split_off(1.min(json.len()))
}
