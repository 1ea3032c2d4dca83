//! The series themselves: their names, units and buckets.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::labels::{
    ByIssuer, ByKey, ByKind, ByMethod, ByMethodAndCode, ByMethodAndKind, ByName, ByOrg, ByOrgAndMethod,
    ByOrgAndRule, ByResult, ByRule, BySink, ByStage, ByVersion, Capped, Request, Version,
};

const PREFIX: &str = "prebuild_gateway";

/// Seconds. From a refusal in memory (below 1 ms) over the upstream's usual answer (tens to hundreds of ms) to the
/// default deadline (30 s), the mutation timeout (60 s) and the longest deadline (5 min).
const CALL_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];

/// Seconds. A healthy disk takes 0.1 to 1.5 ms, its slowest hundredth some 20 ms; a second is a disk in trouble.
const FSYNC_BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Seconds. A script on the next machine takes 0.1 to 1 ms; nobody waits for more than 50 ms.
const STORE_BUCKETS: [f64; 8] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05];

/// Names in upstream's answers that get a series of their own; enough to see a new version of its schema.
const MAX_NAMES: usize = 100;

/// Orgs that get series of their own. There are as many as the config names; this only keeps a config that grows for
/// ever (reloads) from filling the memory.
const MAX_ORGS: usize = 1_000;

/// Budgets of orgs that get series of their own: each org has six kinds at most, in force or beside.
const MAX_BUDGETS: usize = 6 * MAX_ORGS;
/// Rules that get series of their own: the limits' names are some tens, and operators write some more.
const MAX_RULES: usize = 500;

type Histograms = Family<ByMethod, Histogram, fn() -> Histogram>;

pub(super) struct Series {
    pub(super) registry: Registry,
    pub(super) orgs: Capped<Arc<str>>,
    pub(super) rules: Capped<Arc<str>>,
    pub(super) unknown_field_names: Capped<ByName>,
    pub(super) unknown_value_names: Capped<ByName>,
    pub(super) requests: Family<Request, Counter>,
    pub(super) request_duration: Histograms,
    pub(super) in_flight: Gauge,
    pub(super) org_calls_in_flight: Family<ByOrg, Gauge>,
    pub(super) request_unknown_fields: Family<ByMethod, Counter>,
    pub(super) upstream_duration: Histograms,
    pub(super) upstream_errors: Family<ByMethodAndKind, Counter>,
    pub(super) unknown_fields: Family<ByName, Counter>,
    pub(super) unknown_enum_values: Family<ByName, Counter>,
    pub(super) credential_refused: Family<ByOrg, Counter>,
    pub(super) token_lookups: Family<ByResult, Counter>,
    pub(super) tenancy_mismatches: Family<ByOrgAndMethod, Counter>,
    pub(super) organizations_missing: Family<ByMethod, Counter>,
    pub(super) refusals_hidden: Family<ByMethodAndCode, Counter>,
    pub(super) log_urls_withheld: Family<ByMethod, Counter>,
    pub(super) upstream_reachable: Gauge,
    pub(super) pool_bounds_crossed: Counter,
    pub(super) shadow_lookups_failed: Counter,
    pub(super) peer_limited: Counter,
    pub(super) file_reloads: Family<ByKey, Counter>,
    pub(super) policy: Family<ByVersion, Gauge>,
    pub(super) rule_decisions: Family<ByRule, Counter>,
    pub(super) jwks_fetches: Family<ByIssuer, Counter>,
    pub(super) budget_rules: Capped<ByOrgAndRule>,
    pub(super) budget_used: Family<ByOrgAndRule, Gauge>,
    pub(super) budget_limit: Family<ByOrgAndRule, Gauge>,
    pub(super) budget_running: Family<ByOrg, Gauge>,
    pub(super) budget_open: Family<ByOrg, Gauge>,
    pub(super) budget_doubts: Family<ByOrg, Gauge>,
    pub(super) census_duration: Histogram,
    pub(super) census_failures: Family<ByOrg, Counter>,
    pub(super) limit_store_decisions: Family<ByResult, Counter>,
    pub(super) limit_store_failures: Family<ByKind, Counter>,
    pub(super) limit_store_duration: Histogram,
    pub(super) limit_store_up: Gauge,
    pub(super) audit_records: Family<ByStage, Counter>,
    pub(super) audit_write_errors: Counter,
    pub(super) audit_fsync: Histogram,
    pub(super) audit_bytes: Gauge,
    pub(super) audit_cap: Gauge,
    pub(super) audit_oldest: Gauge,
    pub(super) audit_pruned: Counter,
    pub(super) shipped: Family<BySink, Counter>,
    pub(super) ship_failures: Family<BySink, Counter>,
    pub(super) ship_rejected: Family<BySink, Counter>,
    pub(super) ship_lag: Family<BySink, Gauge>,
    pub(super) ship_lag_time: Family<BySink, Gauge>,
}

impl Series {
    pub(super) fn registered(collectors: Vec<Box<dyn Collector>>) -> Self {
        let mut series = Self::new();
        for collector in collectors {
            series.registry.register_collector(collector);
        }
        series.register_calls();
        series.register_upstream();
        series.register_tenancy();
        series.register_budgets();
        series.register_limits();
        series.register_policy();
        series.register_process();
        series.register_audit();
        series
    }

    fn new() -> Self {
        let call_histogram: fn() -> Histogram = || Histogram::new(CALL_BUCKETS);
        Self {
            registry: Registry::with_prefix(PREFIX),
            // The empty org of unauthenticated calls is one more.
            orgs: Capped::new(MAX_ORGS + 1),
            rules: Capped::new(MAX_RULES),
            unknown_field_names: Capped::new(MAX_NAMES),
            unknown_value_names: Capped::new(MAX_NAMES),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(call_histogram),
            in_flight: Gauge::default(),
            org_calls_in_flight: Family::default(),
            request_unknown_fields: Family::default(),
            upstream_duration: Family::new_with_constructor(call_histogram),
            upstream_errors: Family::default(),
            unknown_fields: Family::default(),
            unknown_enum_values: Family::default(),
            credential_refused: Family::default(),
            token_lookups: Family::default(),
            tenancy_mismatches: Family::default(),
            organizations_missing: Family::default(),
            refusals_hidden: Family::default(),
            log_urls_withheld: Family::default(),
            upstream_reachable: Gauge::default(),
            pool_bounds_crossed: Counter::default(),
            shadow_lookups_failed: Counter::default(),
            peer_limited: Counter::default(),
            file_reloads: Family::default(),
            policy: Family::default(),
            rule_decisions: Family::default(),
            jwks_fetches: Family::default(),
            budget_rules: Capped::new(MAX_BUDGETS),
            budget_used: Family::default(),
            budget_limit: Family::default(),
            budget_running: Family::default(),
            budget_open: Family::default(),
            budget_doubts: Family::default(),
            census_duration: Histogram::new(CALL_BUCKETS),
            census_failures: Family::default(),
            limit_store_decisions: Family::default(),
            limit_store_failures: Family::default(),
            limit_store_duration: Histogram::new(STORE_BUCKETS),
            limit_store_up: Gauge::default(),
            audit_records: Family::default(),
            audit_write_errors: Counter::default(),
            audit_fsync: Histogram::new(FSYNC_BUCKETS),
            audit_bytes: Gauge::default(),
            audit_cap: Gauge::default(),
            audit_oldest: Gauge::default(),
            audit_pruned: Counter::default(),
            shipped: Family::default(),
            ship_failures: Family::default(),
            ship_rejected: Family::default(),
            ship_lag: Family::default(),
            ship_lag_time: Family::default(),
        }
    }

    fn register_calls(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Calls that were answered", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a call's headers to its answer",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register("requests_in_flight", "Calls that are not answered yet", self.in_flight.clone());
        registry.register(
            "org_calls_in_flight",
            "Calls of an org that have not ended; a mutation's may outlast its caller",
            self.org_calls_in_flight.clone(),
        );
        registry.register(
            "request_unknown_fields",
            "Fields in requests that the schema does not know",
            self.request_unknown_fields.clone(),
        );
        registry.register(
            "peer_limited",
            "Refusals beyond what the peer's address may have; the audit log only counts them",
            self.peer_limited.clone(),
        );
    }

    fn register_upstream(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "upstream_request_duration",
            "Time from an attempt's begin to upstream's answer or its end without one",
            Unit::Seconds,
            self.upstream_duration.clone(),
        );
        registry.register(
            "upstream_errors",
            "Attempts that got no usable answer from upstream",
            self.upstream_errors.clone(),
        );
        registry.register(
            "unknown_fields",
            "Fields in upstream's answers that the schema does not know",
            self.unknown_fields.clone(),
        );
        registry.register(
            "unknown_enum_values",
            "Enum values in upstream's answers that the schema does not know",
            self.unknown_enum_values.clone(),
        );
        registry.register(
            "upstream_credential_refused",
            "Calls for which upstream did not accept the org's credential",
            self.credential_refused.clone(),
        );
        registry.register(
            "upstream_reachable",
            "Whether upstream took a connection when it was last looked at",
            self.upstream_reachable.clone(),
        );
        registry.register(
            "warm_pool_bounds_crossed",
            "Replies that show a warm pool with min above max",
            self.pool_bounds_crossed.clone(),
        );
        registry.register(
            "shadow_lookups_failed",
            "Look-ups that failed and that only rules wanted which decide nothing",
            self.shadow_lookups_failed.clone(),
        );
    }

    fn register_tenancy(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "upstream_token_lookups",
            "Callers' own tokens that upstream was asked for, by what it said; nobody waited for what is abandoned, and capped ones it was not asked for",
            self.token_lookups.clone(),
        );
        registry.register(
            "upstream_tenancy_mismatches",
            "Answers of upstream with another org's objects, or another object than was asked for",
            self.tenancy_mismatches.clone(),
        );
        registry.register(
            "upstream_organizations_missing",
            "Objects in upstream's answers that do not say whose they are",
            self.organizations_missing.clone(),
        );
        registry.register(
            "upstream_refusals_hidden",
            "Reads of one object that upstream refused, and of which the caller was told that there is none",
            self.refusals_hidden.clone(),
        );
        registry.register(
            "log_urls_withheld",
            "Log URLs taken out of answers because the config does not name their hosts",
            self.log_urls_withheld.clone(),
        );
    }

    fn register_budgets(&mut self) {
        let registry = &mut self.registry;
        let gauges = [
            ("budget_used", "What is used of a budget, as the last call found it", &self.budget_used),
            ("budget_limit", "What a budget allows", &self.budget_limit),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let gauges = [
            (
                "budget_running",
                "Prebuilds of an org that have not ended, as last counted",
                &self.budget_running,
            ),
            ("budget_open", "Calls of an org whose outstanding work is not settled", &self.budget_open),
            (
                "budget_doubts",
                "Of those, calls of which nobody knows what became of them",
                &self.budget_doubts,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register_with_unit(
            "census_duration",
            "Time to count upstream what an org has outstanding",
            Unit::Seconds,
            self.census_duration.clone(),
        );
        registry.register(
            "census_failures",
            "Counts of what an org has outstanding that came to nothing",
            self.census_failures.clone(),
        );
    }

    fn register_limits(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "limit_store_decisions",
            "Calls whose rates were decided on, by the store (shared) or, as it did not answer, by the replica alone (local)",
            self.limit_store_decisions.clone(),
        );
        registry.register(
            "limit_store_failures",
            "Connections and calls of the store of limits that failed, by what was wrong",
            self.limit_store_failures.clone(),
        );
        registry.register_with_unit(
            "limit_store_duration",
            "Time until the store of limits answered, or was not waited for any more",
            Unit::Seconds,
            self.limit_store_duration.clone(),
        );
        registry.register(
            "limit_store_up",
            "Whether there is a good connection to the store of limits; 0 also where none is configured",
            self.limit_store_up.clone(),
        );
    }

    fn register_policy(&mut self) {
        let registry = &mut self.registry;
        registry.register("policy_info", "The version of the policy that is in force", self.policy.clone());
        registry.register(
            "rule_decisions",
            "Calls that broke a rule or limit of the policy (or in a dry run kept it), by what became of them",
            self.rule_decisions.clone(),
        );
    }

    fn register_process(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "file_reloads",
            "Changes of files that are followed, by the config's key and by what became of them; what is refused leaves \
             the last good state in force",
            self.file_reloads.clone(),
        );
        registry.register(
            "jwks_fetches",
            "Fetches of the keys of issuers of tokens, by the issuer's id in the config and by what became of them",
            self.jwks_fetches.clone(),
        );
        let build = Info::new(Version { version: env!("CARGO_PKG_VERSION") });
        registry.register("build", "The version that runs", build);
    }

    fn register_audit(&mut self) {
        let registry = &mut self.registry;
        registry.register("audit_records", "Records for the audit log", self.audit_records.clone());
        registry.register(
            "audit_write_errors",
            "Failed attempts to write the audit log",
            self.audit_write_errors.clone(),
        );
        registry.register_with_unit(
            "audit_fsync_duration",
            "Time until a group of audit records was on disk",
            Unit::Seconds,
            self.audit_fsync.clone(),
        );
        registry.register_with_unit(
            "audit_log",
            "What the audit log takes on disk",
            Unit::Bytes,
            self.audit_bytes.clone(),
        );
        registry.register_with_unit(
            "audit_log_cap",
            "What the audit log may take (audit.keep_bytes)",
            Unit::Bytes,
            self.audit_cap.clone(),
        );
        registry.register_with_unit(
            "audit_log_oldest_age",
            "Time since the oldest segment of the audit log was closed or, if it is the only one, begun",
            Unit::Seconds,
            self.audit_oldest.clone(),
        );
        registry.register(
            "audit_segments_pruned",
            "Segments of the audit log that retention has removed",
            self.audit_pruned.clone(),
        );
        self.register_shipping();
    }

    fn register_shipping(&mut self) {
        let registry = &mut self.registry;
        registry.register("audit_shipped_records", "Records that a sink has taken", self.shipped.clone());
        registry.register(
            "audit_ship_failures",
            "Attempts to ship records that failed; they are made again",
            self.ship_failures.clone(),
        );
        registry.register(
            "audit_ship_rejected_records",
            "Records that a collector has rejected; by OTLP they are not sent again",
            self.ship_rejected.clone(),
        );
        registry.register(
            "audit_ship_lag_records",
            "Records on stable storage that a sink has not taken yet",
            self.ship_lag.clone(),
        );
        registry.register_with_unit(
            "audit_ship_lag",
            "Age of the oldest record that a sink has not taken yet; 0 if there is none",
            Unit::Seconds,
            self.ship_lag_time.clone(),
        );
    }
}
