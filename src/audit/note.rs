//! Signed notes: a text, and below it the signatures of those who vouch for it. <https://c2sp.org/signed-note>

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::key::{Origin, SigningKey, VerifierKey};

#[cfg(test)]
mod tests;

/// What a line with a signature begins with: an em dash and a space.
const MARK: &str = "\u{2014} ";
/// Of a checkpoint with the signatures of many witnesses no tenth.
const MAX_NOTE: usize = 64 << 10;

/// Why a note does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("is no signed note")]
    Malformed,
    #[error("is not signed by the log's key")]
    Unsigned,
    #[error("the log's signature is not that of this text")]
    Forged,
}

/// One signature line.
struct Signature<'a> {
    name: &'a str,
    /// Of the key.
    id: [u8; 4],
    signature: Vec<u8>,
}

/// The note that `text` becomes by a signature under the name `origin`. `text` ends in a line break.
pub fn sign(text: &str, origin: &Origin, key: &SigningKey) -> String {
    let id = VerifierKey::new(origin.clone(), key.public()).id();
    let signature = key.sign(text.as_bytes());
    let signature = STANDARD.encode([id.as_bytes(), signature.as_ref()].concat());
    format!("{text}\n{MARK}{origin} {signature}\n")
}

/// The text of a note that `key` has signed. Signatures of others, as of witnesses, are not looked at.
///
/// # Errors
/// It is no note, or has no good signature of this key.
pub fn open<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, signatures) = split(note).ok_or(NoteError::Malformed)?;
    let own = |of: &Signature<'_>| of.name == key.origin().as_str() && of.id == *key.id().as_bytes();
    let own: Vec<_> = signatures.into_iter().filter(own).collect();
    if own.is_empty() {
        return Err(NoteError::Unsigned);
    }
    let good = own.iter().all(|own| key.key().is_signature(text.as_bytes(), &own.signature));
    if good { Ok(text) } else { Err(NoteError::Forged) }
}

/// The text with its last line break, and what is signed below it.
fn split(note: &str) -> Option<(&str, Vec<Signature<'_>>)> {
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > MAX_NOTE || note.contains(control) {
        return None;
    }
    // The text may have empty lines of its own: the last one counts.
    let (text, signatures) = note.split_at(note.rfind("\n\n")? + 1);
    let signatures = signatures.strip_prefix('\n')?.strip_suffix('\n')?;
    let signatures: Option<Vec<_>> = signatures.split('\n').map(Signature::parse).collect();
    Some((text, signatures?))
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
        let signature = STANDARD.decode(signature).ok()?;
        let (id, signature) = signature.split_first_chunk()?;
        let named = !name.is_empty() && !name.contains('+') && !signature.is_empty();
        named.then(|| Self { name, id: *id, signature: signature.to_vec() })
    }
}
