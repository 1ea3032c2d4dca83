//! What the buckets said, for the caller and for the record.

use tonic_types::pb;

use super::{Taken, pace::Pace};
use crate::{
    call::{Context, Identity},
    error::{Error, Reason, Retry},
    rule::{Holder, Outcome, Quota, Remaining},
};

/// What the rates of requests count, as `QuotaFailure` has it.
const METRIC: &str = "requests";

/// A ruling on each rate, and of those in force what is left, the scarcest first.
pub(super) fn keep(context: &Context, quotas: &[Quota], taken: &[Taken]) {
    context.add_rulings(quotas.iter().zip(taken).map(|(quota, taken)| {
        let outcome = if taken.is_refused() { Outcome::Broken } else { Outcome::Kept };
        quota.rate.ruling(outcome).within(quota.rate.value.to_string())
    }));
    let in_force = quotas.iter().zip(taken).filter(|(quota, _)| quota.rate.is_enforced());
    let mut remaining: Vec<_> = in_force.map(|(quota, taken)| left(quota, taken)).collect();
    // Of two that are as empty, the one that takes longer.
    remaining.sort_by(|a, b| a.calls.cmp(&b.calls).then(b.full_in.cmp(&a.full_in)));
    // A rule may be held against its entries for all calls and for a share of them.
    let mut told = Vec::with_capacity(remaining.len());
    remaining.retain(|item| {
        let is_new = !told.contains(&item.rule);
        told.push(item.rule.clone());
        is_new
    });
    context.set_remaining(remaining);
}

fn left(quota: &Quota, taken: &Taken) -> Remaining {
    let rate = quota.rate.value;
    let calls = match taken {
        Taken::Passed { left, .. } => *left,
        // Less than the call costs, and not always nothing.
        Taken::Refused { full_in, .. } => {
            Pace::of(rate).left(u64::try_from(full_in.as_nanos()).unwrap_or(u64::MAX))
        }
    };
    Remaining { rule: quota.rate.rule.clone(), rate, calls, full_in: taken.full_in() }
}

/// If a rate in force is used up. `QuotaFailure` names each that is, `RetryInfo` when all of them would let the call pass.
pub(super) fn refusal(identity: &Identity, quotas: &[Quota], taken: &[Taken]) -> Option<Error> {
    let refused = || {
        quotas.iter().zip(taken).filter_map(|(quota, taken)| match taken {
            Taken::Refused { wait, .. } if quota.rate.is_enforced() => Some((quota, *wait)),
            Taken::Refused { .. } | Taken::Passed { .. } => None,
        })
    };
    let (longest, wait) = refused().max_by_key(|(_, wait)| *wait)?;
    let violations = refused().map(|(quota, _)| violation(identity, quota)).collect();
    Some(
        Error::refuse(Reason::RateLimited)
            .with_rule(longest.rate.rule.as_str().to_owned())
            .with_detail(&pb::QuotaFailure { violations })
            .with_retry(Retry::After(wait)),
    )
}

fn violation(identity: &Identity, quota: &Quota) -> pb::quota_failure::Violation {
    let org = &identity.org;
    let subject = match quota.holder {
        Holder::Org => format!("org:{org}"),
        Holder::Subject => format!("org:{org} subject:{}", identity.subject),
    };
    pb::quota_failure::Violation {
        subject,
        description: describe(quota),
        quota_metric: METRIC.to_owned(),
        quota_id: quota.rate.rule.as_str().to_owned(),
        quota_value: quota.rate.value.burst.get().into(),
        ..Default::default()
    }
}

/// Which limit, what it is, and of which calls: the last word of its name is their class.
fn describe(quota: &Quota) -> String {
    let (rule, rate) = (quota.rate.rule.as_str(), quota.rate.value);
    let class = rule.rsplit('.').next().unwrap_or_default();
    match quota.cost.get() {
        1 => format!("{rule}: {class} calls, {rate}"),
        cost => format!("{rule}: {class} calls, {rate}; this call counts as {cost}"),
    }
}
