//! What a policy does to calls, as callers, operators and upstream meet it.

use http::HeaderMap;
use prebuild_gateway::{
    config::Config,
    connect::json::{Duplicates, to_wire},
    identity::api_key::KeyHash,
    limit,
    policy::{Ground, Texts},
    rpc,
};
use serde_json::{Value, json as value};

use crate::harness::{
    ACME_KEY, Gateway, Sandboxed,
    policy::LOOSE,
    raw::Raw,
    spoken::{Dialect, Spoken},
};

mod budgets;
mod counts;
mod modes;
mod objects;
mod reload;
mod rollout;
mod room;
mod shadows;

const GRPC: Dialect = Dialect("application/grpc");
const CONNECT: Dialect = Dialect("application/json");
/// Of a second caller of acme's.
const ADA_KEY: &str = "pgw_ada-key";

fn ada(config: &mut Config) {
    let mut ada = config.identity.api_keys[0].clone();
    (ada.id, ada.subject, ada.sha256) = ("ada-1".into(), "ada".into(), KeyHash::of(ADA_KEY));
    config.identity.api_keys.push(ada);
}

/// The policy, with rates that no test meets by chance.
fn policy(text: &str) -> String {
    format!("{LOOSE}{text}\n")
}

fn version(policy: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    // As the configuration of these tests says nothing else.
    let ground = Ground { in_flight: limit::Config::default().in_flight, ..Ground::default() };
    Texts { policy: policy.to_owned(), rules }.version(&ground).to_string()
}

/// One call, and the id that the gateway gave it.
async fn call(raw: &mut Raw, dialect: Dialect, key: &str, method: &str, request: &Value) -> (Spoken, String) {
    let json = request.to_string();
    let body = if dialect.is_json() { json.into_bytes() } else { wire(method, &json) };
    let answered = raw.call(dialect.request_of(key, raw, method), dialect.body(&body)).await;
    let id = answered.id();
    (dialect.read(answered), id)
}

fn wire(method: &str, json: &str) -> Vec<u8> {
    let method = rpc::methods().find(|row| row.name == method).unwrap();
    let schema = (method.schema)();
    to_wire(schema, method.input().unwrap(), json.as_bytes(), Duplicates::Reject).unwrap().0.into()
}

/// As acme, by Connect.
async fn asked(raw: &mut Raw, method: &str, request: &Value) -> Spoken {
    call(raw, CONNECT, ACME_KEY, method, request).await.0
}

/// Who refused it, and by which rule.
fn refused(spoken: Spoken) -> (String, String) {
    let wrong = spoken.result.unwrap_err();
    (wrong.reason.unwrap_or_default(), wrong.rule.unwrap_or_default())
}

fn denied(rule: &str) -> (String, String) {
    ("POLICY_DENIED".to_owned(), rule.to_owned())
}

fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all("x-policy-warning").iter();
    all.map(|warning| warning.to_str().unwrap().to_owned()).collect()
}

async fn decided(gateway: &Gateway, rule: &str, mode: &str, outcome: &str) -> u64 {
    let labels = format!("rule=\"{rule}\",mode=\"{mode}\",outcome=\"{outcome}\"");
    gateway.counted(&format!("prebuild_gateway_rule_decisions_total{{{labels}}}")).await
}

/// A new prebuild of acme's in one of its projects.
fn creation(upstream: &Sandboxed, project: usize) -> Value {
    value!({"projectId": upstream.acme.projects[project].id.to_string(), "spec": {}})
}

/// What was made, by id.
fn made(spoken: Spoken, kind: &str) -> String {
    let answer: Value = serde_json::from_slice(&spoken.result.unwrap()).unwrap();
    answer[kind]["id"].as_str().unwrap().to_owned()
}
