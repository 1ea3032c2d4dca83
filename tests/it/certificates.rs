//! Callers known by client certificates: who is, who is not, what a token beside one does, and CAs that come and go.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use prebuild_gateway::{
    config::Config, identity::certificate, sandbox::Rules, server::tls::ClientCertificates,
};
use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType};
use serde_json::json as value;
use tonic::Code;

use crate::harness::{
    ACME_KEY, ACME_TOKEN, Certified, ClientCa, ClientCertificate, GLOBEX_KEY, Gateway, ID, Sandboxed, Told,
    dns,
    raw::{Raw, frame},
    soon, spiffe,
    spoken::{DIALECTS, Dialect},
};

mod connections;

const CI: &str = "spiffe://example.org/ci";
const LIST: &str = "ListPrebuilds";
const TAKEN: &str = r#"prebuild_gateway_file_reloads_total{key="tls",result="taken"}"#;
const REFUSED: &str = r#"prebuild_gateway_file_reloads_total{key="tls",result="refused"}"#;
const ROTATIONS: usize = 20;
/// A CA that was taken out is worth nothing within this time.
const PROMISED: Duration = Duration::from_secs(1);

/// A gateway that knows acme's `ci` by certificate, in front of a sandbox.
struct Known {
    gateway: Gateway,
    certified: Certified,
    ca: ClientCa,
    _upstream: Sandboxed,
}

fn entry(id: &str, name: &str) -> certificate::Config {
    let key = if name.starts_with("spiffe:") { "spiffe_id" } else { "dns_name" };
    serde_json::from_value(value!({ "id": id, "subject": "ci", "org": "acme", key: name })).unwrap()
}

impl Known {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (certified, ca) = (Certified::new(), ClientCa::new());
        let upstream = Sandboxed::start(Rules::default()).await;
        let tls = certified.config_for(&ca);
        let gateway = Gateway::with(upstream.address, |config| {
            config.tls = Some(tls);
            config.identity.certificates = vec![entry("by-id", CI), entry("by-name", "ci.example.com")];
            change(config);
        })
        .await;
        Self { gateway, certified, ca, _upstream: upstream }
    }

    fn issue(&self, names: &[SanType]) -> ClientCertificate {
        self.ca.issue(names, |_| {})
    }

    async fn raw(&self, shown: &ClientCertificate) -> Raw {
        self.certified.raw(Some(shown), self.gateway.address).await.unwrap()
    }

    /// How calls of whoever shows this, with this token, end.
    async fn told(&self, shown: &ClientCertificate, token: Option<&str>) -> (Code, Option<String>) {
        call(&mut self.raw(shown).await, token).await
    }

    /// Nothing can be called. With TLS 1.3 clients learn of it only when they read.
    async fn is_shut_out(&self, shown: Option<&ClientCertificate>, why: &str) {
        let reason = if shown.is_some() { "certificate" } else { "no_certificate" };
        let series = format!("prebuild_gateway_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
        let failed = self.gateway.counted(&series).await;
        if let Ok(raw) = self.certified.raw(shown, self.gateway.address).await {
            soon(raw.ended()).await;
        }
        soon(async { while self.gateway.counted(&series).await == failed {} }).await;
        assert_eq!(self.gateway.counted(&series).await, failed + 1, "{why}");
    }
}

async fn call(raw: &mut Raw, token: Option<&str>) -> (Code, Option<String>) {
    let request = raw.bare(&format!("/gitpod.v1.PrebuildService/{LIST}"));
    let mut request = request.header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let status = raw.call(request, frame(0, b"")).await.grpc();
    (status.code(), status.reason())
}

fn unauthenticated() -> (Code, Option<String>) {
    (Code::Unauthenticated, Some("UNAUTHENTICATED".to_owned()))
}

fn body(dialect: Dialect) -> bytes::Bytes {
    dialect.body(if dialect.is_json() { b"{}" } else { b"" })
}

#[tokio::test]
async fn callers_are_known_by_spiffe_id_and_by_dns_name_in_every_protocol() {
    let known = Known::start().await;
    let mut ids = Vec::new();
    for (name, credential) in [(spiffe(CI), "by-id"), (dns("CI.example.com"), "by-name")] {
        let mut raw = known.raw(&known.issue(&[name])).await;
        for dialect in DIALECTS {
            let mut request = dialect.request(&raw, LIST);
            request.headers_mut().unwrap().remove("authorization");
            let answered = raw.call(request, body(dialect)).await;
            ids.push((answered.id(), credential));
            assert!(dialect.read(answered).result.is_ok(), "{dialect:?}");
        }
    }
    let audited = known.gateway.end().await;
    for (id, credential) in ids {
        let record = audited.of(&id)[0];
        let said = value!([record["org"], record["subject"], record["credential"]]);
        assert_eq!(said, value!(["acme", "ci", credential]));
    }
}

#[tokio::test]
async fn who_shows_no_certificate_needs_a_key_or_does_not_get_in() {
    let known = Known::start().await;
    let mut raw = known.certified.raw(None, known.gateway.address).await.unwrap();
    assert_eq!(call(&mut raw, None).await, unauthenticated());
    assert_eq!(call(&mut raw, Some(ACME_KEY)).await.0, Code::Ok);

    let required = |config: &mut Config| {
        let tls = config.tls.as_mut().unwrap();
        tls.client_certificates = Some(ClientCertificates::Required);
    };
    let known = Known::with(required).await;
    known.is_shut_out(None, "none").await;
    assert_eq!(known.told(&known.issue(&[spiffe(CI)]), None).await.0, Code::Ok);
}

#[tokio::test]
async fn certificates_that_do_not_verify_are_shut_out() {
    let known = Known::start().await;
    let ci = [spiffe(CI)];
    let (other, below) = (ClientCa::new(), known.ca.below());
    known.is_shut_out(Some(&other.issue(&ci, |_| {})), "another CA").await;
    known.is_shut_out(Some(&ClientCertificate::self_signed(&ci)), "self-signed").await;
    let expired = known.ca.issue(&ci, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    known.is_shut_out(Some(&expired), "expired").await;
    let early = known.ca.issue(&ci, |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    known.is_shut_out(Some(&early), "not yet valid").await;
    let server = [ExtendedKeyUsagePurpose::ServerAuth];
    let server = known.ca.issue(&ci, |params| params.extended_key_usages = server.to_vec());
    known.is_shut_out(Some(&server), "a server's").await;
    let ca =
        known.ca.issue(&ci, |params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    known.is_shut_out(Some(&ca), "a CA's own").await;

    let mut chained = below.issue(&ci, |_| {});
    known.is_shut_out(Some(&chained), "what is between is missing").await;
    chained.chain.push(below.der());
    assert_eq!(known.told(&chained, None).await.0, Code::Ok, "and here it is");
}

#[tokio::test]
async fn certificates_that_no_entry_is_for_leave_it_to_the_token() {
    let known = Known::start().await;
    let common_name = known.ca.issue(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, "ci.example.com");
    });
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    for (what, shown) in [
        ("no name", known.issue(&[])),
        ("the common name alone", common_name),
        ("an address", known.issue(&[address])),
        ("an e-mail address", known.issue(&[SanType::Rfc822Name("ci@ci.example.com".try_into().unwrap())])),
        ("a wildcard", known.issue(&[dns("*.example.com")])),
        ("another name", known.issue(&[dns("deploy.example.com")])),
        ("another id", known.issue(&[spiffe("spiffe://example.org/deploy")])),
        ("an id in capitals", known.issue(&[spiffe("spiffe://example.org/CI")])),
        ("two URIs", known.issue(&[spiffe(CI), spiffe("https://example.org")])),
    ] {
        assert_eq!(known.told(&shown, None).await, unauthenticated(), "{what}");
        assert_eq!(known.told(&shown, Some(ACME_KEY)).await.0, Code::Ok, "{what}");
        assert_eq!(known.told(&shown, Some("made-up")).await, unauthenticated(), "{what}");
    }
    let ambiguous = known.issue(&[spiffe(CI), dns("ci.example.com")]);
    assert_eq!(known.told(&ambiguous, None).await, unauthenticated());
    assert_eq!(known.told(&ambiguous, Some(ACME_KEY)).await, unauthenticated());
}

#[tokio::test]
async fn certificate_and_token_have_to_be_of_the_same_caller() {
    let known = Known::start().await;
    let mut raw = known.raw(&known.issue(&[spiffe(CI)])).await;
    assert_eq!(call(&mut raw, Some(ACME_KEY)).await.0, Code::Ok);
    assert_eq!(call(&mut raw, Some("pgw_made-up")).await, unauthenticated());
    for dialect in DIALECTS {
        let mut request = dialect.request(&raw, LIST);
        let value = format!("Bearer {GLOBEX_KEY}").parse().unwrap();
        request.headers_mut().unwrap().insert("authorization", value);
        let wrong = dialect.read(raw.call(request, body(dialect)).await).result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (7, Some("IDENTITY_CONFLICT")), "{dialect:?}");
        assert_eq!(wrong.message, "client certificate and token are of different callers");
    }
    let audited = known.gateway.end().await;
    let conflicts = audited.0.iter().filter(|record| record["end"]["reason"] == "IDENTITY_CONFLICT");
    let conflicts: Vec<_> = conflicts.collect();
    assert_eq!(conflicts.len(), DIALECTS.len());
    assert!(conflicts.iter().all(|record| record["org"].is_null()), "of nobody: {conflicts:?}");
}

/// Whatever it says, what was given to it is not good for giving to others.
#[tokio::test]
async fn a_bundle_with_a_certificate_that_is_no_cas_is_not_taken() {
    let known = Known::start().await;
    let leaf = known.issue(&[spiffe(CI)]);
    let (leaf, _) = leaf.write(known.certified.folder());
    let leaf = fs::read_to_string(leaf).unwrap();
    known.certified.trust(&format!("{}{leaf}", known.ca.pem()));
    counted(&known, REFUSED, 1).await;
    let (check, ready) = known.gateway.check("tls").await;
    assert!(check["detail"].as_str().unwrap().contains("no CA's") && ready, "{check}");
    assert_eq!(known.told(&known.issue(&[spiffe(CI)]), None).await.0, Code::Ok, "the last good one stays");
}

/// Waits until as many changes were taken, or refused.
async fn counted(known: &Known, series: &str, count: u64) {
    soon(async { while known.gateway.counted(series).await < count {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cas_are_rotated_twenty_times_under_load_and_no_call_fails() {
    let known = Arc::new(Known::start().await);
    let shown = known.issue(&[spiffe(CI)]);
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for renews in [false, true] {
        let (known, shown) = (known.clone(), shown.clone());
        let (stop, made) = (stop.clone(), made.clone());
        callers.push(tokio::spawn(async move {
            let mut raw = known.raw(&shown).await;
            while !stop.load(Relaxed) {
                if renews {
                    raw = known.raw(&shown).await;
                }
                assert_eq!(call(&mut raw, None).await, (Code::Ok, None));
                made.fetch_add(1, Relaxed);
            }
        }));
    }
    let mut open = known.raw(&shown).await;
    let mut refused = 0;
    for rotation in 0..ROTATIONS {
        let new = ClientCa::new();
        let newcomer = new.issue(&[dns("ci.example.com")], |_| {});
        known.is_unknown_yet(&newcomer).await;
        known.certified.trust(&format!("{}{}", new.pem(), known.ca.pem()));
        counted(&known, TAKEN, rotation as u64 + 1).await;
        assert_eq!(known.told(&newcomer, None).await.0, Code::Ok);
        if rotation % 4 == 0 {
            refused += 1;
            known.certified.trust(["", "no CA", "-----BEGIN CERTIFICATE-----\nMIIB"][rotation % 3]);
            counted(&known, REFUSED, refused).await;
            assert_eq!(known.told(&newcomer, None).await.0, Code::Ok, "the last good one stays");
            let (check, ready) = known.gateway.check("tls").await;
            let detail = check["detail"].as_str().unwrap();
            assert!(detail.starts_with("tls.client_ca: `") && check["ok"] == false && ready, "{detail}");
        }
        let enough = made.load(Relaxed) + 4;
        soon(async {
            while made.load(Relaxed) < enough {
                tokio::task::yield_now().await
            }
        })
        .await;
    }
    stop.store(true, Relaxed);
    for caller in callers {
        caller.await.expect("no call fails");
    }
    assert_eq!(call(&mut open, None).await.0, Code::Ok, "the oldest connection is still good");
    // Its CA goes: what is open stops working.
    known.certified.trust(&ClientCa::new().pem());
    counted(&known, TAKEN, ROTATIONS as u64 + 1).await;
    let reloaded = Instant::now();
    while call(&mut open, None).await != unauthenticated() {}
    assert!(reloaded.elapsed() < PROMISED, "{:?}", reloaded.elapsed());
    // Its client may have a certificate of another CA by now, and is asked to come back.
    open.closes().await;
    counted(&known, "prebuild_gateway_connections_closed_total{reason=\"uncertified\"}", 1).await;
}

impl Known {
    /// Its CA is not trusted.
    async fn is_unknown_yet(&self, shown: &ClientCertificate) {
        if let Ok(raw) = self.certified.raw(Some(shown), self.gateway.address).await {
            soon(raw.ended()).await;
        }
    }
}

/// A command of the program's.
async fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_prebuild-gateway");
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || Command::new(program).args(arguments).env_remove("PREBUILD_GATEWAY_KEY").output();
    soon(tokio::task::spawn_blocking(run)).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_example_serves_those_that_it_names() {
    let (certified, ca) = (Certified::new(), ClientCa::new());
    certified.config_for(&ca);
    let upstream = Sandboxed::start(Rules::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("acme-token");
    fs::write(&token, ACME_TOKEN).unwrap();
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let text = include_str!("../../deploy/identity-mtls.example.toml");
    let text = [
        ("/etc/prebuild-gateway/tls", certified.folder()),
        ("/run/secrets/acme-token", &token),
        ("/var/lib/prebuild-gateway/audit", directory.path()),
    ]
    .iter()
    .fold(text.to_owned(), |text, (path, here)| text.replace(path, &here.display().to_string()));
    let file = directory.path().join("gateway.toml");
    fs::write(&file, &text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let checked = run(&["check", "--config", file.to_str().unwrap()]).await;
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(
        said.contains(": ok (1 orgs, 0 keys, 2 certificates, upstream https://app.gitpod.io/api)\n"),
        "{said}"
    );
    for line in [
        "  org acme, subject ci, certificate ci-runner of spiffe://example.org/ns/ci/sa/runner: read, mutate, secret",
        "  org acme, subject dashboard, certificate dashboard of dashboard.internal.example.com: read",
    ] {
        assert!(said.lines().any(|found| found == line), "{said}");
    }
    let mut config = Config::parse(&text).unwrap();
    config.upstream.base_url = format!("http://{}/api", upstream.address);
    let gateway = Gateway::of(config, directory).await;
    let known = Known { gateway, certified, ca, _upstream: upstream };

    let runner = known.issue(&[spiffe("spiffe://example.org/ns/ci/sa/runner")]);
    let dashboard = known.issue(&[dns("dashboard.internal.example.com")]);
    for shown in [&runner, &dashboard] {
        assert_eq!(known.told(shown, None).await, (Code::Ok, None));
    }
    let (certificate, key) = runner.write(known.certified.folder());
    let address = format!("https://localhost:{}", known.gateway.address.port());
    let ca = known.certified.ca_file();
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    let call = ["call", LIST, "--address", &address, "--ca-file", &file(&ca)];
    let shown = ["--certificate", &file(&certificate), "--certificate-key", &file(&key)];
    let called = run(&[&call[..], &shown].concat()).await;
    assert!(called.status.success(), "{}", String::from_utf8_lossy(&called.stderr));

    let cancel = async |shown| {
        let mut raw = known.raw(shown).await;
        let request = raw.bare("/gitpod.v1.PrebuildService/CancelPrebuild");
        let message = value!({ "prebuildId": ID }).to_string();
        let answered =
            raw.call(request.header("content-type", "application/grpc+json"), frame(0, message.as_bytes()));
        answered.await.grpc()
    };
    assert_eq!(cancel(&dashboard).await.reason().as_deref(), Some("SCOPE_MISSING"));
    assert_eq!(cancel(&runner).await.code(), Code::NotFound, "it comes as far as upstream");
    known.is_shut_out(None, "none").await;
    assert_eq!(known.told(&known.issue(&[spiffe(CI)]), None).await, unauthenticated());
}
