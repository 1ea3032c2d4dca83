//! Orgs get other upstream credentials while the gateway runs: their files are followed.

use std::time::Duration;

use super::files::Files;
use crate::{
    call::Token,
    config::{ConfigError, CredentialFile},
    follow::{Follow, Taken},
    upstream::Learn,
};

/// An org's file, and what asks upstream whose a token is.
#[derive(Debug)]
struct FollowedCredential {
    file: CredentialFile,
    learn: Learn,
}

/// Follows all of them.
pub(super) fn follow(all: Vec<CredentialFile>, learn: &Learn, every: Duration, files: &mut Files) {
    for file in all {
        let first = Ok(file.first.clone());
        files.follow(FollowedCredential { file, learn: learn.clone() }, first, every);
    }
}

impl Follow for FollowedCredential {
    type Look = Result<Token, ConfigError>;

    fn key(&self) -> String {
        self.file.key.clone()
    }

    fn look(&self) -> Self::Look {
        self.file.read()
    }

    async fn take(&self, look: Self::Look) -> Taken {
        let token = match look {
            Ok(token) => token,
            Err(error) => return Taken::Refused(error.to_string()),
        };
        match self.learn.renew(&self.file.org, &token).await {
            Ok(()) => Taken::InForce,
            Err(reason) if reason.is_open() => Taken::Undecided(reason.to_string()),
            // Upstream may know the token later, another org may give it up.
            Err(reason) => Taken::RefusedForNow(reason.to_string()),
        }
    }
}
