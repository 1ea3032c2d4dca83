//! The way of a call as far as it is judged, without disk, counters and upstream: for calls that are tried before a policy
//! is trusted.
//!
//! The stages are those of the [`Gateway`](super::Gateway), in its order. Rates and budgets are left out, as nothing here
//! knows what is used up; and the object that a call is about is given, not looked up.

use std::fmt;

use tonic_types::pb::{BadRequest, bad_request::FieldViolation};
use tower::{ServiceBuilder, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use crate::{
    call::{Call, Reply},
    error::{Detail, Error, Reason},
    policy::{Authorize, Bind, DryRun, Halt, InScope, Permitted, Validate, WriteDefaults},
    proto::prebuildgateway::v1::Verdict,
    rpc::Object,
    rule::Need,
    stack::{Next, Stage, stage},
};

#[cfg(test)]
mod tests;

/// Judges calls, and makes none.
#[derive(Clone)]
pub struct Trial(BoxCloneSyncService<Call, Reply, Error>);

/// What would become of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    /// The fields of the request that it would be refused for.
    pub fields: Vec<FieldViolation>,
}

/// A rule wants to know the object that a call is about, and nobody has said what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy judges the object that the call is about, and none is given")]
pub struct ObjectMissing;

/// Stands where the object would be looked up.
#[derive(Clone, Copy, Debug)]
struct Given;

/// What it gives.
#[derive(Clone, Debug)]
struct About(Object);

impl Trial {
    pub fn new(bind: Bind, validate: Validate, authorize: Authorize) -> Self {
        let service = ServiceBuilder::new()
            .layer(stage(bind))
            .layer(stage(DryRun))
            .layer(stage(InScope))
            .layer(stage(WriteDefaults))
            .layer(stage(validate))
            .layer(stage(Given))
            .layer(stage(authorize))
            .layer(stage(Halt))
            .service(service_fn(|_: Permitted<Call>| async { Err(Error::refuse(Reason::Internal)) }));
        Self(BoxCloneSyncService::new(service))
    }

    /// What would become of a call, of which `object` is what it is about.
    ///
    /// # Errors
    /// It cannot be told: a rule needs the object ([`ObjectMissing`] is the source then), or the caller may not ask.
    pub async fn judge(&self, mut call: Call, object: Option<Object>) -> Result<Judged, Error> {
        call.context.set_dry_run();
        if let Some(object) = object {
            call.left.insert(About(object));
        }
        let Err(error) = self.0.clone().oneshot(call).await else {
            return Err(Error::refuse(Reason::Internal));
        };
        let Some(verdict) = detail::<Verdict>(&error) else { return Err(error) };
        let fields = detail::<BadRequest>(&error).map(|request| request.field_violations);
        Ok(Judged { verdict, fields: fields.unwrap_or_default() })
    }
}

/// The error's detail of a type, where it has one that can be read.
fn detail<T: Detail + Default>(error: &Error) -> Option<T> {
    let detail = error.details.iter().find(|any| T::is(any))?;
    T::decode(&detail.value[..]).ok()
}

impl Stage<Call> for Given {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        if call.method.lookup.is_some() {
            call.facts.resource = call.left.remove::<About>().map(|About(object)| object);
            if call.bound.needs_object != Need::Not && call.facts.resource.is_none() {
                return Err(Error::refuse(Reason::Internal).with_source(ObjectMissing));
            }
        }
        next.run(call).await
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trial")
    }
}
