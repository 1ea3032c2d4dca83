//! What a caller may ask for. Only this room makes a [`Permitted`], and only a `Permitted<Call>` goes upstream.

use std::{sync::Arc, time::SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use applied::Limits;
use rules::Question;

use crate::{
    call::{Call, Reply},
    error::{Error, Reason},
    rpc::Class,
    rule::{Draw, Ruling},
    stack::{Next, Stage},
};

pub mod applied;
mod bind;
pub mod bounds;
mod defaults;
pub mod document;
mod dry_run;
mod edition;
pub mod judge;
pub mod refusal;
pub mod rules;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
pub mod validate;

pub use bind::{Bind, Policy};
pub use defaults::WriteDefaults;
pub use dry_run::{DryRun, Halt};
pub use edition::{Caller, Edition, Ground, Held, Holders, Known, Line, Section, Sustained, lints};
pub use texts::{Source, Texts};
pub use validate::{Tier, Violation};

/// `[validation]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What happens where only the official schema sets a bound: a timeout under 300 s, a `max_size` or
    /// `desired_size` under 1.
    pub stricter: Stricter,
}

/// Who enforces the bounds that only the official schema has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stricter {
    /// Upstream decides.
    #[default]
    Forward,
    /// The gateway refuses.
    Enforce,
}

/// What has passed every check. It cannot be made outside this room.
#[derive(Debug)]
pub struct Permitted<T>(T);

/// Checks that the caller's credential is good for the method, and that the policy allows it.
#[derive(Clone, Copy, Debug)]
pub struct InScope;

/// Checks what the message alone can show wrong.
#[derive(Clone, Copy, Debug)]
pub struct Validate {
    pub stricter: Stricter,
}

/// Checks what needs the object that the call is about, and permits the call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authorize {
    /// The time that rules may look at; none is what the clock on the wall says.
    pub at: Option<SystemTime>,
}

impl Stricter {
    /// As the config has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Enforce => "enforce",
        }
    }
}

impl Authorize {
    /// First whether the object is one that the caller may reach at all, by the limits, then by the operator's rules: what
    /// a refusal says of its sizes is only for those who may. Then by all that looks at them: what is broken is told at
    /// once. At last one bound of a pool against the other one, which is no refusal of the policy's.
    ///
    /// # Errors
    /// Something refuses the call; or no policy has been bound to it: nothing goes upstream unjudged.
    fn judge(self, call: &Call) -> Result<(), Error> {
        let (Some(limits), Some(edition)) = (call.left.get::<Arc<Limits>>(), call.left.get::<Arc<Edition>>())
        else {
            return Err(Error::refuse(Reason::Internal));
        };
        let now = self.at.unwrap_or_else(SystemTime::now);
        call.context.set_judged(call.facts.clone(), now);
        ruled(call, judge::object(call.method, &call.facts, limits))?;
        let rules = edition.rules().judge(&Question {
            identity: &call.identity,
            method: call.method,
            facts: &call.facts,
            draw: Draw::new(call.context.id().as_u128()),
            now,
            peer: call.context.peer().map(|peer| peer.ip()),
            protocol: call.context.protocol().unwrap_or_default(),
        });
        let is_later =
            |ruling: &Ruling| call.facts.resource.is_none() || edition.rules().looks_at_sizes(&ruling.rule);
        let (later, first): (Vec<_>, Vec<_>) = rules.into_iter().partition(is_later);
        ruled(call, first)?;
        let mut rulings = judge::request(call.method, &call.facts, limits);
        rulings.extend(later);
        ruled(call, rulings)?;
        Ok(validate::resolved(&call.facts)?)
    }
}

impl<T> Permitted<T> {
    pub fn get(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Stage<Call> for InScope {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        if !call.identity.scopes.cover(call.method) {
            return Err(Error::refuse(Reason::ScopeMissing).with_rule(rule(call.method.class)));
        }
        if let Some(limits) = call.left.get::<Arc<Limits>>() {
            ruled(&call, judge::method(call.method, limits))?;
        }
        next.run(call).await
    }
}

impl Stage<Call> for Validate {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        validate::message(call.method, &call.facts, self.stricter)?;
        next.run(call).await
    }
}

impl Stage<Call> for Authorize {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        self.judge(&call)?;
        call.context.set_permitted();
        next.run(Permitted(call)).await
    }
}

/// Keeps the rulings with the call, and refuses it for those that do.
fn ruled(call: &Call, rulings: Vec<Ruling>) -> Result<(), Error> {
    let refusal = refusal::refuse(&rulings);
    call.context.add_rulings(rulings);
    refusal.map_or(Ok(()), Err)
}

/// The scope that a caller lacks, so that an operator knows what to grant.
const fn rule(class: Class) -> &'static str {
    match class {
        Class::Read => "scopes.read",
        Class::Mutate => "scopes.mutate",
        Class::Secret => "scopes.secret",
    }
}
