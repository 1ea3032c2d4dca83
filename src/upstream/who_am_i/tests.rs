//! What is made of what is known.

use prost::Message as _;

use super::reply;
use crate::{
    proto::gitpod::v1::{GetAuthenticatedIdentityResponse, Principal, Subject},
    rpc::GET_AUTHENTICATED_IDENTITY,
};

fn identity(organization_id: &str, tier: &str) -> GetAuthenticatedIdentityResponse {
    GetAuthenticatedIdentityResponse {
        subject: Some(Subject { id: "ci".to_owned(), principal: Principal::ServiceAccount.into() }),
        organization_id: organization_id.to_owned(),
        organization_tier: tier.to_owned(),
    }
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
