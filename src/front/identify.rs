//! Puts the caller's identity into the request, or refuses it.

use super::{HttpRequest, HttpResponse, peers::LookUps};
use crate::{
    call::{Context, Deadline, PeerCertificate},
    error::{Error, Reason},
    identity::{Identities, Shown},
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
        request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let (mut head, body) = request.into_parts();
        let deadline = *head.extensions.get::<Deadline>().ok_or_else(|| Error::refuse(Reason::Internal))?;
        let asker = head.extensions.get::<LookUps>().ok_or_else(|| Error::refuse(Reason::Internal))?;
        let shown = Shown {
            headers: &head.headers,
            certificate: head.extensions.get::<PeerCertificate>(),
            asker,
            deadline,
        };
        let identity = self.0.identify(shown).await?;
        if let Some(context) = head.extensions.get::<Context>() {
            context.set_identity(identity.clone());
        }
        head.extensions.insert(identity);
        next.run(HttpRequest::from_parts(head, body)).await
    }
}
