//! What of the policy a caller is told: its version with a refusal, and warnings with anything.

use std::time::Instant;

use http::HeaderMap;
use prost::Message as _;
use tonic_types::pb;

use super::{Context, GRPC, RequestId, details, render_for};
use crate::{
    error::{Error, Reason},
    front::render::warnings,
    rule::{Applied, Mode, Outcome, Ruling, Version},
};

fn context() -> Context {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    context.set_policy(Version::of(["policy"]));
    context
}

fn ruling(rule: &str, mode: Mode, outcome: Outcome) -> Ruling {
    Applied { rule: rule.into(), mode, candidate: false, value: (), link: None }.ruling(outcome)
}

fn warned(context: &Context) -> Vec<String> {
    let mut headers = HeaderMap::new();
    warnings::append(context, &mut headers);
    let values = headers.get_all("x-policy-warning").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_refusal_names_the_policy_and_the_rule() {
    let context = context();
    let error = Error::refuse(Reason::PolicyDenied).with_rule("limits.max_timeout");
    let response = render_for(GRPC, error, &context, true);
    let info = pb::ErrorInfo::decode(&details(&response).details[0].value[..]).unwrap();
    assert_eq!(info.metadata["policy"], context.policy().unwrap().as_str());
    assert_eq!(info.metadata["rule"], "limits.max_timeout");
    assert_eq!(info.metadata["request_id"], context.id().to_string());
}

#[test]
fn what_is_broken_in_mode_warn_is_told_in_printable_ascii() {
    let context = context();
    let version = context.policy().unwrap().clone();
    let mut worded = ruling("rules.caf\u{e9}", Mode::Warn, Outcome::Failed).within("never shown");
    worded.message = Some("say\nplease \u{2026}".into());
    context.add_rulings([
        ruling("limits.max_timeout", Mode::Warn, Outcome::Broken).within("at most 30m"),
        ruling("limits.projects", Mode::Audit, Outcome::Broken).within("audited"),
        ruling("limits.methods", Mode::Enforce, Outcome::Broken).within("refused"),
        ruling("limits.max_pool_size", Mode::Warn, Outcome::Kept).within("kept"),
        worded,
    ]);
    assert_eq!(
        warned(&context),
        [
            format!("limits.max_timeout: at most 30m (policy {version})"),
            format!("rules.caf?: say?please ? (policy {version})"),
        ]
    );
}

#[test]
fn warnings_are_few_and_short() {
    let context = context();
    for number in 0..20 {
        let rule = format!("rules.{number}");
        context.add_rulings([ruling(&rule, Mode::Warn, Outcome::Broken).within("x".repeat(1000))]);
    }
    let warned = warned(&context);
    assert_eq!(warned.len(), 3, "1.5 KiB of them");
    assert!(warned.iter().all(|warning| warning.len() == 512));
    let context = self::context();
    let short = |number| ruling(&format!("rules.{number}"), Mode::Warn, Outcome::Broken).within("x");
    context.add_rulings((0..20).map(short));
    assert_eq!(self::warned(&context).len(), 8);
}
