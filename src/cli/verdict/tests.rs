//! How a verdict is shown.

use super::*;
use crate::proto::prebuildgateway::v1::verdict::Refusal;

#[test]
fn a_verdict_is_read_from_top_to_bottom() {
    let verdict = Verdict {
        allowed: false,
        policy: "0123456789abcdef".to_owned(),
        method: "gitpod.v1.PrebuildService/CreatePrebuild".to_owned(),
        refusal: Some(Refusal {
            code: "PERMISSION_DENIED".to_owned(),
            reason: "POLICY_DENIED".to_owned(),
            rule: "limits.max_timeout".to_owned(),
        }),
        rulings: vec![
            Ruling {
                rule: "limits.max_timeout".to_owned(),
                mode: Mode::Enforce.into(),
                outcome: Outcome::Broken.into(),
                field: "spec.timeout".to_owned(),
                bound: "must be at most 3600s".to_owned(),
                link: "https://wiki.example.com/timeouts".to_owned(),
                ..Ruling::default()
            },
            Ruling {
                rule: "rules.night".to_owned(),
                mode: Mode::Audit.into(),
                outcome: Outcome::Kept.into(),
                candidate: true,
                ..Ruling::default()
            },
        ],
        quotas: vec![Quota {
            rule: "rates.org.all".to_owned(),
            remaining: 98,
            burst: 100,
            full_in_seconds: 0.04,
        }],
        request_json: String::new(),
        written_fields: vec!["spec.timeout".to_owned()],
        ..Verdict::default()
    };
    let expected = "\
would be refused: PERMISSION_DENIED, POLICY_DENIED, limits.max_timeout (policy 0123456789abcdef)
  enforce  broken  limits.max_timeout  spec.timeout must be at most 3600s; https://wiki.example.com/timeouts
  tried    kept    rules.night
  rate     rates.org.all: 98 of 100 left, all in 40ms
  default  spec.timeout is written
";
    assert_eq!(Shown(&verdict).to_string(), expected);
}

#[test]
fn one_that_would_pass_shows_what_would_be_sent() {
    let verdict = Verdict { allowed: true, request_json: "{}".to_owned(), ..Verdict::default() };
    assert_eq!(Shown(&verdict).to_string(), "would be forwarded\n  sends    {}\n");
}
