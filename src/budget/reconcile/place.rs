//! How many orgs are counted at the same moment.

use std::{pin::pin, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::State;

/// Upstream has other work: at a start all orgs are to be counted.
pub(super) const AT_ONCE: usize = 8;
/// Beside them, those that a call waits for.
const URGENT: usize = 8;

/// Who comes first is counted first, but for those that a call waits for.
#[derive(Debug)]
pub(super) struct Places {
    usual: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
}

/// Free again when it is dropped. None if there are no places, which does not happen.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Places {
    pub(super) async fn take(&self, state: &State) -> Place {
        let mut usual = pin!(Arc::clone(&self.usual).acquire_owned());
        tokio::select! {
            place = &mut usual => return place.ok(),
            () = state.is_urgent() => {}
        }
        tokio::select! {
            place = usual => place.ok(),
            place = Arc::clone(&self.urgent).acquire_owned() => place.ok(),
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { usual: Arc::new(Semaphore::new(AT_ONCE)), urgent: Arc::new(Semaphore::new(URGENT)) }
    }
}
