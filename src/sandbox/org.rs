//! Organizations of the sandbox: who holds which token, and what there is to build.

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What a demo organization has of each, so that "another project" and "another class" can be shown.
const DEMO: u8 = 2;

/// An organization, known upstream by its UUID and its token.
#[derive(Clone, Debug)]
pub struct Org {
    /// Our own name for it; the service never shows it.
    pub name: String,
    pub organization_id: Uuid,
    /// No two organizations may have the same. [`Sandbox::issue`](super::Sandbox::issue) adds further ones.
    pub token: SecretString,
    pub projects: Vec<Project>,
}

/// A project, with the environment classes that its prebuild configuration lists; the first is its default.
#[derive(Clone, Debug)]
pub struct Project {
    pub id: Uuid,
    pub classes: Vec<Uuid>,
}

impl Org {
    /// An organization with two projects that share two classes. Its UUIDs follow from the name.
    pub fn demo(name: &str, token: SecretString) -> Self {
        let own = |what: &str, index: u8| derived(&[name.as_bytes(), what.as_bytes(), &[index]]);
        let classes: Vec<_> = (0..DEMO).map(|index| own("class", index)).collect();
        let projects =
            (0..DEMO).map(|index| Project { id: own("project", index), classes: classes.clone() }).collect();
        Self { name: name.to_owned(), organization_id: own("organization", 0), token, projects }
    }

    /// A new token, random.
    pub fn new_token() -> SecretString {
        format!("sandbox_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into()
    }
}

/// A UUID (version 8) that follows from its parts.
pub(super) fn derived(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        // The length goes first: no two lists of parts are the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut id = [0; 16];
    for (byte, hashed) in id.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    uuid::Builder::from_custom_bytes(id).into_uuid()
}
