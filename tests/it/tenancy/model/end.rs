//! When the lies have ended: each org has all that is its own, and nothing tells foreign from absent.

use super::{world::World, *};

/// Of each kind and org, of foreign objects.
const SAMPLE: usize = 5;
const LISTS: [&str; 2] = ["ListPrebuilds", "ListWarmPools"];
/// By kind.
const ABOUT_ONE: [&[&str]; 2] = [
    &["GetPrebuild", "CancelPrebuild", "DeletePrebuild", "CreatePrebuildLogsToken"],
    &["GetWarmPool", "UpdateWarmPool", "DeleteWarmPool"],
];

/// What each org's lists show is what it has made.
pub(super) async fn every_list_is_whole(world: &World, gateway: &Gateway) {
    let mut raw = Raw::connect(gateway.address).await;
    for (org, (_, key, _)) in ORGS.iter().enumerate() {
        for (kind, method) in LISTS.into_iter().enumerate() {
            let dialect = DIALECTS[(org + kind) % DIALECTS.len()];
            let (mut ids, mut token) = (Vec::new(), String::new());
            // As many pages as there are ids, and one for each batch.
            for _ in 0..200 {
                let json = value!({"pagination": {"pageSize": 7, "token": token}});
                let head = dialect.request_of(key, &raw, method);
                let answered = raw.call(head, dialect.body(&encoded(dialect, method, &json))).await;
                let page = dialect.read(answered).result.unwrap();
                let (items, next) = walks::read(dialect, method, &page);
                ids.extend(items);
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            ids.sort_unstable();
            assert_eq!(ids, world.all(kind, org), "{org} {method} {dialect:?}");
        }
    }
}

/// To the byte, and by what it costs upstream.
pub(super) async fn foreign_is_absent(world: &World, gateway: &Gateway) {
    let mut raw = Raw::connect(gateway.address).await;
    let (mut dice, mut number) = (Dice::new(SEED), 0);
    for (caller, (_, key, _)) in ORGS.iter().enumerate() {
        for (kind, methods) in ABOUT_ONE.into_iter().enumerate() {
            for method in methods.iter().cycle().take(methods.len() * SAMPLE) {
                number += 1;
                let dialect = DIALECTS[number % DIALECTS.len()];
                let owner = (caller + 1 + number % 2) % 3;
                let foreign = world.id(&mut dice, kind, owner).unwrap();
                let mut told = Vec::new();
                for id in [foreign, Uuid::new_v4().to_string()] {
                    let before = asked(gateway).await;
                    let json = match kind {
                        0 => value!({"prebuildId": id}),
                        _ if *method == "UpdateWarmPool" => value!({"warmPoolId": id, "maxSize": 20}),
                        _ => value!({"warmPoolId": id}),
                    };
                    let head = dialect.request_of(key, &raw, method).header(CALLER, caller.to_string());
                    let answered = raw.call(head, dialect.body(&encoded(dialect, method, &json))).await;
                    told.push((bytes_of(answered), asked(gateway).await - before));
                }
                assert_eq!(told[0], told[1], "{caller} {method} {dialect:?}");
            }
        }
    }
}

/// How many requests there were upstream.
async fn asked(gateway: &Gateway) -> u64 {
    let metrics = gateway.metrics().await;
    let series = "prebuild_gateway_upstream_request_duration_seconds_count";
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
