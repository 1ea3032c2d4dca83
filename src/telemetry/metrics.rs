//! What is counted and timed, for Prometheus.
//!
//! Names follow Prometheus' guidelines: one prefix, base units, `_total` on counters. The number of series is bounded
//! by construction, whatever callers and upstream send: methods are rows of the method table, or `unknown`; codes,
//! decisions, faults and stages are enums; orgs (which come from the config) and names that upstream made up are
//! admitted up to a fixed number, then `other`; names that callers made up are no labels at all.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{collector::Collector, encoding::text, metrics::gauge::Gauge};
use tonic::Code;

use super::Decision;
use crate::{error::code_name, rpc::MethodSpec};

mod labels;
mod series;
#[cfg(test)]
mod tests;

pub use labels::{AuditStage, JwksResult, LimitedBy, UpstreamFault, shown_name};
use labels::{
    ByIssuer, ByKey, ByKind, ByMethod, ByMethodAndCode, ByMethodAndKind, ByName, ByOrg, ByOrgAndMethod,
    ByOrgAndRule, ByResult, ByRule, BySink, ByStage, ByVersion, OTHER, Request, method_name,
};
use series::Series;

/// The content type of [`Metrics::encode`]: OpenMetrics, which Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

/// A call in flight, until it is dropped.
#[derive(Debug)]
#[must_use = "the call is in flight for as long as this lives"]
pub struct InFlight(Gauge);

impl Metrics {
    pub fn new() -> Self {
        Self::with(Vec::new())
    }

    /// With metrics that other rooms keep themselves.
    pub fn with(collectors: Vec<Box<dyn Collector>>) -> Self {
        Self(Arc::new(Series::registered(collectors)))
    }

    /// A call has begun; it ends when the guard is dropped.
    pub fn call_begun(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.0.in_flight.clone())
    }

    /// A call of this org was let in; it ends when the guard is dropped.
    pub fn org_call_begun(&self, org: &str) -> InFlight {
        let org = self.org(Some(org));
        let gauge = self.0.org_calls_in_flight.get_or_create_owned(&ByOrg { org });
        gauge.inc();
        InFlight(gauge)
    }

    /// A call was answered. `method` is `None` if the path names none, `org` if the caller is nobody's.
    pub fn call_ended(
        &self,
        method: Option<&'static MethodSpec>,
        org: Option<&str>,
        code: Code,
        decision: Decision,
        latency: Duration,
    ) {
        let method = method_name(method);
        let request = Request { method, code: code_name(code), org: self.org(org), decision };
        self.0.requests.get_or_create(&request).inc();
        self.0.request_duration.get_or_create(&ByMethod { method }).observe(latency.as_secs_f64());
    }

    /// A request had this many fields that the schema does not know.
    pub fn request_fields_unknown(&self, method: &'static MethodSpec, count: usize) {
        let method = method.name;
        self.0.request_unknown_fields.get_or_create(&ByMethod { method }).inc_by(count as u64);
    }

    /// Upstream was asked, and this long later there was an answer or none was waited for any more.
    pub fn upstream_answered(&self, method: &'static MethodSpec, latency: Duration) {
        let method = method.name;
        self.0.upstream_duration.get_or_create(&ByMethod { method }).observe(latency.as_secs_f64());
    }

    /// An attempt to get an answer from upstream failed.
    pub fn upstream_failed(&self, method: &'static MethodSpec, fault: UpstreamFault) {
        let label = ByMethodAndKind { method: method.name, kind: fault };
        self.0.upstream_errors.get_or_create(&label).inc();
    }

    /// An answer of upstream had a field that the schema does not know. `path` is the known path that it was found at.
    pub fn field_unknown(&self, path: &str, name: &str) {
        let label = self.0.unknown_field_names.admit(ByName::new(path, name), ByName::rest);
        self.0.unknown_fields.get_or_create(&label).inc();
    }

    /// An answer of upstream had an enum value that the schema does not know, at the field with this path.
    pub fn enum_value_unknown(&self, path: &str, name: &str) {
        let label = self.0.unknown_value_names.admit(ByName::new(path, name), ByName::rest);
        self.0.unknown_enum_values.get_or_create(&label).inc();
    }

    /// Upstream did not accept an org's credential: somebody has to renew it.
    pub fn credential_refused(&self, org: &str) {
        let org = self.org(Some(org));
        self.0.credential_refused.get_or_create(&ByOrg { org }).inc();
    }

    /// A caller's token of upstream's own was looked up, or not; `result` is one of a fixed few.
    pub fn token_looked_up(&self, result: &'static str) {
        self.0.token_lookups.get_or_create(&ByResult { result }).inc();
    }

    /// An answer of upstream had in it what is not the org's: an alarm. `kind` is one of a fixed few.
    pub fn tenancy_mismatched(&self, org: &str, method: &'static MethodSpec, kind: &'static str) {
        let label = ByOrgAndMethod { org: self.org(Some(org)), method: method.name, kind };
        self.0.tenancy_mismatches.get_or_create(&label).inc();
    }

    /// So many objects of an answer do not say whose they are.
    pub fn organizations_missing(&self, method: &'static MethodSpec, objects: usize) {
        let label = ByMethod { method: method.name };
        self.0.organizations_missing.get_or_create(&label).inc_by(objects as u64);
    }

    /// Upstream refused a read of one object, and its caller was told that there is none. With many of these the org's
    /// credential may lack rights.
    pub fn refusal_hidden(&self, method: &'static MethodSpec, code: Code) {
        let label = ByMethodAndCode { method: method.name, code: code_name(code) };
        self.0.refusals_hidden.get_or_create(&label).inc();
    }

    /// So many log URLs of an answer lead to hosts that the config does not name.
    pub fn log_urls_withheld(&self, method: &'static MethodSpec, urls: usize) {
        let label = ByMethod { method: method.name };
        self.0.log_urls_withheld.get_or_create(&label).inc_by(urls as u64);
    }

    /// Whether upstream takes connections.
    pub fn upstream_reachable(&self, reachable: bool) {
        self.0.upstream_reachable.set(i64::from(reachable));
    }

    /// A reply showed a warm pool with min above max.
    pub fn pool_bounds_crossed(&self) {
        self.0.pool_bounds_crossed.inc();
    }

    /// A look-up failed that only rules wanted that decide nothing.
    pub fn shadow_lookup_failed(&self) {
        self.0.shadow_lookups_failed.inc();
    }

    /// A refusal was one too many for the peer's address.
    pub fn peer_limited(&self) {
        self.0.peer_limited.inc();
    }

    /// What the file of a config key holds now was put in force, or cannot be served with.
    pub fn reloaded(&self, key: &str, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.0.file_reloads.get_or_create(&ByKey { key: key.to_owned(), result }).inc();
    }

    /// A policy of this version is in force from now on, and no other.
    pub fn policy_in_force(&self, version: &str) {
        self.0.policy.clear();
        self.0.policy.get_or_create(&ByVersion { version: version.to_owned() }).set(1);
    }

    /// A rule or limit of the policy had something to say of a call. `mode` and `outcome` are of a fixed few each.
    pub fn rule_decided(&self, rule: &str, mode: &'static str, outcome: &'static str) {
        let rule = self.0.rules.admit(rule.into(), || OTHER.into());
        self.0.rule_decisions.get_or_create(&ByRule { rule, mode, outcome }).inc();
    }

    /// An issuer's keys were fetched, or not. The issuer is one of the config's.
    pub fn jwks_fetched(&self, issuer: &str, result: JwksResult) {
        self.0.jwks_fetches.get_or_create(&ByIssuer { issuer: issuer.into(), result }).inc();
    }

    /// How a call stood to a budget, itself included where it passed: of a project's budget the last one that was asked
    /// for shows. Rules are the policy's.
    pub fn budget_judged(&self, org: &str, rule: &str, used: u32, limit: u32) {
        let label = ByOrgAndRule { org: self.org(Some(org)), rule: rule.into() };
        let label = self.0.budget_rules.admit(label, ByOrgAndRule::rest);
        self.0.budget_used.get_or_create(&label).set(used.into());
        self.0.budget_limit.get_or_create(&label).set(limit.into());
    }

    /// What an org has outstanding was counted upstream, or not.
    pub fn census_taken(&self, org: &str, latency: Duration, is_counted: bool) {
        self.0.census_duration.observe(latency.as_secs_f64());
        if !is_counted {
            let org = self.org(Some(org));
            self.0.census_failures.get_or_create(&ByOrg { org }).inc();
        }
    }

    /// What the books of an org say: prebuilds that run, calls whose work is not settled, and those of them of which
    /// nobody knows what became of them.
    pub fn budget_counted(&self, org: &str, running: usize, open: usize, doubts: usize) {
        let label = ByOrg { org: self.org(Some(org)) };
        let figures =
            [(&self.0.budget_running, running), (&self.0.budget_open, open), (&self.0.budget_doubts, doubts)];
        for (gauges, figure) in figures {
            gauges.get_or_create(&label).set(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }

    /// Nobody counts what the org has outstanding any more.
    pub fn budget_closed(&self, org: &str) {
        let label = ByOrg { org: self.org(Some(org)) };
        for gauges in [&self.0.budget_running, &self.0.budget_open, &self.0.budget_doubts] {
            gauges.remove(&label);
        }
    }

    /// A call's rates were decided on where several replicas share them.
    pub fn limited(&self, by: LimitedBy) {
        let result = match by {
            LimitedBy::Store => "shared",
            LimitedBy::Replica => "local",
        };
        self.0.limit_store_decisions.get_or_create(&ByResult { result }).inc();
    }

    /// The store of limits answered, or was not waited for any more.
    pub fn limit_store_answered(&self, latency: Duration) {
        self.0.limit_store_duration.observe(latency.as_secs_f64());
    }

    /// It could not be used; `kind` is one of a fixed few.
    pub fn limit_store_failed(&self, kind: &'static str) {
        self.0.limit_store_failures.get_or_create(&ByKind { kind }).inc();
    }

    /// Whether there is a good connection to it.
    pub fn limit_store_up(&self, up: bool) {
        self.0.limit_store_up.set(i64::from(up));
    }

    /// A record was handed to the audit log.
    pub fn audit_recorded(&self, stage: AuditStage) {
        self.0.audit_records.get_or_create(&ByStage { stage }).inc();
    }

    /// The audit log could not be written.
    pub fn audit_failed(&self) {
        self.0.audit_write_errors.inc();
    }

    /// A group of audit records is on disk, after this long.
    pub fn audit_synced(&self, latency: Duration) {
        self.0.audit_fsync.observe(latency.as_secs_f64());
    }

    /// What the audit log takes on disk, and may take.
    pub fn audit_measured(&self, bytes: u64, cap: u64, oldest: Duration) {
        let figures = [
            (&self.0.audit_bytes, bytes),
            (&self.0.audit_cap, cap),
            (&self.0.audit_oldest, oldest.as_secs()),
        ];
        for (gauge, figure) in figures {
            gauge.set(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }

    /// So many segments of the audit log were removed since the start.
    pub fn audit_pruned(&self, segments: u64) {
        self.0.audit_pruned.inc_by(segments.saturating_sub(self.0.audit_pruned.get()));
    }

    /// A sink, which is one of the config's, has taken so many records, and rejected so many for good.
    pub fn audit_shipped(&self, sink: &str, records: u64, rejected: u64) {
        let label = BySink { sink: sink.to_owned() };
        self.0.shipped.get_or_create(&label).inc_by(records);
        self.0.ship_rejected.get_or_create(&label).inc_by(rejected);
    }

    /// It has not, and is tried again.
    pub fn audit_ship_failed(&self, sink: &str) {
        self.0.ship_failures.get_or_create(&BySink { sink: sink.to_owned() }).inc();
    }

    /// It has still to take so many records, the oldest of this age.
    pub fn audit_ship_lags(&self, sink: &str, records: u64, age: Duration) {
        let label = BySink { sink: sink.to_owned() };
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        self.0.ship_lag.get_or_create(&label).set(records);
        let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.0.ship_lag_time.get_or_create(&label).set(seconds);
    }

    /// All metrics as text; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail; a half-written text has no `# EOF`, and Prometheus rejects it.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }

    fn org(&self, org: Option<&str>) -> Arc<str> {
        self.0.orgs.admit(org.unwrap_or_default().into(), || OTHER.into())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
