//! The example of Go's `golang.org/x/mod/sumdb/note`, and what is none.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    super::key::{Origin, SigningKey, VerifierKey},
    MAX_NOTE, NoteError, open, sign,
};

/// The seed in `PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz`.
const SEED: &str = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=";
const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const SIGNATURE: &str = "\u{2014} PeterNeumann \
                         x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key() -> SigningKey {
    let mut der = STANDARD.decode("MC4CAQAwBQYDK2VwBCIEIA==").unwrap();
    der.extend(STANDARD.decode(SEED).unwrap());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

fn verifier() -> VerifierKey {
    VERIFIER.parse().unwrap()
}

#[test]
fn the_known_note() {
    let origin: Origin = "PeterNeumann".parse().unwrap();
    assert_eq!(VerifierKey::new(origin.clone(), key().public()), verifier());
    let note = format!("{TEXT}\n{SIGNATURE}");
    assert_eq!(sign(TEXT, &origin, &key()), note);
    assert_eq!(open(&note, &verifier()), Ok(TEXT));
}

/// Witnesses sign below the log, or above it.
#[test]
fn other_signatures_are_not_looked_at() {
    let witness = SigningKey::generate().unwrap();
    let lines = sign("another text\n", &"witness.example/w1".parse().unwrap(), &witness);
    let other = lines.split("\n\n").nth(1).unwrap();
    // Of another key with the same name.
    let same = sign(TEXT, &"PeterNeumann".parse().unwrap(), &witness);
    let same = same.split("\n\n").nth(1).unwrap();
    for note in [
        format!("{TEXT}\n{other}{SIGNATURE}"),
        format!("{TEXT}\n{SIGNATURE}{other}"),
        format!("{TEXT}\n{same}{SIGNATURE}{same}"),
        format!("{TEXT}\n{SIGNATURE}{SIGNATURE}"),
    ] {
        assert_eq!(open(&note, &verifier()), Ok(TEXT), "{note}");
    }
    assert_eq!(open(&format!("{TEXT}\n{other}{same}"), &verifier()), Err(NoteError::Unsigned));
}

#[test]
fn the_last_empty_line_parts_the_text_from_its_signatures() {
    let text = "a\n\nb\n\n";
    let note = sign(text, &"PeterNeumann".parse().unwrap(), &key());
    assert_eq!(open(&note, &verifier()), Ok(text));
}

#[test]
fn another_text_or_signature_is_found() {
    let note = format!("{TEXT}\n{SIGNATURE}");
    let forged = note.replace("cryptography", "Cryptography");
    assert_eq!(open(&forged, &verifier()), Err(NoteError::Forged));
    assert_eq!(open(&note.replace("/ZJku", "/ZJkv"), &verifier()), Err(NoteError::Forged));
    // One good signature does not outweigh a bad one of the same key.
    let both = format!("{note}{}", SIGNATURE.replace("/ZJku", "/ZJkv"));
    assert_eq!(open(&both, &verifier()), Err(NoteError::Forged));
    assert_eq!(open(&note.replace("x08g", "x08h"), &verifier()), Err(NoteError::Unsigned));
    assert_eq!(open(&note.replace("PeterNeumann", "PeterNewman"), &verifier()), Err(NoteError::Unsigned));
}

#[test]
fn what_is_no_note() {
    let note = format!("{TEXT}\n{SIGNATURE}");
    for bad in [
        String::new(),
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}{SIGNATURE}"),
        note.trim_end().to_owned(),
        format!("{note}\n"),
        note.replace("\u{2014} ", "- "),
        note.replace("\u{2014} ", "\u{2014}"),
        note.replace('\n', "\r\n"),
        note.replace("AM=\n", "AM\n"),
        format!("{TEXT}\n{SIGNATURE}no signature\n"),
        format!("{}\n{SIGNATURE}", TEXT.repeat(MAX_NOTE / TEXT.len())),
    ] {
        assert_eq!(open(&bad, &verifier()), Err(NoteError::Malformed), "{bad:?}");
    }
}
