//! Three orgs, random calls of own, foreign and made-up things, and an upstream that lies now and then: what each
//! caller may see and do, and no byte more. Once with an upstream organization for each org, once with one for all.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use prebuild_gateway::{
    config::{Config, Credential},
    identity::api_key::KeyHash,
    sandbox::{Clock, Life, Rules, Sandbox, Settings},
    upstream::Mode,
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::harness::{ACME_TOKEN, GLOBEX_KEY, GLOBEX_TOKEN, INITECH_TOKEN, sharing};

mod call;
mod end;
mod lies;
mod world;

use call::Asked;
use world::{Dice, World};

/// How many calls, if it is set. `.ci/run` sets 100,000: minutes without optimization.
const CALLS: &str = "PREBUILD_GATEWAY_MODEL_CALLS";
/// Where somebody waits for it.
const FEW: usize = 4_000;
const INITECH_KEY: &str = "pgw_initech-key";
const ORGS: [(&str, &str, &str); 3] = [
    ("acme", ACME_KEY, ACME_TOKEN),
    ("globex", GLOBEX_KEY, GLOBEX_TOKEN),
    ("initech", INITECH_KEY, INITECH_TOKEN),
];
/// Fixed, so that what is asked for comes again.
const SEED: u64 = 0x0198_c0de_7000_8000;
/// At once; they take turns with each other's work.
const CALLERS: usize = 6;
/// Tells the witness whose call a request upstream is for. Look-ups are the gateway's own and have none.
const CALLER: &str = "x-caller";

/// What was seen over all calls.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    /// Whose outcome was held against the reference: there was no lie at the time.
    judged: usize,
    shown: usize,
    refused: usize,
}

fn third_org(config: &mut Config) {
    let (mut org, mut key) = (config.orgs[1].clone(), config.identity.api_keys[1].clone());
    (org.id, key.org) = ("initech".into(), "initech".into());
    org.credential = Credential::Env("initech".to_owned());
    org.upstream_organization_id =
        Some(Org::demo("initech", String::new().into()).organization_id.to_string());
    (key.id, key.sha256) = ("initech-ci".into(), KeyHash::of(INITECH_KEY));
    config.orgs.push(org);
    config.identity.api_keys.push(key);
}

async fn gateway(world: &World, upstream: std::net::SocketAddr, audit: &Path) -> Gateway {
    Gateway::with(upstream, |config| {
        third_org(config);
        if world.mode == Mode::Strict {
            sharing(config, &world.projects);
            for (org, class) in config.orgs.iter_mut().zip(&world.classes) {
                org.environment_classes = vec![class.clone()];
            }
        }
        config.upstream.request_metadata = vec![CALLER.to_owned()];
        config.audit.directory = audit.to_owned();
    })
    .await
}

/// Nothing ends by itself, so that what the reference says stays so.
async fn sandbox(world: &Arc<World>) -> (std::net::SocketAddr, DropGuard) {
    let life = Life { step: Duration::from_secs(3600), warn_every: 0, fail_every: 0 };
    let settings = Settings { orgs: world.upstream(), life, rules: Rules::Official, clock: Clock::system() };
    let sandbox = Sandbox::new(settings);
    let witness = world.clone();
    sandbox.witness(move |seen, answer| witness.witness(seen, answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(sandbox.serve(listener, stop.clone()));
    (address, stop.drop_guard())
}

async fn call_at_random(world: Arc<World>, address: std::net::SocketAddr, seed: u64, calls: usize) -> Tally {
    let (mut raw, mut dice, mut tally) = (Raw::connect(address).await, Dice::new(seed), Tally::default());
    for number in 0..calls {
        let (caller, dialect) = (dice.roll(3), DIALECTS[dice.roll(DIALECTS.len())]);
        let Asked { method, json, expected, list } = call::any(&world, &mut dice, caller);
        let head = dialect.request_of(ORGS[caller].1, &raw, method).header(CALLER, caller.to_string());
        let lies = world.lies.load(Ordering::SeqCst);
        let answered = raw.call(head, dialect.body(&encoded(dialect, method, &json))).await;
        let is_honest = world.lies.load(Ordering::SeqCst) == lies;
        let case = format!("call {number} of {seed:x}: {caller} {method} {json} by {dialect:?}");
        let open = bytes_of(answered.clone());
        tally.shown += world.only_own(caller, &open, &case);
        let result = dialect.read(answered).result;
        tally.calls += 1;
        tally.refused += usize::from(result.is_err());
        if let (Ok(page), Some(list)) = (&result, list) {
            let (items, next) = walks::read(dialect, method, page);
            assert!(!items.is_empty() || next.is_empty(), "{case}: an empty page that leads on");
            world.lead(list, next);
        }
        if is_honest {
            tally.judged += 1;
            expected.judge(&result, &case);
        }
    }
    tally
}

async fn no_caller_sees_or_changes_anothers(mode: Mode) {
    let calls: usize = std::env::var(CALLS).map_or(FEW, |calls| calls.parse().unwrap());
    let world = Arc::new(World::new(mode));
    // Where there is a disk in memory, nobody waits for another one.
    let memory = Path::new("/dev/shm");
    let audit = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let (upstream, _stop) = sandbox(&world).await;
    let gateway = gateway(&world, upstream, audit.path()).await;
    let callers = (0..CALLERS as u64).map(|caller| {
        let seed = SEED ^ (caller << 40);
        tokio::spawn(call_at_random(world.clone(), gateway.address, seed, calls.div_ceil(CALLERS)))
    });
    let mut sum = Tally::default();
    for caller in callers.collect::<Vec<_>>() {
        let Tally { calls, judged, shown, refused } = caller.await.unwrap();
        sum.calls += calls;
        sum.judged += judged;
        sum.shown += shown;
        sum.refused += refused;
    }
    let (lies, changes) = (world.lies.load(Ordering::SeqCst), world.changes.load(Ordering::SeqCst));
    println!("{mode:?}: {sum:?}, {changes} changes, {lies} lies");
    assert_eq!(*world.foreign_changes.lock().unwrap(), Vec::<String>::new());
    assert!(sum.judged > sum.calls / 2 && lies > sum.calls / 400, "no fair mix");
    assert!(changes > sum.calls / 20 && sum.shown > sum.calls, "no fair mix");
    assert!(sum.refused > sum.calls / 4 && sum.refused < sum.calls * 3 / 4, "no fair mix");
    world.is_honest.store(true, Ordering::SeqCst);
    end::every_list_is_whole(&world, &gateway).await;
    end::foreign_is_absent(&world, &gateway).await;
    assert_eq!(*world.foreign_changes.lock().unwrap(), Vec::<String>::new());
    let metrics = gateway.metrics().await;
    let kinds: &[&str] = match mode {
        Mode::Organization => &["organization", "id"],
        Mode::Strict => &["organization", "project", "id"],
    };
    for kind in kinds {
        assert!(metrics.contains(&format!(r#"kind="{kind}"}}"#)), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_sees_or_changes_what_is_another_orgs() {
    no_caller_sees_or_changes_anothers(Mode::Organization).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_sees_or_changes_what_is_in_another_orgs_projects() {
    no_caller_sees_or_changes_anothers(Mode::Strict).await;
}
