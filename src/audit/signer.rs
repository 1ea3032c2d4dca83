//! Signs checkpoints of one log.

use super::tree::Hash;

#[derive(Clone, Debug, Default)]
pub(super) struct Signer {
    origin: String,
}

impl Signer {
    pub(super) fn named(&self, log: &str) -> Self {
        Self { origin: format!("prebuild-gateway/{log}") }
    }

    pub(super) fn checkpoint(&self, size: u64, root: Hash) -> String {
        format!("{}\n{size}\n{root}\n", self.origin)
    }
}
