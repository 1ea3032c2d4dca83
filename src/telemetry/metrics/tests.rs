//! Metrics as a scrape sees them.

use std::time::Duration;

use tonic::Code;

use super::{AuditStage, Decision, Metrics, UpstreamFault};
use crate::rpc::{CREATE_PREBUILD, GET_PREBUILD};

fn assert_lines(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
    }
}

fn series<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect()
}

#[test]
fn a_scrape_shows_what_happened() {
    let metrics = Metrics::new();
    let in_flight = metrics.call_begun();
    drop(metrics.clone().call_begun());
    metrics.call_ended(
        Some(&CREATE_PREBUILD),
        Some("acme"),
        Code::Ok,
        Decision::Allowed,
        Duration::from_millis(70),
    );
    metrics.call_ended(None, None, Code::Unimplemented, Decision::Refused, Duration::from_micros(10));
    metrics.request_fields_unknown(&CREATE_PREBUILD, 3);
    metrics.upstream_answered(&CREATE_PREBUILD, Duration::from_millis(60));
    metrics.upstream_failed(&CREATE_PREBUILD, UpstreamFault::Reset);
    metrics.credential_refused("acme");
    metrics.tenancy_mismatched("acme", &CREATE_PREBUILD, "organization");
    metrics.organizations_missing(&CREATE_PREBUILD, 2);
    metrics.refusal_hidden(&GET_PREBUILD, Code::PermissionDenied);
    metrics.pool_bounds_crossed();
    metrics.peer_limited();
    metrics.reloaded("identity.keys_file", true);
    metrics.reloaded("identity.keys_file", false);
    metrics.audit_recorded(AuditStage::Intent);
    metrics.audit_failed();
    metrics.audit_synced(Duration::from_micros(300));
    metrics.upstream_reachable(true);
    let text = metrics.encode();
    assert_lines(
        &text,
        &[
            "# TYPE prebuild_gateway_requests counter",
            "prebuild_gateway_requests_total{method=\"CreatePrebuild\",code=\"OK\",org=\"acme\",decision=\"allowed\"} 1",
            "prebuild_gateway_requests_total{method=\"unknown\",code=\"UNIMPLEMENTED\",org=\"\",decision=\"refused\"} 1",
            "prebuild_gateway_request_duration_seconds_bucket{le=\"0.05\",method=\"CreatePrebuild\"} 0",
            "prebuild_gateway_request_duration_seconds_bucket{le=\"0.1\",method=\"CreatePrebuild\"} 1",
            "prebuild_gateway_request_duration_seconds_count{method=\"unknown\"} 1",
            "prebuild_gateway_requests_in_flight 1",
            "prebuild_gateway_request_unknown_fields_total{method=\"CreatePrebuild\"} 3",
            "prebuild_gateway_upstream_request_duration_seconds_count{method=\"CreatePrebuild\"} 1",
            "prebuild_gateway_upstream_errors_total{method=\"CreatePrebuild\",kind=\"reset\"} 1",
            "prebuild_gateway_upstream_credential_refused_total{org=\"acme\"} 1",
            "prebuild_gateway_upstream_tenancy_mismatches_total{org=\"acme\",method=\"CreatePrebuild\",kind=\"organization\"} 1",
            "prebuild_gateway_upstream_organizations_missing_total{method=\"CreatePrebuild\"} 2",
            "prebuild_gateway_upstream_refusals_hidden_total{method=\"GetPrebuild\",code=\"PERMISSION_DENIED\"} 1",
            "prebuild_gateway_warm_pool_bounds_crossed_total 1",
            "prebuild_gateway_peer_limited_total 1",
            r#"prebuild_gateway_file_reloads_total{key="identity.keys_file",result="taken"} 1"#,
            r#"prebuild_gateway_file_reloads_total{key="identity.keys_file",result="refused"} 1"#,
            "prebuild_gateway_audit_records_total{stage=\"intent\"} 1",
            "prebuild_gateway_audit_write_errors_total 1",
            "prebuild_gateway_audit_fsync_duration_seconds_count 1",
            "prebuild_gateway_upstream_reachable 1",
            &format!("prebuild_gateway_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        ],
    );
    assert!(text.ends_with("# EOF\n"));
    drop(in_flight);
    let text = metrics.encode();
    assert_lines(&text, &["prebuild_gateway_requests_in_flight 0"]);
}

#[test]
fn only_the_first_hundred_names_become_labels() {
    let metrics = Metrics::new();
    for number in 0..1_000 {
        metrics.field_unknown("gitpod.v1.Prebuild", &format!("field{number}"));
        metrics.enum_value_unknown("gitpod.v1.Prebuild.phase", &format!("PHASE_{number}"));
    }
    metrics.field_unknown("gitpod.v1.Prebuild", "field7");
    let text = metrics.encode();
    for name in ["prebuild_gateway_unknown_fields_total", "prebuild_gateway_unknown_enum_values_total"] {
        assert_eq!(series(&text, name).len(), 101);
        assert_lines(&text, &[&format!("{name}{{path=\"other\",name=\"other\"}} 900")]);
    }
    let admitted = "prebuild_gateway_unknown_fields_total{path=\"gitpod.v1.Prebuild\",name=\"field7\"} 2";
    assert_lines(&text, &[admitted]);
}

#[test]
fn what_does_not_look_like_a_name_is_no_label() {
    let metrics = Metrics::new();
    let long = "x".repeat(65);
    for name in ["", "a b", "a\"} 1\nevil 1", "ünder", "a-b", &long] {
        metrics.field_unknown("gitpod.v1.Prebuild", name);
    }
    let limit = "x".repeat(64);
    metrics.field_unknown("gitpod.v1.Prebuild", &limit);
    let text = metrics.encode();
    assert_eq!(series(&text, "prebuild_gateway_unknown_fields_total").len(), 2);
    assert_lines(
        &text,
        &[
            "prebuild_gateway_unknown_fields_total{path=\"gitpod.v1.Prebuild\",name=\"other\"} 6",
            &format!(
                "prebuild_gateway_unknown_fields_total{{path=\"gitpod.v1.Prebuild\",name=\"{limit}\"}} 1"
            ),
        ],
    );
}

#[test]
fn orgs_are_bounded() {
    let metrics = Metrics::new();
    for number in 0..1_200 {
        metrics.credential_refused(&format!("org{number}"));
    }
    let text = metrics.encode();
    assert_eq!(series(&text, "prebuild_gateway_upstream_credential_refused_total").len(), 1_002);
    assert_lines(&text, &["prebuild_gateway_upstream_credential_refused_total{org=\"other\"} 199"]);
}

#[test]
fn every_name_has_the_prefix_and_help() {
    let text = Metrics::new().encode();
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(name.starts_with("prebuild_gateway_"), "{line}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}
