//! What is read out of upstream's answer, or out of its absence.

use prost::Message as _;

use super::{Said, Unsaid};
use crate::{
    call::tests::reply,
    error::{Code, Error, Reason},
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
};

fn identity(organization_id: &str) -> GetAuthenticatedIdentityResponse {
    GetAuthenticatedIdentityResponse {
        subject: Some(Subject { id: "ci".to_owned(), principal: Principal::ServiceAccount.into() }),
        organization_id: organization_id.to_owned(),
        organization_tier: "enterprise".to_owned(),
    }
}

fn read(wire: Vec<u8>) -> Result<Said, Error> {
    Said::read(&crate::call::Reply { wire: wire.into(), ..reply() })
}

#[test]
fn an_answer_without_an_organization_is_none() {
    assert_eq!(read(identity("org").encode_to_vec()).unwrap().identity, identity("org"));
    for (wire, unsaid) in [
        (identity("").encode_to_vec(), Unsaid::NoOrganization),
        (Vec::new(), Unsaid::NoOrganization),
        (vec![0xff], Unsaid::Open),
    ] {
        let error = read(wire).unwrap_err();
        assert_eq!((error.reason, Unsaid::of(&error)), (Some(Reason::UpstreamInvalidResponse), unsaid));
    }
}

#[test]
fn what_is_definite_is_told_from_what_may_change() {
    for code in [Code::PermissionDenied, Code::NotFound, Code::Unimplemented, Code::FailedPrecondition] {
        assert_eq!(Unsaid::of(&Error::upstream(code, "")), Unsaid::Withheld);
    }
    for code in [Code::Unavailable, Code::Internal, Code::ResourceExhausted, Code::DeadlineExceeded] {
        assert_eq!(Unsaid::of(&Error::upstream(code, "")), Unsaid::Open);
    }
    for reason in [Reason::UpstreamCredential, Reason::Unauthenticated] {
        assert_eq!(Unsaid::of(&Error::refuse(reason)), Unsaid::Unknown);
    }
    for reason in [Reason::UpstreamUnreachable, Reason::DeadlineExceeded, Reason::UpstreamRedirect] {
        assert_eq!(Unsaid::of(&Error::refuse(reason)), Unsaid::Open);
    }
}
