//! Goes through a list for its caller. Upstream answers an empty filter with all that the credential can see; where
//! projects part the orgs, the list is narrowed to the caller's own; and to what the policy lets the caller see. The official clients take an empty page for
//! the end of a list: where upstream has shown nothing of the caller's, the next page is fetched.

use bytes::Bytes;
use http::HeaderMap;
use tonic_types::pb;

use super::{
    client::gate::Gate,
    credentials::By,
    forward::{Outgoing, Upstream, page_query},
    tenancy::{Tenancy, anew},
};
use crate::{
    call::{AttemptKind, Call, Line, Reply},
    error::{Error, Reason, Sent},
    policy::Permitted,
    rpc::Seen,
    stack::{Next, Stage},
};

mod course;
mod lead;
mod shown;
#[cfg(test)]
mod tests;
mod token;

pub use token::{PageKey, WeakKey};

use course::Course;
use shown::Shown;
use token::Place;

/// Pages of upstream's that one call reads at most: what a list may cost.
const MAX_PAGES: usize = 10;

/// The stage: takes lists off the way to upstream.
#[derive(Clone, Debug)]
pub struct Walk {
    upstream: Upstream,
    tenancy: Tenancy,
}

/// A page of upstream's, judged.
#[derive(Debug)]
struct Page {
    reply: Reply,
    /// Whether there was something on it that is not the caller's, or not for the caller.
    is_cut: bool,
}

impl Walk {
    pub fn new(upstream: Upstream, tenancy: Tenancy) -> Self {
        Self { upstream, tenancy }
    }

    async fn list(&self, call: Call) -> Result<Reply, Error> {
        self.tenancy.ready(&call.identity.org)?;
        let course = Course::of(&call, self.tenancy.parting())?;
        let mut place = course.start(call.facts.page_token.as_deref()).ok_or_else(foreign_token)?;
        if course.is_empty() {
            call.context.set_own();
            return Ok(nothing());
        }
        for read in 0..MAX_PAGES {
            let page = self.page(&call, &course, &place).await;
            // A list of which a part was read has been forwarded.
            let Page { reply, is_cut } =
                page.map_err(|error| if read > 0 { error.with_sent(Sent::Yes) } else { error })?;
            let next = course.after(&place, reply.seen.next.as_deref());
            // Of a list that is not narrowed an empty page is upstream's word, unless it came with something on it.
            let is_said = course.is_as_asked() && !is_cut;
            match next {
                Some(next) if reply.seen.objects.is_empty() && !is_said => place = next,
                next => return lead::on(call.method, reply, &course, next.as_ref()),
            }
        }
        Err(Error::refuse(Reason::ListTooSparse))
    }

    async fn page(&self, call: &Call, course: &Course, place: &Place) -> Result<Page, Error> {
        let method = call.method;
        let request = method
            .part(&call.request, course.part(place))
            .map_err(|error| Error::refuse(Reason::Internal).with_source(error))?;
        call.context.add_page();
        let sending = self.upstream.send(Outgoing {
            method,
            by: By::of(&call.identity),
            request,
            query: page_query(place.token.as_deref(), call.facts.page_size),
            metadata: call.metadata.clone(),
            gate: Gate::new(call.deadline, call.gone.clone()),
            patience: call.deadline.remaining().unwrap_or_default(),
        });
        let result = call.context.attempt(AttemptKind::Page, None, sending).await;
        let sent = result.as_ref().map_or(0, |reply| reply.seen.objects.len());
        let reply = self.tenancy.judged(&self.tenancy.question(call, method), result)?;
        let shown = Shown::of(call);
        let reply = match shown.keep(&reply.seen.objects) {
            Some(keep) => anew::list(method, reply, &keep)?,
            // What nobody knows may count what is not shown.
            None if !shown.is_all() && !reply.drift.is_empty() => anew::known(method, reply)?,
            None => reply,
        };
        Ok(Page { is_cut: reply.seen.objects.len() < sent, reply })
    }
}

impl Stage<Permitted<Call>> for Walk {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        match call.get().method.paged() {
            Some(_) => self.list(call.into_inner()).await,
            None => next.run(call).await,
        }
    }
}

/// Another org's token, another list's, upstream's own, a forged one: all the same.
fn foreign_token() -> Error {
    let violation = pb::bad_request::FieldViolation {
        field: "pagination.token".to_owned(),
        description: "is not a page token of this list".to_owned(),
        reason: Reason::PageToken.as_str().to_owned(),
        ..Default::default()
    };
    Error::refuse(Reason::PageToken).with_detail(&pb::BadRequest { field_violations: vec![violation] })
}

/// The list of somebody who asks for nothing of its own.
fn nothing() -> Reply {
    Reply {
        json: Bytes::from_static(b"{}"),
        wire: Bytes::new(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
        line: Line::default(),
    }
}
