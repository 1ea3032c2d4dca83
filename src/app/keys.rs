//! Keys come and go while the gateway runs: the key file is followed.

use std::time::Duration;

use super::files::Files;
use crate::{
    config::{ConfigError, KeyFile, keys::KEYS_FILE},
    follow::{Follow, Taken},
    identity::Identities,
};

/// The file, and what knows the keys by it.
#[derive(Debug)]
struct FollowedKeys {
    file: KeyFile,
    identities: Identities,
}

pub(super) fn follow(file: Option<KeyFile>, identities: Identities, every: Duration, files: &mut Files) {
    if let Some(file) = file {
        let first = Ok(file.first().to_owned());
        files.follow(FollowedKeys { file, identities }, first, every);
    }
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
