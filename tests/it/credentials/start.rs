//! Upstream is asked at start what it calls the orgs.

use std::net::SocketAddr;

use prebuild_gateway::app::StartError;

use super::*;
use crate::harness::{Client, INITECH_TOKEN};

const DISPUTED: &str = "prebuild_gateway_upstream_tenancy_mismatches_total\
                        {org=\"acme\",method=\"GetAuthenticatedIdentity\",kind=\"credential\"}";

fn configured(id: &'static str) -> impl FnOnce(&mut Config) {
    move |config| config.orgs[0].upstream_organization_id = Some(id.to_owned())
}

async fn list(client: &mut Client) -> Option<String> {
    let listed = client.list_prebuilds(ListPrebuildsRequest::default()).await;
    listed.err().map(|status| status.reason().unwrap())
}

#[tokio::test]
async fn a_credential_of_another_organization_than_configured_does_not_start() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let error = Gateway::asked(upstream.address, configured("another")).await.err().unwrap();
    let id = upstream.acme.organization_id;
    assert_eq!(error.to_string(), format!("orgs[0].upstream_organization_id: upstream says it is `{id}`"));
    assert!(matches!(error, StartError::Organization { .. }));
}

#[tokio::test]
async fn two_credentials_of_one_organization_do_not_start() {
    let upstream = Sandboxed::start(Rules::default()).await;
    upstream.sandbox.issue(upstream.acme.organization_id, INITECH_TOKEN, None);
    let error = Gateway::asked(upstream.address, |config| {
        unknown_organizations(config);
        config.orgs[1].credential = Credential::Env("initech".to_owned());
    });
    let id = upstream.acme.organization_id;
    let said = format!(
        "orgs[0].upstream_organization_id: upstream says it is `{id}`, and so it says of org `globex`"
    );
    assert_eq!(error.await.err().unwrap().to_string(), said);
}

#[tokio::test]
async fn everything_is_learnt_before_the_first_call() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let gateway = Gateway::asked(upstream.address, unknown_organizations).await.unwrap();
    assert_eq!(upstream.sandbox.executed("GetAuthenticatedIdentity"), 2);
    for key in [ACME_KEY, GLOBEX_KEY] {
        assert_eq!(list(&mut gateway.client_of(key).await).await, None);
    }
    assert_eq!(upstream.sandbox.executed("GetAuthenticatedIdentity"), 2);
}

#[tokio::test]
async fn one_bad_credential_takes_nothing_from_the_other_orgs() {
    let upstream = Sandboxed::start(Rules::default()).await;
    upstream.sandbox.revoke(ACME_TOKEN);
    let gateway = Gateway::asked(upstream.address, |_| {}).await.unwrap();
    let alarm = r#"prebuild_gateway_upstream_credential_refused_total{org="acme"}"#;
    assert_eq!(gateway.counted(alarm).await, 1);
    assert_eq!(list(&mut gateway.client_of(GLOBEX_KEY).await).await, None);
    assert_eq!(list(&mut gateway.client().await).await.as_deref(), Some("UPSTREAM_CREDENTIAL"));
}

#[tokio::test]
async fn without_upstream_it_starts_and_asks_again() {
    let nobody: SocketAddr = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Gateway::asked(nobody, unknown_organizations).await.unwrap();
    let refused = list(&mut gateway.client().await).await;
    assert!(["UPSTREAM_UNREACHABLE", "ORGANIZATION_UNKNOWN"].contains(&refused.as_deref().unwrap()));
}

#[tokio::test]
async fn what_upstream_says_later_counts_too() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = TokenFile::of(GLOBEX_TOKEN);
    // The wrong token is in acme's file, and upstream is not asked at start.
    let gateway = Gateway::with(upstream.address, |config| {
        file.configured(config);
        config.orgs[1].credential = Credential::Env("initech".to_owned());
    })
    .await;
    gateway.app.learn_organizations(Duration::from_millis(10));
    counted(&gateway, DISPUTED, 1).await;
    let mut client = gateway.client().await;
    let forwarded = upstream.sandbox.executed("ListPrebuilds");
    assert_eq!(list(&mut client).await.as_deref(), Some("UPSTREAM_TENANCY"));
    assert_eq!(upstream.sandbox.executed("ListPrebuilds"), forwarded, "nothing is forwarded");
    let (check, ready) = gateway.check("orgs[0].upstream_organization_id").await;
    assert_eq!((&check["ok"], ready), (&value!(false), true));
    assert!(check["detail"].as_str().unwrap().starts_with("upstream says it is `"), "{check}");
    // The right one mends it.
    file.holds(ACME_TOKEN);
    counted(&gateway, TAKEN, 1).await;
    assert_eq!(list(&mut client).await, None);
    assert_eq!(gateway.check("orgs[0].upstream_organization_id").await.0, Value::Null);
}
