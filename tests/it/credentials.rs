//! The orgs' upstream credentials: replaced while the gateway runs, never by another organization's.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prebuild_gateway::{
    config::{Config, Credential},
    proto::gitpod::v1::ListPrebuildsRequest,
    sandbox::Rules,
};
use serde_json::{Value, json as value};
use tempfile::{NamedTempFile, TempDir};

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Answer, GLOBEX_KEY, GLOBEX_TOKEN, Gateway, ID, Sandboxed, Told, Upstream, get,
    json, shown, soon, unknown_organizations,
};

mod again;
mod start;

const ROUNDS: usize = 20;
const TAKEN: &str = r#"prebuild_gateway_file_reloads_total{key="orgs[0].credential",result="taken"}"#;
const REFUSED: &str = r#"prebuild_gateway_file_reloads_total{key="orgs[0].credential",result="refused"}"#;

/// Acme's token, in a file.
struct TokenFile {
    directory: TempDir,
}

impl TokenFile {
    fn of(token: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.holds(token);
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("acme-token")
    }

    /// As an operator should: beside it, then in its place. Such files are closed to others.
    fn holds(&self, token: &str) {
        let mut file = NamedTempFile::new_in(&self.directory).unwrap();
        writeln!(file, "{token}").unwrap();
        file.persist(self.path()).unwrap();
    }

    fn configured(&self, config: &mut Config) {
        config.orgs[0].credential = Credential::File(self.path());
        config.upstream.reload_interval = Duration::from_millis(10);
    }
}

/// Waits for a counter.
async fn counted(gateway: &Gateway, series: &str, count: u64) {
    soon(async { while gateway.counted(series).await < count {} }).await;
}

/// What readiness says of acme's credential, once it says this.
async fn says(gateway: &Gateway, problem: &str) {
    soon(async {
        loop {
            let (check, ready) = gateway.check("orgs[0].credential").await;
            assert!(ready && check["required"] == false, "{check}");
            if check["detail"].as_str().is_some_and(|detail| detail.contains(problem)) {
                assert_eq!(check["ok"], false);
                return;
            }
        }
    })
    .await;
}

/// By which tokens upstream was asked for lists.
fn bearers(upstream: &Sandboxed) -> Vec<String> {
    let lists = upstream.sandbox.seen().into_iter().filter(|seen| seen.path.ends_with("ListPrebuilds"));
    lists.map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_rotations_under_load_with_bad_ones_in_between_fail_no_call() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = TokenFile::of(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| file.configured(config)).await;
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for key in [ACME_KEY, ACME_KEY, GLOBEX_KEY] {
        let (mut client, stop, made) = (gateway.client_of(key).await, stop.clone(), made.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
                made.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let bad = ["revoked-token", GLOBEX_TOKEN, "two words", ""];
    let mut tokens = vec![ACME_TOKEN.to_owned()];
    for round in 0..ROUNDS {
        file.holds(bad[round % bad.len()]);
        counted(&gateway, REFUSED, round as u64 + 1).await;
        let new = format!("acme-token-{round}");
        assert!(upstream.sandbox.issue(upstream.acme.organization_id, &new, None));
        file.holds(&new);
        counted(&gateway, TAKEN, round as u64 + 1).await;
        // Calls that are under way may bear the one before; none is under way for a whole round.
        let before = made.load(Ordering::Relaxed);
        soon(async {
            while made.load(Ordering::Relaxed) < before + 10 * callers.len() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        tokens.push(new);
        if let Some(old) = tokens.len().checked_sub(3) {
            upstream.sandbox.revoke(&tokens[old]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call fails");
    }
    assert!(made.load(Ordering::Relaxed) > ROUNDS, "there was load");
    let bearers = bearers(&upstream);
    assert!(bearers.contains(&format!("Bearer {}", tokens[ROUNDS])), "the last one is in use");
    assert_eq!(gateway.check("orgs[0].credential").await.0["ok"], true);
    let shown = format!("{}{:?}", gateway.metrics().await, gateway.end().await);
    assert!(!shown.contains("acme-token"), "a token shows");
}

#[tokio::test]
async fn a_token_that_is_not_the_same_organizations_is_never_in_force() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = TokenFile::of(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| file.configured(config)).await;
    let globex = prebuild_gateway::sandbox::Org::demo("globex", String::new().into()).organization_id;
    assert!(upstream.sandbox.issue(globex, "globex-second-token", None));
    let mut client = gateway.client().await;
    for (token, problem) in [
        ("globex-second-token", "the token is not of the same organization: upstream says it is `"),
        (GLOBEX_TOKEN, "the token is also that of org `globex`"),
        ("unknown-token", "upstream refuses the token"),
        ("two words", "orgs[0].credential: must be one word of printable ASCII, at most 8 KiB"),
    ] {
        file.holds(token);
        says(&gateway, problem).await;
        client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    }
    // Nor is one that others can read.
    upstream.sandbox.issue(upstream.acme.organization_id, "acme-second-token", None);
    file.holds("acme-second-token");
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
    soon(async { while gateway.check("orgs[0].credential").await.0["ok"] == true {} }).await;
    client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    soon(async { while gateway.check("orgs[0].credential").await.0["ok"] != true {} }).await;
    client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    assert_eq!(bearers(&upstream).last().unwrap(), "Bearer acme-second-token");
    assert_eq!(
        gateway.counted(r#"prebuild_gateway_upstream_credential_refused_total{org="acme"}"#).await,
        0,
        "the one in force was good"
    );
}

/// An upstream that answers questions of whose a token is with these, one after the other.
async fn scripted(
    answers: Vec<(u16, Value)>,
    change: impl FnOnce(&mut Config),
) -> (Gateway, Upstream, TokenFile) {
    let file = TokenFile::of(ACME_TOKEN);
    let script = answers.into_iter().map(|(status, body)| Answer::Bytes(json(status, &body)));
    let upstream = Upstream::start(script).await;
    let gateway = Gateway::with(upstream.address, |config| {
        file.configured(config);
        change(config);
    })
    .await;
    file.holds("new-token");
    (gateway, upstream, file)
}

#[tokio::test]
async fn without_an_answer_that_counts_it_is_asked_again() {
    let acme = prebuild_gateway::sandbox::Org::demo("acme", String::new().into()).organization_id;
    let answers = vec![
        (503, value!({"code": "unavailable"})),
        (500, value!({"code": "internal"})),
        (429, value!({})),
        (200, value!({"organizationId": acme.to_string()})),
    ];
    let (gateway, upstream, _file) = scripted(answers, |_| {}).await;
    counted(&gateway, TAKEN, 1).await;
    let seen = upstream.seen();
    assert_eq!(seen.len(), 4);
    for request in seen {
        assert_eq!(request.header("authorization"), Some("Bearer new-token"));
        assert_eq!(request.body, value!({}));
    }
    assert_eq!(gateway.counted(REFUSED).await, 0);
}

#[tokio::test]
async fn where_upstream_lets_a_token_not_ask_the_configs_word_counts() {
    for (status, code) in [(403, "permission_denied"), (404, "not_found"), (501, "unimplemented")] {
        let denied = || vec![(status, value!({"code": code})), (200, value!({"prebuild": {"id": ID}}))];
        let (gateway, upstream, _file) = scripted(denied(), |_| {}).await;
        counted(&gateway, TAKEN, 1).await;
        gateway.client().await.get_prebuild(get()).await.unwrap();
        assert_eq!(upstream.seen()[1].header("authorization"), Some("Bearer new-token"));
        // Without it, nobody's.
        let (gateway, _upstream, _file) = scripted(denied(), unknown_organizations).await;
        says(&gateway, "upstream does not say whose the token is").await;
    }
    let (gateway, _upstream, _file) = scripted(vec![(200, value!({"organizationId": ""}))], |_| {}).await;
    says(&gateway, "of no organization").await;
}

#[tokio::test]
async fn a_call_in_flight_ends_as_it_began() {
    let upstream = Upstream::start([]).await;
    let (gate, held) = Answer::held(shown());
    let acme = prebuild_gateway::sandbox::Org::demo("acme", String::new().into()).organization_id;
    upstream.then(held);
    upstream.then(Answer::Bytes(json(200, &value!({"organizationId": acme.to_string()}))));
    upstream.then(Answer::Bytes(shown()));
    let file = TokenFile::of(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| file.configured(config)).await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    let call = tokio::spawn(async move { first.get_prebuild(get()).await });
    upstream.arrived(1).await;
    file.holds("new-token");
    counted(&gateway, TAKEN, 1).await;
    second.get_prebuild(get()).await.unwrap();
    gate.cancel();
    call.await.unwrap().unwrap();
    let bearers: Vec<_> =
        upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(bearers, ["Bearer acme-token", "Bearer new-token", "Bearer new-token"]);
}

#[tokio::test]
async fn a_token_that_upstream_refuses_is_an_alarm_until_another_is_there() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = TokenFile::of(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| file.configured(config)).await;
    upstream.sandbox.revoke(ACME_TOKEN);
    let mut client = gateway.client().await;
    let refused = client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap_err();
    assert_eq!(refused.reason().as_deref(), Some("UPSTREAM_CREDENTIAL"));
    let alarm = r#"prebuild_gateway_upstream_credential_refused_total{org="acme"}"#;
    assert_eq!(gateway.counted(alarm).await, 1);
    upstream.sandbox.issue(upstream.acme.organization_id, "acme-next-token", None);
    file.holds("acme-next-token");
    counted(&gateway, TAKEN, 1).await;
    client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
}
