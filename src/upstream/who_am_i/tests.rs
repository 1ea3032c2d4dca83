//! What is kept of upstream's answer, and what is made of it.

use http::HeaderMap;
use prost::Message as _;

use super::{Organization, Organizations, reply};
use crate::{
    call::Reply,
    error::Reason,
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
    rpc::{GET_AUTHENTICATED_IDENTITY, Seen},
};

fn identity(organization_id: &str, tier: &str) -> GetAuthenticatedIdentityResponse {
    GetAuthenticatedIdentityResponse {
        subject: Some(Subject { id: "ci".to_owned(), principal: Principal::ServiceAccount.into() }),
        organization_id: organization_id.to_owned(),
        organization_tier: tier.to_owned(),
    }
}

fn said(wire: Vec<u8>) -> Reply {
    Reply {
        json: "{}".into(),
        wire: wire.into(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
    }
}

#[test]
fn only_the_organization_is_kept_of_what_upstream_says() {
    let read = Organization::read(&said(identity("org", "enterprise").encode_to_vec())).unwrap();
    assert_eq!(read, Organization { id: "org".to_owned(), tier: "enterprise".to_owned() });
    for wire in [identity("", "enterprise").encode_to_vec(), Vec::new(), vec![0xff]] {
        let error = Organization::read(&said(wire)).unwrap_err();
        assert_eq!(error.reason, Some(Reason::UpstreamInvalidResponse));
    }
}

#[test]
fn what_is_configured_or_learnt_is_known_to_every_clone() {
    let organizations = Organizations::new([("acme".into(), "one".to_owned())]);
    let clone = organizations.clone();
    let globex = Organization { id: "two".to_owned(), tier: "free".to_owned() };
    clone.remember("globex".into(), globex.clone());
    assert_eq!(organizations.get(&"acme".into()).unwrap().id, "one");
    assert_eq!(organizations.get(&"globex".into()), Some(globex));
    assert_eq!(organizations.get(&"initech".into()), None);
}

#[test]
fn the_answer_is_the_same_in_both_forms() {
    let message = identity("0198c0de-0000-7000-8000-000000000001", "");
    let made = reply(&GET_AUTHENTICATED_IDENTITY, &message, Vec::new()).unwrap();
    assert_eq!(GetAuthenticatedIdentityResponse::decode(&made.wire[..]).unwrap(), message);
    assert_eq!(
        made.json,
        r#"{"subject":{"id":"ci","principal":"PRINCIPAL_SERVICE_ACCOUNT"},"organizationId":"0198c0de-0000-7000-8000-000000000001"}"#
    );
}
