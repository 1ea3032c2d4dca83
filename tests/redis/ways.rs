//! The ways to a server, and what is no way.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prebuild_gateway::{
    limit::{By, Shared, Taken},
    rpc::Class,
    rule::Rate,
    store::{self, Fault, Store},
    telemetry::Metrics,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixStream},
};

use super::{
    load::{count, demand},
    server::{Server, resolve},
};
use crate::ALONE;

/// Until a replica that asks for it is answered by the store; none if it is not within some seconds.
async fn asked(server: store::Server) -> (Option<By>, Option<Fault>) {
    let metrics = Metrics::new();
    let store = Store::open(server, metrics.clone());
    let shared = Shared::new(store.clone(), count(2), ["rates.org.read".into()], metrics);
    let demands = [demand("acme", "rates.org.all", Rate::per_second(count(10), count(10)), 1)];
    for _ in 0..500 {
        let decision = shared.take(Class::Mutate, &demands).await;
        if decision.by != By::Local {
            return (Some(decision.by), None);
        }
        // Not just the beginning: it was tried.
        if store.trouble().is_some_and(|fault| fault != Fault::Down) {
            return (None, store.trouble());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (None, store.trouble())
}

#[tokio::test]
async fn a_password_is_needed_and_must_be_right() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    server.tell(&[
        "ACL",
        "SETUSER",
        "gateway",
        "on",
        ">secret",
        "~prebuild-gateway:*",
        "+@read",
        "+@write",
        "+@scripting",
        "+time",
        "+info",
        "+client",
    ]);
    server.tell(&["CONFIG", "SET", "requirepass", "other"]);
    let section = format!("url = \"{}\"\nusername = \"gateway\"\npassword = {{ env = \"P\" }}", server.url());
    let good = asked(resolve(&section, Some("secret"))).await;
    assert!(matches!(good, (Some(By::Store { .. }), None)), "{good:?}");
    for wrong in ["wrong", ""] {
        assert_eq!(asked(resolve(&section, Some(wrong))).await, (None, Some(Fault::Denied)));
    }
    let none = format!("url = \"{}\"", server.url());
    assert_eq!(asked(resolve(&none, None)).await, (None, Some(Fault::Denied)));
}

#[tokio::test]
async fn what_is_no_such_server_is_none() {
    let _alone = ALONE.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url = \"redis://{}\"", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut bytes = [0; 512];
            // What is said does not matter.
            let _ = peer.read(&mut bytes).await;
            let _ = peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let (by, fault) = asked(resolve(&url, None)).await;
    assert!(by.is_none() && matches!(fault, Some(Fault::Garbage | Fault::Connection)), "{fault:?}");
    // And nobody at all.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("url = \"redis://{nobody}\"");
    assert_eq!(asked(resolve(&url, None)).await, (None, Some(Fault::Connection)));
}

#[tokio::test]
async fn reads_pass_only_where_the_config_says_so() {
    let _alone = ALONE.lock().await;
    let nobody = resolve("url = \"unix:///nowhere/at/all\"", None);
    let metrics = Metrics::new();
    let store = Store::open(nobody, metrics.clone());
    let shared = Shared::new(store, count(2), ["rates.org.read".into()], metrics.clone());
    let rate = Rate::per_second(count(1), count(10));
    let demands = ["rates.org.read", "rates.org.all"].map(|rule| demand("acme", rule, rate, 1));
    let passes =
        |taken: &[Taken]| taken.iter().map(|taken| matches!(taken, Taken::Passed { .. })).collect::<Vec<_>>();
    let decision = shared.take(Class::Read, &demands).await;
    assert_eq!(passes(&decision.taken), [true, false]);
    for class in [Class::Mutate, Class::Secret] {
        assert_eq!(passes(&shared.take(class, &demands).await.taken), [false, false]);
    }
    let text = metrics.encode();
    assert!(text.contains("prebuild_gateway_limit_store_decisions_total{result=\"local\"} 3"), "{text}");
    assert!(text.contains("prebuild_gateway_limit_store_up 0"), "{text}");
}

#[tokio::test]
async fn tls_is_with_the_ca_that_the_config_names() {
    let _alone = ALONE.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    for name in ["good", "other"] {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(at(&format!("{name}.pem")), made.cert.pem()).unwrap();
        fs::write(at(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(at(&format!("{name}.pem")), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let server = Server::start(&[]);
    // A port that was free a moment ago; the next one if somebody took it.
    let mut port = 0;
    for _ in 0..10 {
        port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        server.tell(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &at("good.pem"),
            "tls-key-file",
            &at("good.key"),
            "tls-ca-cert-file",
            &at("good.pem"),
            "tls-auth-clients",
            "no",
        ]);
        if server.ask::<String>(&["CONFIG", "SET", "tls-port", &port.to_string()]).is_ok() {
            break;
        }
    }
    let section = |ca: &str| format!("url = \"rediss://localhost:{port}\"\nca_file = \"{}\"", at(ca));
    let good = asked(resolve(&section("good.pem"), None)).await;
    assert!(matches!(good, (Some(By::Store { .. }), None)), "{good:?}");
    assert_eq!(asked(resolve(&section("other.pem"), None)).await, (None, Some(Fault::Connection)));
}

/// Two servers that share the slots; the first one's address.
async fn cluster(servers: &[Server; 2]) -> bool {
    for (server, slots) in servers.iter().zip([["0", "8191"], ["8192", "16383"]]) {
        server.tell(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
    }
    let setting = |name| servers[1].ask::<(String, String)>(&["CONFIG", "GET", name]).unwrap().1;
    servers[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &setting("port"), &setting("cluster-port")]);
    for _ in 0..1000 {
        let is_well = |server: &Server| {
            let info: String = server.ask(&["CLUSTER", "INFO"]).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        };
        if servers.iter().all(is_well) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_cluster_keeps_each_org_where_its_slot_is() {
    let _alone = ALONE.lock().await;
    let mut ports = [0; 2];
    for port in &mut ports {
        *port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    }
    // The bus is ten thousand above by itself, which may be no port at all.
    let servers = ports.map(|port| {
        let bus = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server::start(&[
            "--port",
            &port.to_string(),
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus.to_string(),
        ])
    });
    assert!(cluster(&servers).await, "no cluster");
    let section = format!("url = \"redis://127.0.0.1:{}\"\ncluster = true", ports[0]);
    let metrics = Metrics::new();
    let store = Store::open(resolve(&section, None), metrics.clone());
    while store.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let shared = Shared::new(store, count(2), [], metrics);
    let rate = Rate::per_second(count(10), count(10));
    for org in ["acme", "globex", "initech", "umbrella", "hooli", "stark"] {
        // The first may have to connect to that server.
        for _ in 0..3 {
            let decision = shared.take(Class::Mutate, &[demand(org, "rates.org.all", rate, 1)]).await;
            assert_ne!(decision.by, By::Local, "{org}");
        }
    }
    let keys =
        servers.each_ref().map(|server| server.ask::<Vec<String>>(&["KEYS", "*:rates"]).unwrap().len());
    assert_eq!(keys.iter().sum::<usize>(), 6);
    assert!(keys.iter().all(|keys| *keys > 0), "{keys:?}");
}

/// Hands everything on, a while later.
async fn delay(listener: TcpListener, to: PathBuf, later: Arc<AtomicU64>) {
    while let Ok((peer, _)) = listener.accept().await {
        let server = UnixStream::connect(&to).await.unwrap();
        let ((mut from_peer, mut to_peer), (mut from_server, mut to_server)) =
            (peer.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_peer, &mut to_server).await });
        let later = later.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                tokio::time::sleep(Duration::from_millis(later.load(Relaxed))).await;
                if to_peer.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_way_that_is_too_slow_is_none_until_it_is_quick_again() {
    let _alone = ALONE.lock().await;
    let server = Server::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let section = format!("url = \"redis://{}\"", listener.local_addr().unwrap());
    let later = Arc::new(AtomicU64::new(1));
    tokio::spawn(delay(listener, server.socket(), later.clone()));
    let metrics = Metrics::new();
    let store = Store::open(resolve(&section, None), metrics.clone());
    let shared = Shared::new(store, count(2), [], metrics);
    let demands = [demand("acme", "rates.org.all", Rate::per_second(count(10), count(10)), 1)];
    for (delay, local) in [(1, false), (80, true), (1, false), (80, true), (1, false)] {
        later.store(delay, Relaxed);
        let mut in_a_row = 0;
        for _ in 0..5000 {
            let sent = Instant::now();
            let decision = shared.take(Class::Mutate, &demands).await;
            let took = sent.elapsed();
            assert!(took < Store::PATIENCE + Duration::from_millis(40), "{took:?}");
            in_a_row = if (decision.by == By::Local) == local { in_a_row + 1 } else { 0 };
            if in_a_row == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(in_a_row, 200, "{delay} ms");
    }
}
