//! A checkpoint has one text.

use super::{
    super::{
        key::{Origin, SigningKey, VerifierKey},
        note::{self, NoteError},
        tree::{Frontier, Hash},
    },
    Checkpoint, CheckpointError,
};

fn origin() -> Origin {
    "audit.example.com/gateway-0".parse().unwrap()
}

fn checkpoint() -> Checkpoint {
    let mut tree = Frontier::default();
    tree.push(Hash::leaf(b""));
    Checkpoint { origin: origin(), size: tree.size(), root: tree.root() }
}

#[test]
fn it_is_as_documented() {
    let key = SigningKey::generate().unwrap();
    let note = checkpoint().sign(&key);
    let text = "audit.example.com/gateway-0\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";
    assert!(note.starts_with(&format!("{text}\n\u{2014} audit.example.com/gateway-0 ")), "{note}");
    let verifier = VerifierKey::new(origin(), key.public());
    assert_eq!(Checkpoint::open(&note, &verifier), Ok(checkpoint()));
    assert_eq!(Checkpoint::unverified(&note), Ok(checkpoint()));
}

#[test]
fn it_is_of_one_log_and_one_key() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let note = checkpoint().sign(&key);
    let open = |note: &str, origin: &Origin, key: &SigningKey| {
        Checkpoint::open(note, &VerifierKey::new(origin.clone(), key.public()))
    };
    let elsewhere: Origin = "audit.example.com/gateway-1".parse().unwrap();
    assert_eq!(open(&note, &origin(), &other), Err(NoteError::Unsigned.into()));
    assert_eq!(open(&note, &elsewhere, &key), Err(NoteError::Unsigned.into()));
    let moved = note::sign(&checkpoint().text(), &elsewhere, &key);
    assert_eq!(open(&moved, &elsewhere, &key), Err(CheckpointError::Origin));
    let older = note.replacen("\n1\n", "\n0\n", 1);
    assert_eq!(open(&older, &origin(), &key), Err(NoteError::Forged.into()));
}

#[test]
fn what_is_none_is_refused_though_it_is_signed() {
    let key = SigningKey::generate().unwrap();
    let verifier = VerifierKey::new(origin(), key.public());
    let text = checkpoint().text();
    for bad in [
        text.replacen("\n1\n", "\n01\n", 1),
        text.replacen("\n1\n", "\n+1\n", 1),
        text.replacen("\n1\n", "\n-1\n", 1),
        text.replacen("\n1\n", "\n18446744073709551616\n", 1),
        text.replace("oB0=", "oB0"),
        text.replace("oB0=", "oB1="),
        text.replace("bjQL", ""),
        format!("{text}an extension\n"),
        "audit.example.com/gateway-0\n1\n".to_owned(),
        "one line\n".to_owned(),
    ] {
        let note = note::sign(&bad, &origin(), &key);
        assert_eq!(Checkpoint::open(&note, &verifier), Err(CheckpointError::Malformed), "{bad}");
        assert_eq!(Checkpoint::unverified(&note), Err(CheckpointError::Malformed), "{bad}");
    }
    assert_eq!(Checkpoint::unverified(""), Err(CheckpointError::Malformed));
}
