//! Bounds the calls in flight: one too many is refused at once, rather than queued until nobody waits for it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{HttpRequest, HttpResponse};
use crate::{
    call::Place,
    error::{Error, Reason},
    stack::{Next, Stage},
    telemetry::Metrics,
};

/// The layer. The place taken belongs to the work, not to the stream: a mutation whose caller left keeps it.
#[derive(Clone, Debug)]
pub struct Shed {
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Shed {
    /// At most `in_flight` calls at a time.
    pub fn new(in_flight: usize, metrics: Metrics) -> Self {
        Self { places: Arc::new(Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS))), metrics }
    }
}

impl Stage<HttpRequest> for Shed {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        mut request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let permit = permit.map_err(|_| Error::refuse(Reason::Overloaded))?;
        request.extensions_mut().insert(Place::new((permit, self.metrics.call_begun())));
        next.run(request).await
    }
}
