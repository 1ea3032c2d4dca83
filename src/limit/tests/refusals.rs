//! Buckets of peers: how much each has, and who shares one.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use governor::clock::FakeRelativeClock;

use crate::{
    call::OrgId,
    limit::{Refusals, Spent},
    rule::Rate,
};

fn refusals(per_second: u32, burst: u32) -> (Refusals<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let rate = Rate::per_second(NonZeroU32::new(per_second).unwrap(), NonZeroU32::new(burst).unwrap());
    (Refusals::new(rate, clock.clone()), clock)
}

fn peer(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 40_000)
}

#[test]
fn a_burst_is_refused_and_then_only_so_many_a_second() {
    let (refusals, clock) = refusals(4, 3);
    let peer = peer("192.0.2.1");
    for _ in 0..3 {
        assert!(!refusals.is_spent(peer));
        assert_eq!(refusals.spend(peer, None), Ok(()));
    }
    assert_eq!(refusals.spend(peer, None), Err(Spent));
    assert!(refusals.is_spent(peer) && refusals.clone().is_spent(peer), "clones share it");
    clock.advance(Duration::from_millis(249));
    assert!(refusals.is_spent(peer));
    clock.advance(Duration::from_millis(1));
    assert!(!refusals.is_spent(peer));
    assert_eq!(refusals.spend(peer, None), Ok(()));
    assert!(refusals.spend(peer, None).is_err());
    clock.advance(Duration::from_secs(3600));
    assert!((0..3).all(|_| refusals.spend(peer, None).is_ok()), "no more than the burst is saved up");
    assert!(refusals.spend(peer, None).is_err());
}

#[test]
fn an_address_is_a_peer_and_so_is_a_network_of_ipv6() {
    let one = |spends: &str, other: &str| {
        let (refusals, _) = refusals(1, 1);
        assert!(refusals.spend(peer(spends), None).is_ok() && refusals.spend(peer(spends), None).is_err());
        assert!(refusals.is_spent(peer(spends)));
        let shares = refusals.is_spent(peer(other));
        assert_eq!(refusals.spend(peer(other), None).is_err(), shares);
        shares
    };
    assert!(one("192.0.2.1", "192.0.2.1"));
    assert!(!one("192.0.2.1", "192.0.2.2"));
    assert!(one("192.0.2.1", "::ffff:192.0.2.1"), "it is the same one, mapped");
    assert!(!one("::ffff:192.0.2.1", "::ffff:192.0.2.2"), "mapped addresses are no network");
    assert!(one("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert!(!one("2001:db8:0:1::1", "2001:db8:0:2::1"));
}

#[test]
fn ports_make_no_difference() {
    let (refusals, _) = refusals(1, 1);
    assert!(refusals.spend("192.0.2.1:1".parse().unwrap(), None).is_ok());
    assert!(refusals.spend("192.0.2.1:2".parse().unwrap(), None).is_err());
}

#[test]
fn strangers_and_each_orgs_callers_have_buckets_of_their_own() {
    let (refusals, _) = refusals(1, 1);
    let (peer, acme, globex) = (peer("192.0.2.1"), OrgId::from("acme"), OrgId::from("globex"));
    for org in [Some(&acme), None, Some(&globex)] {
        assert_eq!(refusals.spend(peer, org), Ok(()));
        assert!(!refusals.is_spent(peer));
    }
    assert_eq!(refusals.spend(peer, Some(&acme)), Err(Spent));
    assert!(!refusals.is_spent(peer));
    assert_eq!(refusals.spend(peer, None), Err(Spent));
    assert!(refusals.is_spent(peer));
}
