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
    rpc::{MethodSpec, Object, Required},
    rule::Need,
    stack::{Next, Stage, stage},
};

#[cfg(test)]
mod tests;

/// The field of a request that says a bound of a pool; where there is one, there is the other.
const MAX_SIZE: &str = "max_size";

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

/// What the policy says of a call. What else may become of it is not the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Every rule lets it pass.
    Passed,
    /// A rule refuses it: the first one that does.
    Refused(String),
    /// It is refused before the rules judge it, for this: by its scopes, or as what would be sent breaks the API's bounds.
    Before(String),
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
    pub async fn judge(&self, call: Call, object: Option<Object>) -> Result<Judged, Error> {
        call.context.set_dry_run();
        let error = self.run(call, object).await?;
        let Some(verdict) = detail::<Verdict>(&error) else { return Err(error) };
        let fields = detail::<BadRequest>(&error).map(|request| request.field_violations);
        Ok(Judged { verdict, fields: fields.unwrap_or_default() })
    }

    /// What the policy says of a call, and nothing more: of the object only that is needed which rules in force judge.
    ///
    /// # Errors
    /// It cannot be told, as in [`judge`](Self::judge).
    pub async fn decide(&self, call: Call, object: Option<Object>) -> Result<Decided, Error> {
        let context = call.context.clone();
        let error = self.run(call, object).await?;
        let rule = || error.rule.clone().unwrap_or_default().into_owned();
        match error.reason {
            Some(Reason::PolicyDenied) => Ok(Decided::Refused(rule())),
            // Behind the rules one bound of a pool is held against the other one.
            _ if context.judged().is_some() => Ok(Decided::Passed),
            Some(Reason::ScopeMissing | Reason::Guardrail | Reason::StricterBound) => {
                Ok(Decided::Before(rule()))
            }
            _ => Err(error),
        }
    }

    /// Nothing here answers a call.
    async fn run(&self, mut call: Call, object: Option<Object>) -> Result<Error, Error> {
        if let Some(object) = object {
            call.left.insert(About(object));
        }
        match self.0.clone().oneshot(call).await {
            Err(error) => Ok(error),
            Ok(_) => Err(Error::refuse(Reason::Internal)),
        }
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
            if misses(&call) {
                return Err(Error::refuse(Reason::Internal).with_source(ObjectMissing));
            }
        }
        next.run(call).await
    }
}

/// Whether it cannot be told without more of the object than is given. A verdict tells of every rule; what is decided
/// depends on those in force alone.
fn misses(call: &Call) -> bool {
    let enough = if call.context.is_dry_run() { Need::Not } else { Need::Wanted };
    let Some(object) = &call.facts.resource else { return call.bound.needs_object > enough };
    // Records have the sizes of a pool only where they counted.
    let (min, max) = call.facts.sizes.bounds();
    let is_part = call.method.takes(MAX_SIZE) && (min.is_none() || max.is_none());
    let of_object = if is_part { call.bound.needs_object } else { Need::Not };
    let is_unsized = is_of_pool(call.method) && !object.is_pool();
    is_unsized && !call.context.is_dry_run() && call.bound.needs_sizes.max(of_object) > enough
}

fn is_of_pool(method: &MethodSpec) -> bool {
    method.requires.contains(&Required::Pool)
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trial")
    }
}
