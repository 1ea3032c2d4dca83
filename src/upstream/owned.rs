//! Objects that are known to be an org's own, so that not every call about one has to ask whose it is.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use uuid::Uuid;

use crate::{
    call::OrgId,
    rpc::{MethodSpec, Object},
};

#[cfg(test)]
mod tests;

/// Some 30 MiB when it is full.
const MAX_ENTRIES: u64 = 65_536;
/// No object ever changes its project; this is for what is gone, or was a lie.
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// Only own ones: what is foreign and what is absent cost the same look-up, each time.
#[derive(Clone, Debug)]
pub(super) struct Owned(Cache<Key, Arc<Object>>);

/// Whose, by which read, and its id.
type Key = (OrgId, &'static str, Uuid);

impl Owned {
    pub(super) fn new() -> Self {
        Self::bounded(MAX_ENTRIES)
    }

    fn bounded(entries: u64) -> Self {
        Self(Cache::builder().max_capacity(entries).time_to_live(TIME_TO_LIVE).build())
    }

    /// Keeps what a read by `lookup` has shown, but for what can change, is secret or as long as upstream likes.
    pub(super) fn keep(&self, org: &OrgId, lookup: &'static MethodSpec, object: &Object) {
        if let Ok(id) = Uuid::try_parse(&object.id) {
            let Object { organization, project, class, .. } = object.clone();
            let class = if Uuid::try_parse(&class).is_ok() { class } else { String::new() };
            let object = Object { id: object.id.clone(), organization, project, class, ..Object::default() };
            self.0.insert((org.clone(), lookup.path, id), Arc::new(object));
        }
    }

    pub(super) fn find(&self, org: &OrgId, lookup: &'static MethodSpec, id: &str) -> Option<Object> {
        let id = Uuid::try_parse(id).ok()?;
        self.0.get(&(org.clone(), lookup.path, id)).map(|object| Object::clone(&object))
    }
}
