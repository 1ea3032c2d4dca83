//! Page tokens of narrowed lists: where a list goes on, sealed for who may go on with it.
//!
//! The seal holds for one org, method and filter, so that nobody reads another's list with a token that leaked. It keeps
//! a token from being changed, and hides nothing: whoever has it can read upstream's own in it. Every replica with the
//! same key takes it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};

use crate::{call::OrgId, rpc::MethodSpec};

#[cfg(test)]
mod tests;

/// As long as the hash: a shorter key is easier to guess than the seal.
pub(super) const MIN_KEY: usize = 32;
/// The form of a token. Another form gets another number.
const VERSION: u8 = 1;
/// Keeps the seal from being good for anything else that the key may once be used for.
const PURPOSE: &[u8] = b"prebuild-gateway page token";
const SEAL: usize = 32;

/// The key that seals page tokens; its Debug shows nothing.
#[derive(Clone, Debug)]
pub struct PageKey(Arc<SecretSlice<u8>>);

/// The key is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have at least {MIN_KEY} bytes")]
pub struct WeakKey;

/// The list that a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    org: OrgId,
    method: &'static str,
    filter: [u8; 32],
}

/// Where a list goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: u32,
    /// Upstream's own, opaque; none at the start of a batch.
    pub(super) token: Option<String>,
}

impl PageKey {
    /// # Errors
    /// Fewer than 32 bytes.
    pub fn new(key: Vec<u8>) -> Result<Self, WeakKey> {
        if key.len() < MIN_KEY {
            return Err(WeakKey);
        }
        Ok(Self(Arc::new(key.into())))
    }

    pub(super) fn seal(&self, list: &List, place: &Place) -> Option<String> {
        let mut content = vec![VERSION];
        content.extend(place.batch.to_be_bytes());
        content.extend(place.token.as_deref().unwrap_or_default().as_bytes());
        let seal = self.over(list, &content)?.finalize().into_bytes();
        content.extend(seal);
        Some(URL_SAFE_NO_PAD.encode(content))
    }

    /// `None` for what this key has not sealed for this list.
    pub(super) fn open(&self, list: &List, token: &str) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (content, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        // In constant time.
        self.over(list, content)?.verify_slice(seal).ok()?;
        let (batch, token) = content.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let token = std::str::from_utf8(token).ok()?;
        let token = Some(token).filter(|token| !token.is_empty()).map(str::to_owned);
        Some(Place { batch: u32::from_be_bytes(*batch), token })
    }

    /// Lengths go first: no two lists of parts are the same bytes.
    fn over(&self, list: &List, content: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        for part in [PURPOSE, list.org.as_str().as_bytes(), list.method.as_bytes(), &list.filter, content] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(mac)
    }
}

impl List {
    /// `request` is the whole list's, with the filter as it is narrowed and without a page: config and caller must both
    /// still mean the same.
    pub(super) fn of(org: &OrgId, method: &MethodSpec, request: &[u8]) -> Self {
        Self { org: org.clone(), method: method.path, filter: Sha256::digest(request).into() }
    }
}
