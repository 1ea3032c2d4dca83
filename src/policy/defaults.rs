//! Writes the defaults of the policy into a request that does not say them: rules judge what goes upstream.

use std::sync::Arc;

use uuid::Uuid;

use super::{Edition, applied::Limits, bounds::DEFAULT_PAGE_SIZE, judge};
use crate::{
    call::{Call, Reply},
    error::{Error, Reason},
    rpc::{Facts, Fill, MethodSpec, Timeout},
    rule::Draw,
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// The stage. It also says whether limits or rules have to know the object that the call is about: that depends on what
/// the effective request says. Below the rate, as it goes over all rules: what is refused there costs less.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteDefaults;

impl Stage<Call> for WriteDefaults {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        if let Some(limits) = call.left.get::<Arc<Limits>>().cloned() {
            write(&mut call, &limits)?;
            let need = judge::needs_object(call.method, &call.facts, &limits);
            call.bound.needs_object = call.bound.needs_object.max(need);
        }
        if let Some(edition) = call.left.get::<Arc<Edition>>() {
            let draw = Draw::new(call.context.id().as_u128());
            let (rules, bound) = (edition.rules(), &mut call.bound);
            let need = rules.needs_object(&call.identity, call.method, draw);
            bound.needs_object = bound.needs_object.max(need);
            bound.needs_sizes = rules.needs_sizes(&call.identity, call.method, draw);
        }
        next.run(call).await
    }
}

fn write(call: &mut Call, limits: &Limits) -> Result<(), Error> {
    let fill = absent(call.method, &call.facts, limits);
    if !fill.is_empty() {
        let filled = call.method.fill(&call.request, fill);
        (call.request, call.facts) =
            filled.map_err(|error| Error::refuse(Reason::Internal).with_source(error))?;
    }
    Ok(())
}

/// What the policy has for what the request does not say.
fn absent(method: &'static MethodSpec, facts: &Facts, limits: &Limits) -> Fill {
    let defaults = &limits.defaults;
    let class = || {
        let project = Uuid::try_parse(facts.project.as_deref()?).ok()?;
        defaults.environment_classes.get(&project).map(Uuid::to_string)
    };
    let timeout = || defaults.timeout.and_then(|timeout| Timeout::try_from(timeout).ok());
    // As many as upstream shows by itself may be too many.
    let page_size = || {
        let max = limits.max_page_size.iter().find(|limit| limit.is_enforced())?.value;
        (max < DEFAULT_PAGE_SIZE).then_some(max)
    };
    Fill {
        timeout: if facts.spec && facts.timeout.is_none() { timeout() } else { None },
        // Where a class is required, nobody is given one.
        class: if facts.spec && facts.class.is_none() { class() } else { None },
        page_size: if method.paged().is_some() && facts.page_size.is_none() { page_size() } else { None },
    }
}
