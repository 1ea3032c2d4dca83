//! A log URL that leads elsewhere reaches nobody, and fails no call.

use serde_json::json as value;

use crate::harness::{
    Answer, Gateway, ID, Upstream, json,
    raw::Raw,
    spoken::{DIALECTS, Dialect},
};

const GOOD: &str = "https://a.logs.example.com/x?token=SECRET-IN-THE-QUERY";
const BAD: &str = "https://logs.example.com.evil.example/x";

fn shows(url: &str) -> Answer {
    Answer::Bytes(json(
        200,
        &value!({"prebuild": {"id": ID, "status": {"logUrl": url, "phase": "PREBUILD_PHASE_RUNNING"}}}),
    ))
}

async fn told(gateway: &Gateway, dialect: Dialect) -> String {
    let mut raw = Raw::connect(gateway.address).await;
    let message = match dialect.is_json() {
        true => value!({"prebuildId": ID}).to_string().into_bytes(),
        false => [&[0x0a, 36], ID.as_bytes()].concat(),
    };
    let request = dialect.request(&raw, "GetPrebuild");
    let spoken = dialect.read(raw.call(request, dialect.body(&message)).await);
    String::from_utf8_lossy(&spoken.result.unwrap()).into_owned()
}

#[tokio::test]
async fn only_a_url_to_a_known_host_is_shown_in_every_dialect() {
    let upstream = Upstream::start([]).await;
    let gateway = Gateway::with(upstream.address, |config| {
        config.upstream.log_url_hosts = vec!["*.logs.example.com".to_owned()];
    })
    .await;
    for dialect in DIALECTS {
        upstream.then(shows(GOOD));
        assert!(told(&gateway, dialect).await.contains(GOOD), "{dialect:?}");
        upstream.then(shows(BAD));
        let told = told(&gateway, dialect).await;
        assert!(told.contains(ID) && !told.contains("evil"), "{dialect:?}: {told}");
    }
    let series = r#"prebuild_gateway_log_urls_withheld_total{method="GetPrebuild"}"#;
    assert_eq!(gateway.counted(series).await, DIALECTS.len() as u64);
    let records = gateway.audited_text();
    assert!(!records.contains("SECRET-IN-THE-QUERY") && !records.contains("logs.example.com"));
}
