//! What upstream has said of a credential once, it may say otherwise later.

use super::*;

const ORGANIZATION: &str = "orgs[0].upstream_organization_id";

/// An upstream that answers with these, one after the other, and a gateway of acme alone.
async fn alone(answers: Vec<(u16, Value)>, file: &TokenFile) -> (Gateway, Upstream) {
    let script = answers.into_iter().map(|(status, body)| Answer::Bytes(json(status, &body)));
    let upstream = Upstream::start(script).await;
    let gateway = Gateway::with(upstream.address, |config| {
        file.configured(config);
        config.orgs.truncate(1);
        config.identity.api_keys.truncate(1);
    })
    .await;
    (gateway, upstream)
}

fn another() -> (u16, Value) {
    (200, value!({"organizationId": "0198c0de-0000-7000-8000-00000000dead"}))
}

#[tokio::test]
async fn a_token_that_upstream_knows_later_than_the_file_is_in_force_then() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = TokenFile::of(ACME_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| file.configured(config)).await;
    file.holds("acme-late");
    says(&gateway, "upstream refuses the token").await;
    upstream.sandbox.issue(upstream.acme.organization_id, "acme-late", None);
    counted(&gateway, TAKEN, 1).await;
    upstream.sandbox.revoke(ACME_TOKEN);
    gateway.client().await.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    assert_eq!(gateway.counted(REFUSED).await, 1, "once, however often it was asked");
}

#[tokio::test]
async fn a_token_that_another_org_gives_up_is_in_force_then() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let (acme, globex) = (TokenFile::of(ACME_TOKEN), directory.path().join("globex-token"));
    let write = |token: &str| {
        let mut file = NamedTempFile::new_in(&directory).unwrap();
        writeln!(file, "{token}").unwrap();
        file.persist(&globex).unwrap();
    };
    write(GLOBEX_TOKEN);
    let gateway = Gateway::with(upstream.address, |config| {
        acme.configured(config);
        config.orgs[1].credential = Credential::File(globex.clone());
    })
    .await;
    acme.holds(GLOBEX_TOKEN);
    says(&gateway, "the token is also that of org `globex`").await;
    let other = prebuild_gateway::sandbox::Org::demo("globex", String::new().into()).organization_id;
    upstream.sandbox.issue(other, "globex-next", None);
    upstream.sandbox.revoke(GLOBEX_TOKEN);
    upstream.sandbox.issue(upstream.acme.organization_id, GLOBEX_TOKEN, None);
    write("globex-next");
    counted(&gateway, TAKEN, 1).await;
    gateway.client().await.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    assert_eq!(bearers(&upstream).last().unwrap(), &format!("Bearer {GLOBEX_TOKEN}"));
}

#[tokio::test]
async fn a_new_token_that_may_not_ask_ends_the_trouble_of_the_one_before() {
    let file = TokenFile::of(ACME_TOKEN);
    let (gateway, upstream) = alone(vec![another()], &file).await;
    gateway.app.learn_organizations(Duration::from_millis(1));
    soon(async { while gateway.check(ORGANIZATION).await.0["ok"] != false {} }).await;
    // Whoever asks, is told the same.
    for _ in 0..100 {
        upstream.then(Answer::Bytes(json(403, &value!({"code": "permission_denied"}))));
    }
    file.holds("new-token");
    counted(&gateway, TAKEN, 1).await;
    assert_eq!(gateway.check(ORGANIZATION).await.0, Value::Null);
}

#[tokio::test]
async fn an_organization_that_was_named_wrong_once_is_asked_for_again() {
    let acme = prebuild_gateway::sandbox::Org::demo("acme", String::new().into()).organization_id;
    let right = (200, value!({"organizationId": acme.to_string()}));
    let file = TokenFile::of(ACME_TOKEN);
    let (gateway, upstream) = alone(vec![another(), another(), right, (200, value!({}))], &file).await;
    gateway.app.learn_organizations(Duration::from_millis(1));
    upstream.arrived(3).await;
    soon(async { while gateway.check(ORGANIZATION).await.0 != Value::Null {} }).await;
    gateway.client().await.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
    let wrong = "prebuild_gateway_upstream_tenancy_mismatches_total\
                 {org=\"acme\",method=\"GetAuthenticatedIdentity\",kind=\"credential\"}";
    assert_eq!(gateway.counted(wrong).await, 1, "one alarm");
}
