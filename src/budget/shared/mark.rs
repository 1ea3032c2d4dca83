//! Says to all replicas that calls of an org are sent without claims: by one that has no budget for it, or not any more.
//!
//! Whoever judges by the books, now or when there is a budget again, counts anew once those calls are over. So it matters
//! neither when each replica gets a policy, nor whether one of them has gone meanwhile.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::{Script, Value};

use super::{
    Terms,
    shelf::{KEPT, ROOM},
};
use crate::{
    call::{OrgId, RequestId},
    store::{Fault, Store},
};

/// Between two tries to set it where the store was away.
const PAUSE: Duration = Duration::from_millis(200);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("mark.lua")));

/// The marks of this replica.
#[derive(Debug)]
pub(super) struct Marks {
    store: Store,
    terms: Terms,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Calls until then are covered.
    told: HashMap<OrgId, Instant>,
    /// It is tried in the background.
    owed: HashSet<OrgId>,
}

impl Marks {
    pub(super) fn new(store: Store, terms: Terms) -> Self {
        Self { store, terms, known: Mutex::default() }
    }

    /// Before such a call is sent. Within the store's patience; where it is away, it is told as soon as it is there.
    pub(super) async fn set(self: &Arc<Self>, org: &OrgId) {
        if self.is_covered(org) || self.write(org).await.is_ok() {
            return;
        }
        self.owe(org);
    }

    /// As soon as it can be told.
    pub(super) fn owe(self: &Arc<Self>, org: &OrgId) {
        if !self.known().owed.insert(org.clone()) {
            return;
        }
        let (marks, org) = (Arc::downgrade(self), org.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                let Some(marks) = marks.upgrade() else { return };
                // First, so that a call that comes meanwhile is not taken for covered by what was written before it.
                marks.known().owed.remove(&org);
                if marks.write(&org).await.is_ok() || !marks.known().owed.insert(org.clone()) {
                    return;
                }
            }
        });
    }

    fn is_covered(&self, org: &OrgId) -> bool {
        self.known().told.get(org).is_some_and(|until| Instant::now() < *until)
    }

    async fn write(&self, org: &OrgId) -> Result<(), Fault> {
        let begun = Instant::now();
        let length = self.terms.longest().as_millis().to_string();
        let arguments = [length, RequestId::new().to_string(), KEPT.as_millis().to_string()];
        let read = |value| if value == Value::Int(1) { Ok(()) } else { Err(Fault::Garbage) };
        self.store.run(&SCRIPT, org, ROOM, &arguments, read).await?;
        let told = &mut self.known().told;
        told.retain(|_, until| *until > begun);
        told.insert(org.clone(), begun + self.terms.renewal);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
