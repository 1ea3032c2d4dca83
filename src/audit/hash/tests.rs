//! Keyed hashes: as documented, found again after a rotation, and keys that nobody else can read.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread};

use super::{KeyFile, Keys, KeysError, Problem};

/// 32 bytes of 0x0b and, as id, `old`; then 32 of 0x0c.
const OLD: &str = "old CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=";
const NEW: &str = "new DAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw=";

fn keys(text: &str) -> Keys {
    Keys::parse(text).unwrap()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// By Python's `hmac`, of "Hi There".
#[test]
fn a_hash_is_as_documented() {
    assert_eq!(keys(OLD).digest("Hi There"), "hmac:old:GYpgfrRL-8aZA6Dxzyu9xboKo_PZrjwcejsWlqC2jPc");
}

#[test]
fn the_last_key_hashes_and_all_are_tried() {
    let (old, both) = (keys(OLD), keys(&format!("{OLD}\n\n{NEW}\n")));
    let now = both.digest("value");
    assert!(now.starts_with("hmac:new:"));
    assert_eq!(both.digests("value"), [now, old.digest("value")]);
    assert_ne!(both.digest("value"), both.digest("valuf"));
    assert!(!format!("{both:?}").contains("12, 12"), "a key in Debug");
}

#[test]
fn what_is_no_file_of_keys_is_refused_by_its_line() {
    let short = "short CwsLCw==";
    for (text, problem) in [
        ("", Problem::Empty),
        ("\n \n", Problem::Empty),
        ("id", Problem::Line(1)),
        (short, Problem::Line(1)),
        (&format!("{OLD}\n{short}"), Problem::Line(2)),
        (&format!("{OLD}\n{}", OLD.replace("old", "sp ace")), Problem::Line(2)),
        (&format!("{OLD}\n{}", NEW.replace("new", "n:w")), Problem::Line(2)),
        (&format!("{OLD}\n{NEW}\n{OLD}"), Problem::Twice(3)),
    ] {
        assert_eq!(Keys::parse(text).unwrap_err(), problem, "{text}");
    }
}

#[test]
fn keys_are_made_once_for_their_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let audit = place.path().join("audit");
    let first: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn({
                let audit = audit.clone();
                move || Keys::open(&audit, None).unwrap()
            })
        })
        .collect();
    let hashes: Vec<_> = first.into_iter().map(|made| made.join().unwrap().digest("value")).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "all have the same key: {hashes:?}");
    assert_eq!(Keys::open(&audit, None).unwrap().digest("value"), hashes[0], "at the next start, too");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&audit), mode(&audit.join("hash-keys"))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&audit).unwrap().count(), 1, "no drafts are left");
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("keys");
    let named = KeyFile { file: file.clone() };
    let missing = Keys::open(place.path(), Some(&named)).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    for (mode, is_good) in [(0o600, true), (0o440, true), (0o644, false), (0o660, false)] {
        write(&file, OLD, mode);
        let opened = Keys::open(place.path(), Some(&named));
        assert_eq!(opened.is_ok(), is_good, "{mode:o}");
    }
    write(&file, "garbage-of-a-key", 0o600);
    let error = Keys::read(&file).unwrap_err();
    assert!(matches!(error, KeysError::Form { problem: Problem::Line(1), .. }));
    assert!(!error.to_string().contains("garbage"), "{error}");
    assert!(!place.path().join("hash-keys").exists(), "one that is named is not made");
}
