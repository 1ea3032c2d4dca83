//! Names of orgs, subjects and credentials: each a type of its own, so that none is taken for another.

use std::{fmt, sync::Arc};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An organisation as the gateway's config names it.
    OrgId
}
id! {
    /// Who calls.
    SubjectId
}
id! {
    /// Which credential the caller was known by; never the credential itself.
    CredentialId
}

impl SubjectId {
    /// The longest `sub` that there is (OpenID Connect Core, section 2).
    const MAX: usize = 255;

    /// Whether a config may have it: 1 to 255 printable ASCII characters without spaces.
    pub fn is_plain(&self) -> bool {
        self.is_printable() && !self.0.contains(' ')
    }

    /// Whether an issuer may have said it, and it can stand in logs and records: the same, and spaces between them
    /// (GitHub writes environments and branches as they are called).
    pub fn is_printable(&self) -> bool {
        let is_bounded = (1..=Self::MAX).contains(&self.0.len()) && self.0.trim_matches(' ') == &*self.0;
        is_bounded && self.0.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    }
}
