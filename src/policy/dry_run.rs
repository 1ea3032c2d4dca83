//! Dry runs: the caller asks what would become of a call, and gets the whole verdict in place of an answer.
//!
//! A dry run goes the way of any other call as far as it is judged, so that there is one judge; just before it would cost
//! something (the disk, a budget, upstream) it is stopped. It never ends well: whoever takes the verdict for an answer
//! gets an error.

use std::{
    mem,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost::Message as _;

use super::Permitted;
use crate::{
    call::{Call, Context, Reply},
    connect::json::to_json,
    error::{Code, Error, Origin, Reason, code_name},
    proto::prebuildgateway::v1::{Verdict, verdict},
    rpc::MethodSpec,
    rule::{Mode, Outcome, Remaining, Ruling},
    stack::{Next, Stage},
};

#[cfg(test)]
mod tests;

/// The rule that refuses whoever may not ask.
const RULE: &str = "scopes.explain";

/// What a verdict takes at most, of the 4 KiB that details have over gRPC: the refusal's own come beside it.
const ROOM: usize = 3 << 10;

/// Turns whatever becomes of a dry run into its verdict.
#[derive(Clone, Copy, Debug)]
pub struct DryRun;

/// Stops a dry run that has passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Halt;

/// What would have been sent. The one stage leaves the place for it, the other fills it.
#[derive(Clone, Debug, Default)]
struct Effective(Arc<OnceLock<Sent>>);

/// The effective request, with the paths of the fields in it that the policy has written.
#[derive(Clone, Debug)]
struct Sent {
    request: Bytes,
    written: Vec<String>,
}

impl Stage<Call> for DryRun {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        if !call.context.is_dry_run() {
            return next.run(call).await;
        }
        if !call.identity.scopes.explain() {
            return Err(Error::refuse(Reason::ScopeMissing).with_rule(RULE));
        }
        let (method, context, effective) = (call.method, call.context.clone(), Effective::default());
        call.left.insert(effective.clone());
        match next.run(call).await {
            Err(error) if !is_verdict(&error) => Err(error),
            Err(error) => Err(conclude(method, &context, &effective, error)),
            // Nothing below answers a dry run.
            Ok(_) => Err(Error::refuse(Reason::Internal)),
        }
    }
}

impl Stage<Permitted<Call>> for Halt {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        if !call.get().context.is_dry_run() {
            return next.run(call).await;
        }
        let Call { request, facts, left, .. } = call.get();
        if let Some(Effective(sent)) = left.get() {
            let written = facts.written.iter().map(|field| (*field).to_owned());
            sent.get_or_init(|| Sent { request: request.clone(), written: written.collect() });
        }
        Err(Error::refuse(Reason::DryRun))
    }
}

/// Whether an error says what becomes of such calls, and not that it could not be told this time.
fn is_verdict(error: &Error) -> bool {
    let is_for_now = matches!(
        error.code,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Internal | Code::Unknown
    );
    error.origin != Origin::Upstream && !is_for_now
}

fn conclude(method: &MethodSpec, context: &Context, effective: &Effective, error: Error) -> Error {
    let sent = effective.0.get();
    let refusal = (error.reason != Some(Reason::DryRun)).then(|| verdict::Refusal {
        code: code_name(error.code).to_owned(),
        reason: error.reason.map(Reason::as_str).unwrap_or_default().to_owned(),
        rule: error.rule.clone().unwrap_or_default().into_owned(),
    });
    let verdict = Verdict {
        allowed: refusal.is_none(),
        policy: context.policy().map(ToString::to_string).unwrap_or_default(),
        method: method.path.trim_start_matches('/').to_owned(),
        refusal,
        rulings: context.rulings().into_iter().map(Into::into).collect(),
        quotas: context.remaining().into_iter().map(Into::into).collect(),
        request_json: sent.and_then(|sent| json(method, &sent.request)).unwrap_or_default(),
        written_fields: sent.map(|sent| sent.written.clone()).unwrap_or_default(),
        kept_left_out: 0,
        request_left_out: false,
        broken_left_out: 0,
    };
    let verdict = fitted(verdict);
    let mut dry = Error::refuse(Reason::DryRun).with_detail(&verdict);
    dry.rule.clone_from(&error.rule);
    dry.details.extend(error.details.iter().cloned());
    dry.with_source(error)
}

/// What is kept is of the least interest, and the caller has the request already; then what is only said about rules,
/// and last those that refuse.
fn fitted(mut verdict: Verdict) -> Verdict {
    let steps: [fn(&mut Verdict) -> bool; 6] = [
        |verdict| leave_out(verdict, |ruling| ruling.outcome() == verdict::Outcome::Kept),
        |verdict| {
            verdict.request_json.clear();
            !mem::replace(&mut verdict.request_left_out, true)
        },
        |verdict| clear(verdict, |ruling| &mut ruling.link),
        |verdict| clear(verdict, |ruling| &mut ruling.message),
        |verdict| leave_out(verdict, |ruling| ruling.candidate || ruling.mode() != verdict::Mode::Enforce),
        |verdict| leave_out(verdict, |_| true),
    ];
    for step in steps {
        while verdict.encoded_len() > ROOM && step(&mut verdict) {}
    }
    verdict
}

/// The last of such rulings; false if there is none.
fn leave_out(verdict: &mut Verdict, of: impl Fn(&verdict::Ruling) -> bool) -> bool {
    let Some(index) = verdict.rulings.iter().rposition(of) else { return false };
    match verdict.rulings.remove(index).outcome() {
        verdict::Outcome::Kept => verdict.kept_left_out += 1,
        _ => verdict.broken_left_out += 1,
    }
    true
}

/// Such texts of all rulings; there are none afterwards.
fn clear(verdict: &mut Verdict, text: fn(&mut verdict::Ruling) -> &mut String) -> bool {
    verdict.rulings.iter_mut().map(text).for_each(String::clear);
    false
}

fn json(method: &MethodSpec, wire: &[u8]) -> Option<String> {
    String::from_utf8(to_json((method.schema)(), method.input()?, wire).ok()?).ok()
}

impl From<Ruling> for verdict::Ruling {
    fn from(ruling: Ruling) -> Self {
        let Ruling { rule, mode, candidate, outcome, field, bound, message, link } = ruling;
        let mode = match mode {
            // What is off is not looked at.
            Mode::Off => verdict::Mode::Unspecified,
            Mode::Audit => verdict::Mode::Audit,
            Mode::Warn => verdict::Mode::Warn,
            Mode::Enforce => verdict::Mode::Enforce,
        };
        let outcome = match outcome {
            Outcome::Kept => verdict::Outcome::Kept,
            Outcome::Broken => verdict::Outcome::Broken,
            Outcome::Failed => verdict::Outcome::Failed,
        };
        Self {
            rule: rule.to_string(),
            mode: mode.into(),
            outcome: outcome.into(),
            candidate,
            field: field.unwrap_or_default().into_owned(),
            bound: bound.unwrap_or_default().into_owned(),
            message: message.as_deref().unwrap_or_default().to_owned(),
            link: link.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

impl From<Remaining> for verdict::Quota {
    fn from(remaining: Remaining) -> Self {
        let Remaining { rule, rate, calls, full_in } = remaining;
        Self {
            rule: rule.to_string(),
            remaining: calls,
            burst: rate.burst.get(),
            full_in_seconds: full_in.as_secs_f64(),
        }
    }
}
