//! What is kept of upstream's answer.

use http::HeaderMap;
use prost::Message as _;

use super::{Organization, Organizations, unforwarded, without_words};
use crate::{
    call::{Line, Reply},
    error::{Code, Error, Reason, Retry, Sent},
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
    rpc::Seen,
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
        line: Line::default(),
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
    clone.remember("globex".into(), globex.clone()).unwrap();
    assert_eq!(organizations.get(&"acme".into()).unwrap().id, "one");
    assert_eq!(organizations.get(&"globex".into()).as_deref(), Some(&globex));
    assert_eq!(organizations.get(&"initech".into()), None);
}

#[test]
fn another_organization_than_before_is_refused_and_the_first_stays() {
    let organizations = Organizations::new([("acme".into(), "one".to_owned())]);
    let said = |id: &str| Organization { id: id.to_owned(), tier: "enterprise".to_owned() };
    let error = organizations.remember("acme".into(), said("two")).unwrap_err();
    assert_eq!(error.reason, Some(Reason::UpstreamTenancy));
    assert_eq!(organizations.get(&"acme".into()).unwrap().id, "one");
    assert_eq!(organizations.remember("acme".into(), said("one")).unwrap().id, "one");
}

#[test]
fn a_question_that_fails_says_that_the_call_was_not_forwarded() {
    let wait = Retry::After(std::time::Duration::from_secs(7));
    for (told, retry) in [(Retry::Unsaid, Retry::Now), (Retry::Never, Retry::Now), (wait, wait)] {
        let told = Error::upstream(Code::PermissionDenied, "token of jane").with_retry(told);
        let error = unforwarded(without_words(told));
        assert_eq!((error.reason, error.sent), (Some(Reason::OrganizationUnknown), Sent::No));
        assert_eq!(error.retry, retry);
        assert!(!format!("{error:?}").contains("jane"));
    }
    for reason in [Reason::UpstreamCredential, Reason::UpstreamUnreachable, Reason::DeadlineExceeded] {
        let error = unforwarded(Error::refuse(reason).with_sent(Sent::Maybe));
        assert_eq!((error.reason, error.sent), (Some(reason), Sent::No));
    }
}
