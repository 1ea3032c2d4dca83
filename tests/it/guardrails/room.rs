//! What is said of broken rules fits into headers, however many there are and however much their texts say.

use std::fmt::Write as _;

use prebuild_gateway::{
    call::Scope, proto::prebuildgateway::v1::Verdict, rpc::Class, sandbox::Rules as Upstreams,
};
use prost::Message as _;
use tonic_types::pb;

use super::*;
use crate::harness::{Told as _, policy as files, raw::frame};

/// Rules with the longest texts that they may have.
fn rules(mode: &str, count: usize) -> String {
    let message = "m".repeat(256);
    (0..count).fold(String::new(), |mut text, index| {
        let id = format!("{mode}-{index:0>50}");
        let link = format!("https://policy.example/{index:0>480}");
        let head = format!("@id(\"{id}\") @mode(\"{mode}\") @message(\"{message}\") @link(\"{link}\")");
        writeln!(text, "{head}\nforbid(principal, action, resource);").unwrap();
        text
    })
}

#[tokio::test]
async fn over_grpc_a_refusal_by_many_rules_with_long_texts_says_which() {
    let upstream = Sandboxed::start(Upstreams::default()).await;
    let text = policy("rules.files = [\"rules.cedar\"]");
    let gateway = Gateway::with_policy(upstream.address, &text, |config| {
        config.identity.api_keys[0].scopes = vec![Scope::Class(Class::Mutate), Scope::Explain];
        let file = config.policy.file.clone().unwrap().with_file_name("rules.cedar");
        files::replace(&file, &(rules("enforce", 40) + &rules("warn", 20)));
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    let body = wire("CreatePrebuild", &creation(&upstream, 0).to_string());
    for is_dry in [false, true] {
        let request = GRPC.request_of(ACME_KEY, &raw, "CreatePrebuild");
        let request = if is_dry { request.header("x-policy-dry-run", "1") } else { request };
        let answered = raw.call(request, frame(0, &body)).await;
        let headers = answered.headers.iter();
        let size: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(size < 8 << 10, "{size} bytes of headers");
        let details = answered.grpc().all_details();
        let found =
            |name: &str| details.iter().find(|(url, _)| url.ends_with(name)).map(|(_, value)| &value[..]);
        if is_dry {
            let verdict = Verdict::decode(found(".Verdict").unwrap()).unwrap();
            assert!(verdict.rulings.len() > 16 && verdict.broken_left_out > 0);
        } else {
            let violations = pb::BadRequest::decode(found(".BadRequest").unwrap()).unwrap().field_violations;
            assert!(violations.last().unwrap().description.ends_with(" more rules are broken"));
            assert!(!pb::Help::decode(found(".Help").unwrap()).unwrap().links.is_empty());
        }
    }
}
