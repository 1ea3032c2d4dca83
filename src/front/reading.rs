//! Bounds how many requests of one org are being read at a time: a body that does not come holds a place, and no rate and no
//! cap of the policy has counted it yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{HttpRequest, HttpResponse};
use crate::{
    call::{Identity, OrgId},
    error::{Error, Reason, Retry},
    stack::{Next, Stage},
};

/// As the policy's own cap by default: of all places an org may have one in so many with requests that are still to come.
const SHARE: usize = 4;
/// A request takes milliseconds to arrive; who holds all places with slow ones makes no more than this many times as many
/// attempts a second.
const RETRY: Duration = Duration::from_secs(1);

/// The layer. From then on what the policy sets the org counts: a request that is read gives this place back.
#[derive(Clone, Debug)]
pub struct Reading {
    most: usize,
    /// There are as many as the config has orgs.
    orgs: Arc<Mutex<HashMap<OrgId, Arc<Semaphore>>>>,
}

/// Held while the request is read, however that ends.
#[derive(Clone, Debug)]
pub(super) struct ReadingPlace {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Reading {
    /// Of so many calls in flight over all orgs.
    pub fn new(in_flight: usize) -> Self {
        let most = (in_flight / SHARE).clamp(1, Semaphore::MAX_PERMITS);
        Self { most, orgs: Arc::default() }
    }

    fn places(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut orgs = self.orgs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = orgs.get(org) {
            return Arc::clone(places);
        }
        let places = Arc::new(Semaphore::new(self.most));
        orgs.insert(org.clone(), Arc::clone(&places));
        places
    }
}

impl Stage<HttpRequest> for Reading {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        mut request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let extensions = request.extensions_mut();
        let identity = extensions.get::<Identity>().ok_or_else(|| Error::refuse(Reason::Internal))?;
        let permit = self.places(&identity.org).try_acquire_owned();
        let permit = permit.map_err(|_| Error::refuse(Reason::OrgBusy).with_retry(Retry::After(RETRY)))?;
        extensions.insert(ReadingPlace { _permit: Arc::new(permit) });
        next.run(request).await
    }
}
