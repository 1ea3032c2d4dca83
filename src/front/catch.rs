//! A panic is answered INTERNAL, and the process lives.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::{HttpRequest, HttpResponse};
use crate::{
    error::{Error, Reason},
    stack::{Next, Stage},
};

/// The layer. The panic hook has logged the panic itself.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic;

impl Stage<HttpRequest> for CatchPanic {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::refuse(Reason::Internal)))
    }
}
