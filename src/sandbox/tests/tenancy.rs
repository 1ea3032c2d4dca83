//! Organizations do not see each other, and nobody sees anything without a token.

use serde_json::{Value, json};

use super::{Bench, GLOBEX};
use crate::sandbox::Org;

async fn as_globex(bench: &Bench, method: &str, body: Value) -> Value {
    let mut request = bench.request(method).body(body.to_string().into()).unwrap();
    request.headers_mut().insert("authorization", format!("bearer {GLOBEX}").parse().unwrap());
    bench.send(request).await.unwrap().json()
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_is_not_there() {
    let bench = Bench::start().await;
    let (project, class) = (bench.project().id.to_string(), bench.project().classes[0].to_string());
    let prebuild = bench.ok("CreatePrebuild", json!({ "projectId": project, "spec": {} })).await;
    let pool = json!({ "projectId": project, "environmentClassId": class, "minSize": 0, "maxSize": 1 });
    let pool_id = bench.ok("CreateWarmPool", pool.clone()).await["warmPool"]["id"].take();
    let nil = uuid::Uuid::nil().to_string();
    for method in ["GetPrebuild", "CancelPrebuild", "DeletePrebuild", "CreatePrebuildLogsToken"] {
        let foreign = as_globex(&bench, method, json!({ "prebuildId": prebuild["prebuild"]["id"] })).await;
        assert_eq!(foreign["code"], "not_found");
        assert_eq!(foreign, as_globex(&bench, method, json!({ "prebuildId": nil })).await);
    }
    for method in ["GetWarmPool", "UpdateWarmPool", "DeleteWarmPool"] {
        let foreign = as_globex(&bench, method, json!({ "warmPoolId": pool_id })).await;
        assert_eq!(foreign["code"], "not_found");
        assert_eq!(foreign, as_globex(&bench, method, json!({ "warmPoolId": nil })).await);
    }
    assert_eq!(as_globex(&bench, "CreateWarmPool", pool).await["code"], "not_found");
    let foreign = json!({ "projectId": project, "spec": {} });
    assert_eq!(as_globex(&bench, "CreatePrebuild", foreign).await["code"], "not_found");
    for method in ["ListPrebuilds", "ListWarmPools"] {
        assert_eq!(as_globex(&bench, method, json!({})).await, json!({}));
    }
    assert_eq!(bench.sandbox.executed("CreatePrebuild"), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_token_tells_its_organization() {
    let bench = Bench::start().await;
    let mut request = bench.request("").body("{}".into()).unwrap();
    *request.uri_mut() =
        format!("{}/api/gitpod.v1.IdentityService/GetAuthenticatedIdentity", bench.base).parse().unwrap();
    let identity = bench.send(request).await.unwrap().json();
    assert_eq!(identity["organizationId"], bench.acme.organization_id.to_string());
    assert_eq!(identity["subject"]["principal"], "PRINCIPAL_SERVICE_ACCOUNT");
    assert!(identity["organizationTier"].is_string());
    bench.stop().await;
}

#[tokio::test]
async fn an_organization_may_have_several_tokens_that_come_and_go() {
    let bench = Bench::start().await;
    let acme = bench.acme.organization_id;
    assert!(bench.sandbox.issue(acme, "second", None) && bench.sandbox.issue(acme, "jane's", Some("jane")));
    assert!(!bench.sandbox.issue(uuid::Uuid::nil(), "nobody's", None));
    let project = bench.project().id.to_string();
    bench.ok("CreatePrebuild", json!({ "projectId": project, "spec": {} })).await;
    let ask = async |token: &str, path: &str| {
        let mut request = bench.request("").body("{}".into()).unwrap();
        *request.uri_mut() = format!("{}/api/gitpod.v1.{path}", bench.base).parse().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        bench.send(request).await.unwrap().json()
    };
    for token in [super::ACME, "second", "jane's"] {
        let listed = ask(token, "PrebuildService/ListPrebuilds").await;
        assert_eq!(listed["prebuilds"].as_array().unwrap().len(), 1, "{token}");
        bench.sandbox.revoke(token);
        assert_eq!(ask(token, "PrebuildService/ListPrebuilds").await["code"], "unauthenticated");
    }
    bench.sandbox.issue(acme, "jane's", Some("jane"));
    let jane = ask("jane's", "IdentityService/GetAuthenticatedIdentity").await;
    assert_eq!(jane["subject"], json!({"id": "jane", "principal": "PRINCIPAL_USER"}));
    assert_eq!(jane["organizationId"], acme.to_string());
    bench.stop().await;
}

#[tokio::test]
async fn an_unknown_token_is_unauthenticated() {
    let bench = Bench::start().await;
    for credential in
        [None, Some("Bearer nobody"), Some("Bearer "), Some("Basic acme-token"), Some("acme-token")]
    {
        let mut request = bench.request("ListPrebuilds").body("{}".into()).unwrap();
        request.headers_mut().remove("authorization");
        request
            .headers_mut()
            .extend(credential.map(|value| (http::header::AUTHORIZATION, value.parse().unwrap())));
        let answer = bench.send(request).await.unwrap();
        assert_eq!(answer.status, 401, "{credential:?}");
        assert_eq!(answer.json()["code"], "unauthenticated");
    }
    bench.stop().await;
}

#[test]
fn demo_ids_follow_from_the_name_and_tokens_are_random() {
    let (one, two) = (Org::demo("acme", "a".into()), Org::demo("acme", "b".into()));
    assert_eq!((one.organization_id, one.projects[1].id), (two.organization_id, two.projects[1].id));
    assert_eq!((one.projects.len(), one.projects[0].classes.len()), (2, 2));
    assert_ne!(one.projects[0].id, Org::demo("globex", "a".into()).projects[0].id);
    let tokens = [Org::new_token(), Org::new_token()];
    assert_ne!(
        secrecy::ExposeSecret::expose_secret(&tokens[0]),
        secrecy::ExposeSecret::expose_secret(&tokens[1])
    );
    assert!(!format!("{one:?}").contains("\"a\""));
}
