//! Keys come and go while the gateway runs: the key file is followed.

use crate::{
    config::{ConfigError, KeyFile, keys::KEYS_FILE},
    follow::{Follow, Taken},
    identity::Identities,
};

/// The file, and what knows the keys by it.
#[derive(Debug)]
pub(super) struct FollowedKeys {
    pub(super) file: KeyFile,
    pub(super) identities: Identities,
}

impl Follow for FollowedKeys {
    type Look = Result<String, ConfigError>;

    fn key(&self) -> String {
        KEYS_FILE.to_owned()
    }

    fn look(&self) -> Self::Look {
        self.file.read()
    }

    async fn take(&self, look: Self::Look) -> Taken {
        look.and_then(|text| self.file.keys(&text)).map(|keys| self.identities.replace(keys)).into()
    }
}
