//! What rules see of a call, as values. What is absent counts as what upstream would take, or as the most that it may.

use std::time::{Duration, SystemTime};

use cedar_policy::{EntityTypeName, RestrictedExpression as Value};

use super::{
    Question,
    entities::{Types, uid},
};
use crate::{
    policy::judge,
    proto::gitpod::v1::{PrebuildPhase, prebuild_metadata::PrebuildTrigger},
};

/// Upstream's own default of a timeout.
const DEFAULT_TIMEOUT: i64 = 60 * 60;
/// Upstream's own default of a page.
const DEFAULT_PAGE_SIZE: i64 = 25;
/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;
const SECONDS_OF_AN_HOUR: u64 = 60 * 60;
/// From 1970-01-01 on, a Thursday.
pub(super) const WEEKDAYS: [&str; 7] =
    ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];

/// As the front calls them.
pub(super) const PROTOCOLS: [&str; 3] = ["grpc", "grpc_web", "connect"];

/// Proto paths.
const TIMEOUT: &str = "spec.timeout";
const PAGE_SIZE: &str = "pagination.page_size";

type Seen = Option<Value>;

pub(super) fn time(question: &Question<'_>, _: &Types) -> Seen {
    let since = since_1970(question);
    let whole = Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or_default());
    let time = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + whole);
    Some(Value::new_datetime(time.to_string()))
}

pub(super) fn hour(question: &Question<'_>, _: &Types) -> Seen {
    long(since_1970(question).as_secs() / SECONDS_OF_AN_HOUR % 24)
}

pub(super) fn weekday(question: &Question<'_>, _: &Types) -> Seen {
    let day = since_1970(question).as_secs() / (24 * SECONDS_OF_AN_HOUR) % 7;
    let name = WEEKDAYS.get(usize::try_from(day).ok()?)?;
    text(name)
}

/// The other end of the connection; an IPv4 address in IPv6 clothes is an IPv4 address, or no range would hold it.
pub(super) fn client_address(question: &Question<'_>, _: &Types) -> Seen {
    question.peer.map(|peer| Value::new_ip(peer.to_canonical().to_string()))
}

pub(super) fn protocol(question: &Question<'_>, _: &Types) -> Seen {
    text(question.protocol)
}

pub(super) fn environment_class(question: &Question<'_>, types: &Types) -> Seen {
    question.facts.class.as_deref().map(|class| Value::new_entity_uid(uid(&types.class, class)))
}

/// Rounded up: a part of a second over a bound is over it.
pub(super) fn timeout_seconds(question: &Question<'_>, _: &Types) -> Seen {
    let seconds =
        question.facts.timeout.map(|timeout| timeout.seconds.saturating_add((timeout.nanos > 0).into()));
    Some(Value::new_long(seconds.unwrap_or(DEFAULT_TIMEOUT)))
}

pub(super) fn timeout_given(question: &Question<'_>, _: &Types) -> Seen {
    given(question, TIMEOUT, question.facts.timeout.is_some())
}

pub(super) fn desired_phase(question: &Question<'_>, _: &Types) -> Seen {
    text(phase(question.facts.desired_phase?))
}

pub(super) fn desired_size(question: &Question<'_>, _: &Types) -> Seen {
    question.facts.sizes.desired.and_then(long)
}

/// As the limits have it, so that no size that a call leaves out is a way around a rule.
pub(super) fn min_size(question: &Question<'_>, _: &Types) -> Seen {
    long(judge::effective(question.facts).min)
}

pub(super) fn min_size_given(question: &Question<'_>, _: &Types) -> Seen {
    Some(Value::new_bool(question.facts.sizes.min.is_some()))
}

pub(super) fn max_size(question: &Question<'_>, _: &Types) -> Seen {
    long(judge::effective(question.facts).max)
}

pub(super) fn max_size_given(question: &Question<'_>, _: &Types) -> Seen {
    Some(Value::new_bool(question.facts.sizes.max.is_some()))
}

/// What the pool may grow to by this call.
pub(super) fn largest_size(question: &Question<'_>, _: &Types) -> Seen {
    long(judge::effective(question.facts).largest)
}

pub(super) fn page_size(question: &Question<'_>, _: &Types) -> Seen {
    question.facts.page_size.map_or_else(|| long(DEFAULT_PAGE_SIZE), long)
}

pub(super) fn page_size_given(question: &Question<'_>, _: &Types) -> Seen {
    given(question, PAGE_SIZE, question.facts.page_size.is_some())
}

pub(super) fn filter_projects(question: &Question<'_>, types: &Types) -> Seen {
    entities(&types.project, &question.facts.filter.projects)
}

pub(super) fn filter_environment_classes(question: &Question<'_>, types: &Types) -> Seen {
    entities(&types.class, &question.facts.filter.classes)
}

pub(super) fn filter_creators(question: &Question<'_>, _: &Types) -> Seen {
    texts(question.facts.filter.creators.iter().map(String::as_str))
}

pub(super) fn filter_executors(question: &Question<'_>, _: &Types) -> Seen {
    texts(question.facts.filter.executors.iter().map(String::as_str))
}

pub(super) fn filter_phases(question: &Question<'_>, _: &Types) -> Seen {
    texts(question.facts.filter.phases.iter().map(|number| phase(*number)))
}

pub(super) fn filter_triggers(question: &Question<'_>, _: &Types) -> Seen {
    let name = |number: &i32| PrebuildTrigger::try_from(*number).unwrap_or_default().as_str_name();
    texts(question.facts.filter.triggers.iter().map(name))
}

/// What the policy has written the caller has not given.
fn given(question: &Question<'_>, path: &str, is_said: bool) -> Seen {
    Some(Value::new_bool(is_said && !question.facts.written.contains(path)))
}

pub(super) fn long(number: impl TryInto<i64>) -> Seen {
    number.try_into().ok().map(Value::new_long)
}

pub(super) fn text(text: &str) -> Seen {
    Some(Value::new_string(text.to_owned()))
}

pub(super) fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Seen {
    Some(Value::new_set(texts.map(|text| Value::new_string(text.to_owned()))))
}

fn entities(kind: &EntityTypeName, ids: &[String]) -> Seen {
    Some(Value::new_set(ids.iter().map(|id| Value::new_entity_uid(uid(kind, id)))))
}

/// Validation lets defined values through only.
fn phase(number: i32) -> &'static str {
    PrebuildPhase::try_from(number).unwrap_or_default().as_str_name()
}

/// A clock before 1970 stands at its beginning, one after 9999 at its end.
fn since_1970(question: &Question<'_>) -> Duration {
    let since = question.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.min(Duration::from_secs(LAST_SECOND))
}
