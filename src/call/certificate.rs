//! A client certificate that the connection's handshake has verified.

use std::{fmt, sync::Arc, time::SystemTime};

use tokio_util::sync::CancellationToken;

/// What the caller's certificate says. The listener puts it into each request; no header can change it.
#[derive(Clone)]
pub struct PeerCertificate(Arc<Shown>);

/// Whom it names, by its subject alternative names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// As they stand there.
    pub uris: Vec<String>,
    /// In lower case.
    pub dns_names: Vec<String>,
    /// It may sign other certificates.
    pub is_authority: bool,
}

struct Shown {
    names: Names,
    ends: SystemTime,
    stands: Box<dyn Fn() -> bool + Send + Sync>,
    /// It was seen not to stand.
    fallen: CancellationToken,
}

impl PeerCertificate {
    /// `stands` tells whether a handshake of that moment would take it.
    pub fn new(names: Names, ends: SystemTime, stands: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shown { names, ends, stands: Box::new(stands), fallen: CancellationToken::new() }))
    }

    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// When the first of the certificates that were shown ends.
    pub fn ends(&self) -> SystemTime {
        self.0.ends
    }

    /// Whether it is still good: not ended, and of a CA that is trusted now. A connection may outlive both.
    pub fn stands(&self) -> bool {
        let stands = (self.0.stands)();
        if !stands {
            self.0.fallen.cancel();
        }
        stands
    }

    /// Whether somebody has found that it does not stand.
    pub fn has_fallen(&self) -> bool {
        self.0.fallen.is_cancelled()
    }

    /// Waits until somebody has found that it does not stand.
    pub async fn falls(&self) {
        self.0.fallen.cancelled().await;
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerCertificate").field(&self.0.names).finish()
    }
}
