//! A flood costs little and hides nothing: what is counted, what stands by itself, and what it all takes.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use super::{Fold, Kind, MAX_KINDS, MAX_STRANGE, WINDOW};
use crate::{
    audit::{line, record::Record, tests::read, tree::Hash},
    call::{Call, Context, Mismatch, MismatchKind, Recorder, RequestId, UnknownField, tests},
    error::{Code, Error, Reason, Sent},
    proto::gitpod::v1 as pb,
    rpc::{GET_PREBUILD, GET_WARM_POOL},
    rule::{Applied, Mode, Outcome, Version},
};

/// A fold with a clock of its own, and all that it lets through.
struct Flood {
    fold: Fold,
    now: SystemTime,
    told: Vec<Record>,
}

impl Flood {
    fn new() -> Self {
        Self {
            fold: Fold::default(),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            told: Vec::new(),
        }
    }

    /// A refusal above the call plane.
    fn stranger(&mut self, context: &Context, error: &Error) {
        let kind = Kind::of(context, error, None);
        self.told.extend(self.fold.admit(kind, self.now, || Record::refused(context, error)));
    }

    /// A refusal of a call.
    fn call(&mut self, call: &Call, error: &Error) {
        call.context.claim(Recorder::CallPlane);
        let kind = Kind::of(&call.context, error, Some(&call.facts));
        self.told.extend(self.fold.admit(kind, self.now, || Record::refused(&call.context, error)));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.told.extend(self.fold.due(self.now));
    }

    /// Stage and count of each record.
    fn told(&self) -> Vec<(String, u64)> {
        let shown = self.told.iter().map(flat);
        shown
            .map(|record| {
                (record["stage"].as_str().unwrap().to_owned(), record["count"].as_u64().unwrap_or(1))
            })
            .collect()
    }

    /// Refusals that the records stand for.
    fn number(&self) -> u64 {
        self.told().iter().map(|(_, count)| count).sum()
    }

    /// What the records take in the log.
    fn bytes(&self) -> usize {
        let mut lines = Vec::new();
        for (sequence, record) in (0..).zip(&self.told) {
            let place =
                line::Place { log: "prebuild-gateway-7d9c5b6f4-x2x9z", sequence, prev: Hash::default() };
            line::write(place, &record.tail(), &mut lines);
        }
        lines.len()
    }
}

fn flat(record: &Record) -> Value {
    let tail = String::from_utf8(record.tail()).unwrap();
    read::flat(&serde_json::from_str(&format!("{{\"unmapped\":{{{tail}")).unwrap())
}

fn from(address: u32) -> Context {
    let peer = SocketAddr::from((address.to_be_bytes(), 40_000));
    let context = Context::new(RequestId::new(), Instant::now(), Some(peer));
    context.set_protocol("grpc");
    context
}

/// From there, by a caller whose credential is known.
fn known(address: u32, protocol: &'static str) -> Context {
    let peer = SocketAddr::from((address.to_be_bytes(), 40_000));
    let context = Context::new(RequestId::new(), Instant::now(), Some(peer));
    context.set_protocol(protocol);
    let (identity, method) = (get(1).identity, &GET_PREBUILD);
    context.set_identity(identity);
    context.set_method(method);
    context
}

/// By what its record and those that it stands for are told apart.
fn what(record: &Value) -> String {
    let end = &record["end"];
    format!("{} {} {} {}", record["policy"], record["dry_run"], end["decision"], end["code"])
}

fn get(id: u128) -> Call {
    let prebuild_id = uuid::Uuid::from_u128(id).to_string();
    tests::call(&GET_PREBUILD, &pb::GetPrebuildRequest { prebuild_id })
}

fn unauthenticated() -> Error {
    Error::refuse(Reason::Unauthenticated)
}

#[test]
fn the_first_stands_by_itself_and_the_others_are_counted() {
    let mut flood = Flood::new();
    for _ in 0..5 {
        flood.stranger(&from(1), &unauthenticated());
        flood.pass(Duration::from_secs(1));
    }
    assert_eq!(flood.told(), [("reject".to_owned(), 1)]);
    flood.pass(Duration::from_secs(4));
    assert_eq!(flood.told().len(), 1, "the window is not over");
    flood.pass(Duration::from_secs(1));
    assert_eq!(flood.told()[1..], [("aggregate".to_owned(), 4)]);
    let aggregate = flat(&flood.told[1]);
    assert_eq!(aggregate["first"], "1970-01-01T00:16:41.000000Z");
    assert_eq!(aggregate["last"], "1970-01-01T00:16:44.000000Z");
    assert_eq!(
        (&aggregate["end"]["reason"], &aggregate["peer"]),
        (&"UNAUTHENTICATED".into(), &"0.0.0.1".into())
    );
    assert!(aggregate["request_id"].is_null(), "it is no one's end");
    assert!(aggregate["end"]["latency_us"].is_null());

    // It goes on: no further one stands by itself. It stops, and is forgotten.
    flood.stranger(&from(1), &unauthenticated());
    flood.pass(WINDOW);
    assert_eq!(flood.told()[2..], [("aggregate".to_owned(), 1)]);
    flood.pass(WINDOW);
    flood.stranger(&from(1), &unauthenticated());
    assert_eq!(flood.told()[3..], [("reject".to_owned(), 1)]);
}

#[test]
fn what_is_counted_is_told_at_the_end() {
    let mut flood = Flood::new();
    (0..3).for_each(|_| flood.stranger(&from(1), &unauthenticated()));
    flood.told.extend(flood.fold.rest());
    assert_eq!(flood.told(), [("reject".to_owned(), 1), ("aggregate".to_owned(), 2)]);
    assert!(flood.fold.rest().is_empty());
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing() {
    let mut flood = Flood::new();
    (0..2).for_each(|_| flood.stranger(&from(1), &unauthenticated()));
    flood.now -= Duration::from_secs(600);
    flood.pass(Duration::ZERO);
    assert_eq!(flood.told().len(), 2);
}

#[test]
fn what_differs_is_told_apart() {
    let mut flood = Flood::new();
    let denied = || Error::refuse(Reason::PolicyDenied).with_rule("rules.r");
    flood.stranger(&from(1), &unauthenticated());
    flood.stranger(&from(2), &unauthenticated());
    flood.stranger(&from(2), &Error::refuse(Reason::UnknownMethod));
    flood.call(&get(1), &denied());
    flood.call(&get(2), &denied());
    flood.call(&get(2), &Error::refuse(Reason::PolicyDenied).with_rule("rules.q"));
    let pool = pb::GetWarmPoolRequest { warm_pool_id: get(2).facts.prebuild.unwrap() };
    flood.call(&tests::call(&GET_WARM_POOL, &pool), &denied());
    assert_eq!(flood.told().len(), 7);
    flood.call(&get(1), &denied());
    assert_eq!(flood.told().len(), 7, "the very same");
}

/// Of a limit the point is that there are too many, whatever they ask for.
#[test]
fn what_a_limit_refuses_is_alike_whatever_it_asks_for() {
    for reason in [Reason::RateLimited, Reason::OrgBusy] {
        let mut flood = Flood::new();
        (0..1_000).for_each(|id| flood.call(&get(id), &Error::refuse(reason)));
        assert_eq!(flood.told(), [("reject".to_owned(), 1)], "{reason:?}");
    }
    let mut flood = Flood::new();
    for number in 0..100 {
        let context = from(1);
        context.set_limited();
        let reason = if number % 2 == 0 { Reason::PeerLimited } else { Reason::IdentityUnavailable };
        flood.stranger(&context, &Error::refuse(reason));
    }
    assert_eq!(flood.told().len(), 2, "they are told apart by what they were told");
}

/// An aggregate says of all of them only what is true of all of them.
#[test]
fn an_aggregate_has_what_its_refusals_have_in_common() {
    let mut flood = Flood::new();
    for (address, protocol) in [(1, "grpc"), (2, "connect")] {
        let call = get(u128::from(address));
        let call = Call { context: known(address, protocol), ..call };
        let ruling =
            Applied { rule: "rules.r".into(), mode: Mode::Audit, candidate: false, value: (), link: None };
        call.context.add_rulings([ruling.ruling(Outcome::Broken)]);
        call.context.set_judged(call.facts.clone(), flood.now);
        call.context.set_unknown(vec![UnknownField { place: "?".to_owned(), name: None }]);
        flood.call(&call, &Error::refuse(Reason::RateLimited).with_rule("rates.org.all"));
    }
    flood.pass(WINDOW);
    let (first, aggregate) = (flat(&flood.told[0]), flat(&flood.told[1]));
    let of_one = ["peer", "protocol", "facts", "rulings", "unknown"];
    for of_one in of_one {
        assert!(!first[of_one].is_null() && aggregate[of_one].is_null(), "{of_one}: {aggregate}");
    }
    assert!(aggregate["end"]["objects"].is_null(), "{aggregate}");
    for of_all in ["org", "subject", "scopes", "method"] {
        assert_eq!(first[of_all], aggregate[of_all]);
    }
    assert_eq!((&aggregate["count"], &aggregate["end"]["rule"]), (&1.into(), &"rates.org.all".into()));
}

/// A policy that is replaced meanwhile, another answer of upstream's, a dry run: each begins a count of its own.
#[test]
fn what_decided_otherwise_is_told_apart() {
    let mut flood = Flood::new();
    let denied = || Error::refuse(Reason::PolicyDenied).with_rule("rules.r");
    let policy = |text: &str| {
        let call = get(1);
        call.context.set_policy(Version::of([text]));
        call
    };
    for _ in 0..2 {
        flood.call(&policy("old"), &denied());
        flood.call(&policy("new"), &denied());
        let dry_run = policy("new");
        dry_run.context.set_dry_run();
        flood.call(&dry_run, &denied());
        let look_up = |code| Error::upstream(code, "no").with_sent(Sent::No);
        flood.call(&policy("new"), &look_up(Code::PermissionDenied));
        flood.call(&policy("new"), &look_up(Code::Unavailable));
        let permitted = policy("new");
        permitted.context.set_permitted();
        flood.call(&permitted, &look_up(Code::Unavailable));
    }
    assert_eq!(flood.told().len(), 6);
    flood.pass(WINDOW);
    let mut said: Vec<_> = flood.told.iter().map(flat).map(|record| what(&record)).collect();
    let mut told = said.split_off(6);
    said.sort();
    told.sort();
    assert_eq!(said, told, "each has an aggregate of its own");
}

/// Who has a network of IPv6 has 2^64 addresses.
#[test]
fn a_network_of_ipv6_is_one_stranger() {
    let mut flood = Flood::new();
    for host in 0..1_000 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
        let peer = SocketAddr::from((address, 40_000));
        flood.stranger(&Context::new(RequestId::new(), Instant::now(), Some(peer)), &unauthenticated());
    }
    flood.pass(WINDOW);
    assert_eq!(flood.told(), [("reject".to_owned(), 1), ("aggregate".to_owned(), 999)]);
    assert_eq!(flat(&flood.told[1])["peer"], "2001:db8:0:1::");
}

#[test]
fn an_attack_is_told_each_time() {
    let mut flood = Flood::new();
    for _ in 0..3 {
        flood.stranger(&from(1), &Error::refuse(Reason::IdentityConflict));
        let call = get(1);
        call.context.add_mismatch(Mismatch { kind: MismatchKind::Organization, objects: 1 });
        flood.call(&call, &Error::refuse(Reason::NotFound));
    }
    assert_eq!(flood.told().len(), 6);
}

/// A caller whose rate bounds it is never lost among strangers.
#[test]
fn beyond_the_kinds_strangers_share_a_count_and_callers_do_not() {
    let mut flood = Flood::new();
    let kinds = u32::try_from(MAX_KINDS).unwrap();
    (0..kinds + 50).for_each(|address| flood.stranger(&from(address), &unauthenticated()));
    // Strangers leave some kinds to callers.
    let left = u128::try_from(MAX_KINDS - MAX_STRANGE).unwrap();
    (0..left).for_each(|id| flood.call(&get(id), &Error::refuse(Reason::PolicyDenied)));
    assert_eq!(flood.told().len(), MAX_KINDS);
    (0..left).for_each(|id| flood.call(&get(id), &Error::refuse(Reason::PolicyDenied)));
    assert_eq!(flood.told().len(), MAX_KINDS, "they are counted");
    // Beyond all of them, each stands by itself.
    (100..120).for_each(|id| flood.call(&get(id), &Error::refuse(Reason::PolicyDenied)));
    assert_eq!(flood.told().len(), MAX_KINDS + 20);
    flood.pass(WINDOW);
    let aggregate = flat(flood.told.last().unwrap());
    let rest = MAX_KINDS + 50 - MAX_STRANGE;
    assert_eq!((&aggregate["stage"], &aggregate["count"]), (&"aggregate".into(), &rest.into()));
    let told = MAX_KINDS + 50 + 2 * (MAX_KINDS - MAX_STRANGE) + 20;
    assert_eq!(flood.number(), u64::try_from(told).unwrap(), "nothing is lost");
}

/// A minute of 100,000 refusals a second takes less than 1 MB: of strangers, by however many addresses, and of one known
/// caller that is over its rate, whatever it asks for.
#[test]
fn a_flood_costs_little() {
    for addresses in [1, 10_000] {
        let contexts: Vec<_> = (0..addresses).map(from).collect();
        let error = unauthenticated();
        rages(|flood, number| flood.stranger(&contexts[number % contexts.len()], &error));
    }
    let calls: Vec<_> = (0..1_000).map(get).collect();
    let error = Error::refuse(Reason::RateLimited).with_rule("rates.org.all");
    rages(|flood, number| flood.call(&calls[number % calls.len()], &error));
}

/// 100,000 a second for a minute are 6,000,000: `PREBUILD_GATEWAY_FLOOD` says so, as they take an unoptimised build a
/// minute for each of the three. By default it is as long, but thinner: what is counted takes no more room for being more.
fn refusals() -> usize {
    std::env::var("PREBUILD_GATEWAY_FLOOD").map_or(240_000, |count| count.parse().unwrap())
}

/// What a minute of it leaves.
fn rages(refuse: impl Fn(&mut Flood, usize)) {
    let (mut flood, refusals) = (Flood::new(), refusals());
    for number in 0..refusals {
        refuse(&mut flood, number);
        if number % (refusals / 240) == 0 {
            flood.pass(Duration::from_millis(250));
        }
    }
    flood.told.extend(flood.fold.rest());
    println!("{refusals} refusals in a minute: {} bytes", flood.bytes());
    assert_eq!(flood.number(), u64::try_from(refusals).unwrap());
    assert!(flood.bytes() < 1_000_000, "{}", flood.bytes());
}
