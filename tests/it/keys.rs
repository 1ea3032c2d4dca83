//! Keys come and go while the gateway runs, without a restart and without a failed call.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prebuild_gateway::{
    config::Config, identity::api_key::KeyHash, proto::gitpod::v1::ListPrebuildsRequest, sandbox::Rules,
};
use serde_json::json as value;
use tempfile::{NamedTempFile, TempDir};
use tonic::Code;

use crate::harness::{
    ACME_KEY, Answer, Gateway, Sandboxed, Told, Upstream, get,
    raw::{Raw, frame},
    shown, soon,
};

const STABLE: &str = "pgw_stable-key";
/// A key that was removed stops working within this time, also on an open connection.
const PROMISED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 50;
const LOADED: &str = r#"prebuild_gateway_file_reloads_total{key="identity.keys_file",result="taken"}"#;
const REFUSED: &str = r#"prebuild_gateway_file_reloads_total{key="identity.keys_file",result="refused"}"#;

/// A key file, and the directory that it is changed in.
struct KeyFile {
    directory: TempDir,
}

impl KeyFile {
    fn of(keys: &[&str]) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.holds(keys);
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keys.toml")
    }

    /// These keys of acme's and no others.
    fn holds(&self, keys: &[&str]) {
        let entries: Vec<_> = keys.iter().map(|key| entry(key)).collect();
        self.replace(&match keys {
            [] => "identity.api_keys = []".to_owned(),
            _ => entries.concat(),
        });
    }

    /// As an operator should: beside it, then in its place. Such files are closed to others.
    fn replace(&self, text: &str) {
        let mut file = NamedTempFile::new_in(&self.directory).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.persist(self.path()).unwrap();
    }
}

fn entry(key: &str) -> String {
    let hash = KeyHash::of(key);
    format!("[[identity.api_keys]]\nid = '{key}'\nsubject = 'ci'\norg = 'acme'\nsha256 = '{hash}'\n")
}

/// With the looks at the file that often.
async fn gateway(upstream: &Sandboxed, file: &KeyFile, every: Option<Duration>) -> Gateway {
    Gateway::with(upstream.address, |config| {
        config.identity.keys_file = Some(file.path());
        config.identity.reload_interval = every.unwrap_or(config.identity.reload_interval);
    })
    .await
}

fn often() -> Option<Duration> {
    Some(Duration::from_millis(10))
}

/// How a read by that key ends.
async fn by(raw: &mut Raw, key: &str) -> Code {
    let request = raw
        .bare("/gitpod.v1.PrebuildService/ListPrebuilds")
        .header("content-type", "application/grpc")
        .header("authorization", format!("Bearer {key}"));
    raw.call(request, frame(0, b"")).await.grpc().code()
}

/// Calls by that key, one after the other, until they end so.
async fn until(raw: &mut Raw, key: &str, code: Code) {
    soon(async { while by(raw, key).await != code {} }).await;
}

/// Waits for a counter.
async fn counted(gateway: &Gateway, series: &str, count: u64) {
    soon(async { while gateway.counted(series).await < count {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_fifty_times_under_load_and_no_call_fails() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = KeyFile::of(&[STABLE]);
    let gateway = gateway(&upstream, &file, often()).await;
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for _ in 0..3 {
        let (mut client, stop, made) = (gateway.client_of(STABLE).await, stop.clone(), made.clone());
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.list_prebuilds(ListPrebuildsRequest::default()).await.unwrap();
                made.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut raw = Raw::connect(gateway.address).await;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let key = format!("pgw_round-{round}");
        file.holds(&[&key, STABLE]);
        until(&mut raw, &key, Code::Ok).await;
        file.holds(&[STABLE]);
        let removed = Instant::now();
        until(&mut raw, &key, Code::Unauthenticated).await;
        slowest = slowest.max(removed.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call fails");
    }
    assert!(made.load(Ordering::Relaxed) > ROUNDS, "there was load");
    assert!(slowest < PROMISED, "{slowest:?}");
    counted(&gateway, LOADED, 2 * ROUNDS as u64).await;
    assert_eq!(gateway.counted(REFUSED).await, 0);
}

/// With the interval that the gateway has of itself.
#[tokio::test]
async fn a_removed_key_stops_working_on_its_open_connection_within_a_second() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = KeyFile::of(&[STABLE, "pgw_leaked"]);
    let gateway = gateway(&upstream, &file, None).await;
    let mut open = Raw::connect(gateway.address).await;
    assert_eq!(by(&mut open, "pgw_leaked").await, Code::Ok);
    file.holds(&[STABLE]);
    let removed = Instant::now();
    until(&mut open, "pgw_leaked", Code::Unauthenticated).await;
    assert!(removed.elapsed() < PROMISED, "{:?}", removed.elapsed());
    assert_eq!(by(&mut open, STABLE).await, Code::Ok, "on the very same connection");
    // The last one can be taken away as well; who is in the config stays.
    file.holds(&[]);
    until(&mut open, STABLE, Code::Unauthenticated).await;
    assert_eq!(by(&mut open, ACME_KEY).await, Code::Ok);
}

#[tokio::test]
async fn a_bad_file_never_takes_the_place_of_a_good_one() {
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = KeyFile::of(&[STABLE]);
    let gateway = gateway(&upstream, &file, often()).await;
    let mut raw = Raw::connect(gateway.address).await;
    assert_eq!(gateway.check("identity.keys_file").await.0["ok"], true);
    let twice = format!("{}{}", entry("pgw_new"), entry("pgw_new"));
    let taken =
        format!("{}sha256 = '{}'\n", entry("pgw_new").split("sha256").next().unwrap(), KeyHash::of(ACME_KEY));
    let cases = [
        (String::new(), "identity: is required"),
        ("pgw_new".to_owned(), "line 1: "),
        (entry("pgw_new").replace("sha256", "sha512"), "identity.api_keys[0].sha512: is not a key"),
        (entry("pgw_new").replace("'acme'", "'initech'"), "`initech` is not one of [[orgs]]"),
        (format!("{}scopes = ['write']\n", entry("pgw_new")), "identity.api_keys[0].scopes[0]: must be"),
        (twice, "id `pgw_new` is used twice"),
        (taken, "has the same sha256 as an earlier key"),
    ];
    let mut refused = 0;
    for (text, problem) in cases {
        file.replace(&text);
        refused += 1;
        counted(&gateway, REFUSED, refused).await;
        let (check, ready) = gateway.check("identity.keys_file").await;
        assert_eq!((&check["ok"], &check["required"], ready), (&value!(false), &value!(false), true));
        let detail = check["detail"].as_str().unwrap();
        assert!(detail.starts_with("identity.keys_file: `") && detail.contains(problem), "{detail}");
        assert_eq!(by(&mut raw, STABLE).await, Code::Ok, "{problem}");
        assert_eq!(by(&mut raw, "pgw_new").await, Code::Unauthenticated, "{problem}");
    }
    // Neither does none, nor one that others can read.
    std::fs::remove_file(file.path()).unwrap();
    counted(&gateway, REFUSED, refused + 1).await;
    file.holds(&["pgw_new"]);
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
    counted(&gateway, REFUSED, refused + 2).await;
    assert_eq!(by(&mut raw, STABLE).await, Code::Ok);
    // A good one does, and then all is well.
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    until(&mut raw, "pgw_new", Code::Ok).await;
    assert_eq!(by(&mut raw, STABLE).await, Code::Unauthenticated);
    let (check, ready) = gateway.check("identity.keys_file").await;
    assert_eq!((&check["ok"], &check["detail"], ready), (&value!(true), &value!(null), true));
}

#[tokio::test]
async fn a_call_in_flight_ends_as_it_began() {
    let (gate, answer) = Answer::held(shown());
    let upstream = Upstream::start([answer]).await;
    let file = KeyFile::of(&[STABLE]);
    let gateway = Gateway::with(upstream.address, |config| {
        config.identity.keys_file = Some(file.path());
        config.identity.reload_interval = Duration::from_millis(10);
    })
    .await;
    let mut client = gateway.client_of(STABLE).await;
    let mut second = client.clone();
    let call = tokio::spawn(async move { client.get_prebuild(get()).await });
    upstream.arrived(1).await;
    file.holds(&[]);
    counted(&gateway, LOADED, 1).await;
    let late = second.get_prebuild(get()).await.unwrap_err();
    assert_eq!(late.reason().as_deref(), Some("UNAUTHENTICATED"));
    gate.cancel();
    call.await.unwrap().unwrap();
}

/// The shipped examples, with their paths and hashes put where this test has them.
#[tokio::test]
async fn the_examples_are_served_with() {
    const EXAMPLE: &str = include_str!("../../deploy/identity-api-keys.example.toml");
    const KEYS: &str = include_str!("../../deploy/keys.example.toml");
    let hash = |key: &str| KeyHash::of(key).to_string();
    let in_force = [
        ("fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", "pgw_january"),
        ("baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096", "pgw_february"),
    ];
    let upstream = Sandboxed::start(Rules::default()).await;
    let file = KeyFile::of(&[]);
    // The examples' dates pass, this test shall not.
    let keys = KEYS.replace("2027-01-31T", "9999-01-31T");
    file.replace(&in_force.iter().fold(keys, |text, (old, key)| text.replace(old, &hash(key))));
    let token = file.directory.path().join("acme-token");
    std::fs::write(&token, crate::harness::ACME_TOKEN).unwrap();
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let gateway = Gateway::with(upstream.address, |config| {
        let text = EXAMPLE
            .replace(&"0".repeat(64), &hash("pgw_dashboard"))
            .replace("/etc/prebuild-gateway/keys.toml", &file.path().display().to_string())
            .replace("/run/secrets/acme-token", &token.display().to_string());
        let mut example = Config::parse(&text).unwrap();
        example.audit.clone_from(&config.audit);
        example.upstream.clone_from(&config.upstream);
        *config = example;
    })
    .await;
    let mut raw = Raw::connect(gateway.address).await;
    for key in ["pgw_dashboard", "pgw_january", "pgw_february"] {
        assert_eq!(by(&mut raw, key).await, Code::Ok, "{key}");
    }
    assert_eq!(by(&mut raw, "pgw_march").await, Code::Unauthenticated);
    let cancel = raw
        .bare("/gitpod.v1.PrebuildService/CancelPrebuild")
        .header("content-type", "application/grpc")
        .header("authorization", "Bearer pgw_dashboard");
    assert_eq!(raw.call(cancel, frame(0, b"")).await.grpc().code(), Code::PermissionDenied);
}
