//! Which org a token is of, when the orgs change under it or upstream does not name them.

use std::path::Path;

use prebuild_gateway::config::Credential;

use super::*;
use crate::harness::{GLOBEX_KEY, GLOBEX_TOKEN, unknown_organizations};

/// As an operator should: beside it, then in its place. Such files are closed to others.
fn write(path: &Path, token: &str) {
    let mut new = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    std::io::Write::write_all(&mut new, token.as_bytes()).unwrap();
    new.persist(path).unwrap();
}

#[tokio::test]
async fn a_token_that_is_known_does_not_follow_its_org_to_another_organization() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("acme-token");
    write(&path, ACME_TOKEN);
    let mut bench = Bench::with(|config| {
        unknown_organizations(config);
        config.orgs[0].credential = Credential::File(path.clone());
        config.upstream.reload_interval = Duration::from_millis(10);
    })
    .await;
    let acme = bench.upstream.acme.organization_id;
    let globex = Org::demo("globex", GLOBEX_TOKEN.into()).organization_id;
    bench.upstream.sandbox.revoke(GLOBEX_TOKEN);
    assert_eq!(bench.who(TOKEN).await.unwrap().organization_id, acme.to_string());
    // Globex's credential turns out to be of the same organization: both are refused.
    bench.upstream.sandbox.issue(acme, GLOBEX_TOKEN, None);
    for key in [GLOBEX_KEY, ACME_KEY] {
        assert_eq!(bench.list(key).await, Err("UPSTREAM_TENANCY".to_owned()));
    }
    assert_eq!(bench.list(TOKEN).await, refused(), "of which of them it is, nobody can tell");
    // Acme was another one in truth.
    bench.upstream.sandbox.issue(globex, "acme-right", None);
    write(&path, "acme-right");
    soon(async { while bench.list(ACME_KEY).await.is_err() {} }).await;
    let who = bench.who(TOKEN).await;
    assert!(who.as_ref().is_err() || who.unwrap().organization_id == acme.to_string());
    bench.upstream.sandbox.issue(globex, "of-acme-now", Some(JANE));
    assert_eq!(bench.who("of-acme-now").await.unwrap().organization_id, globex.to_string());
}

#[tokio::test]
async fn tokens_of_other_organizations_ask_for_unknown_orgs_once_in_a_while() {
    const PAUSE: u64 = 5;
    let mut bench = Bench::with(unknown_organizations).await;
    bench.upstream.sandbox.revoke(ACME_TOKEN);
    assert_eq!(bench.list(GLOBEX_KEY).await, Ok(()));
    let (before, begun) = (bench.asked(), Instant::now());
    for number in 0..10 {
        let token = format!("CANARY-{number}");
        bench.upstream.sandbox.issue(bench.upstream.acme.organization_id, &token, Some(JANE));
        assert_eq!(bench.list(&token).await, refused());
    }
    let rounds = bench.gateway.counted(ALARM).await;
    assert!(rounds >= 1 && rounds <= 1 + begun.elapsed().as_secs() / PAUSE, "{rounds}");
    assert_eq!(bench.asked() - before, 10 + usize::try_from(rounds).unwrap(), "acme alone is asked for");
}
