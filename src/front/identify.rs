//! Puts the caller's identity into the request, or refuses it.

use super::{HttpRequest, HttpResponse};
use crate::{
    call::Context,
    error::Error,
    identity::Identities,
    stack::{Next, Stage},
};

/// The layer.
#[derive(Clone, Debug)]
pub struct Identify(pub Identities);

impl Stage<HttpRequest> for Identify {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        mut request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let identity = self.0.identify(request.headers())?;
        if let Some(context) = request.extensions().get::<Context>() {
            context.set_identity(identity.clone());
        }
        request.extensions_mut().insert(identity);
        next.run(request).await
    }
}
