//! Orgs get other upstream credentials while the gateway runs: their files are followed.

use crate::{
    call::Token,
    config::{ConfigError, CredentialFile},
    follow::{Follow, Taken},
    upstream::Learn,
};

/// An org's file, and what asks upstream whose a token is.
#[derive(Debug)]
pub(super) struct FollowedCredential {
    pub(super) file: CredentialFile,
    pub(super) learn: Learn,
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
