//! Three orgs, some thousand calls, and an upstream that lies now and then: what each caller may see, and no byte more.

use prebuild_gateway::{
    config::{Config, Credential},
    identity::api_key::KeyHash,
};

use super::*;
use crate::harness::GLOBEX_KEY;

const CALLS: usize = 3_000;
const INITECH_KEY: &str = "pgw_initech-key";
const ORGS: [(&str, &str); 3] = [("acme", ACME_KEY), ("globex", GLOBEX_KEY), ("initech", INITECH_KEY)];
/// Of each kind, for each org.
const OBJECTS: usize = 5;
/// Fixed, so that a failure comes again.
const SEED: u64 = 0x0198_c0de_7000_8000;

/// Xorshift: good enough to mix, and the same everywhere.
struct Dice(u64);

/// All that there is. Every id, and the text of every object, names its org.
struct World {
    organizations: [String; 3],
    ids: [[String; OBJECTS]; 3],
}

/// One answer, and what the caller may see of it.
struct Scene {
    body: Value,
    status: u16,
    /// How many of the caller's own objects are shown; `None` if the call must fail.
    own: Option<usize>,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    /// Once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }
}

impl World {
    fn new() -> Self {
        let organization = |(name, _)| Org::demo(name, String::new().into()).organization_id.to_string();
        let id = |_| Uuid::new_v4().to_string();
        let ids = [(); 3].map(|()| std::array::from_fn(id));
        Self { organizations: ORGS.map(organization), ids }
    }

    fn canary(org: usize) -> String {
        format!("canary-of-{}", ORGS[org].0)
    }

    /// An object that says whose it is; of the caller's own it may say nothing.
    fn object(&self, org: usize, id: &str, is_silent: bool) -> Value {
        let organization = if is_silent { "" } else { &self.organizations[org] };
        value!({
            "id": id,
            "metadata": {"organizationId": organization},
            "status": {"failureMessage": Self::canary(org)},
        })
    }

    fn any(&self, dice: &mut Dice, caller: usize) -> (usize, Value) {
        let org = dice.roll(3);
        let is_silent = org == caller && dice.once_in(4);
        (org, self.object(org, &self.ids[org][dice.roll(OBJECTS)], is_silent))
    }

    fn list(&self, dice: &mut Dice, caller: usize, field: &str) -> Scene {
        let lies = dice.once_in(3);
        let items: Vec<_> = (0..dice.roll(6)).map(|_| self.any(dice, caller)).collect();
        let items: Vec<_> = items.into_iter().filter(|(org, _)| lies || *org == caller).collect();
        let own = items.iter().filter(|(org, _)| *org == caller).count();
        let objects: Vec<_> = items.into_iter().map(|(_, object)| object).collect();
        Scene { body: value!({ field: objects }), status: 200, own: Some(own) }
    }

    fn created(&self, dice: &mut Dice, caller: usize, field: &str) -> Scene {
        let org = if dice.once_in(4) { dice.roll(3) } else { caller };
        let object = self.object(org, &self.ids[org][dice.roll(OBJECTS)], false);
        Scene { body: value!({ field: object }), status: 200, own: (org == caller).then_some(1) }
    }

    /// Truly: the caller's own is shown and any other is not there. Or any object whatever.
    fn one(&self, dice: &mut Dice, caller: usize, asked: &str, field: &str) -> Scene {
        if dice.once_in(3) {
            let (org, object) = self.any(dice, caller);
            let is_right = org == caller && object["id"] == asked;
            return Scene { body: value!({ field: object }), status: 200, own: is_right.then_some(1) };
        }
        match self.ids[caller].iter().any(|id| id == asked) {
            true => {
                let body = value!({ field: self.object(caller, asked, dice.once_in(4)) });
                Scene { body, status: 200, own: Some(1) }
            }
            false => Scene { body: value!({"code": "not_found", "message": asked}), status: 404, own: None },
        }
    }
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

/// A call of any method about any id, own, foreign or made up, and what upstream makes of it.
fn scene(world: &World, dice: &mut Dice, caller: usize) -> (&'static str, Value, Scene) {
    let made_up = Uuid::new_v4().to_string();
    let org = dice.roll(4);
    let id = world.ids.get(org).map_or(&made_up, |ids| &ids[dice.roll(OBJECTS)]).clone();
    match dice.roll(8) {
        0 => ("ListPrebuilds", value!({}), world.list(dice, caller, "prebuilds")),
        1 => ("ListWarmPools", value!({}), world.list(dice, caller, "warmPools")),
        2 => {
            ("CreatePrebuild", value!({"projectId": id, "spec": {}}), world.created(dice, caller, "prebuild"))
        }
        3 => {
            let request = value!({"projectId": id, "environmentClassId": id, "maxSize": 1});
            ("CreateWarmPool", request, world.created(dice, caller, "warmPool"))
        }
        4 => ("CancelPrebuild", value!({"prebuildId": id}), world.one(dice, caller, &id, "prebuild")),
        5 => ("GetWarmPool", value!({"warmPoolId": id}), world.one(dice, caller, &id, "warmPool")),
        6 => {
            let request = value!({"warmPoolId": id, "minSize": 0, "maxSize": 1});
            ("UpdateWarmPool", request, world.one(dice, caller, &id, "warmPool"))
        }
        _ => ("GetPrebuild", value!({"prebuildId": id}), world.one(dice, caller, &id, "prebuild")),
    }
}

/// All that came, with text framing undone.
fn shown(dialect: Dialect, answered: &Answered) -> String {
    let body = match dialect.0.contains("-text") {
        true => STANDARD.decode(&answered.body).unwrap(),
        false => answered.body.to_vec(),
    };
    format!("{:?} {:?} {}", answered.headers, answered.trailers, String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn no_caller_sees_a_byte_of_another_org() {
    let mut bench = Bench::with(third_org).await;
    let (world, mut dice) = (World::new(), Dice(SEED));
    let (mut seen, mut refused) = (0, 0);
    for call in 0..CALLS {
        let (caller, dialect) = (dice.roll(3), DIALECTS[dice.roll(DIALECTS.len())]);
        let (method, request, scene) = scene(&world, &mut dice, caller);
        bench.upstream.then(Answer::Bytes(json(scene.status, &scene.body)));
        let head = bench
            .raw
            .bare(&format!("/gitpod.v1.PrebuildService/{method}"))
            .header("content-type", dialect.0)
            .header("authorization", format!("Bearer {}", ORGS[caller].1));
        let body = dialect.body(&encoded(dialect, method, &request));
        let answered = bench.raw.call(head, body).await;
        let shown = shown(dialect, &answered);
        for other in (0..3).filter(|other| *other != caller) {
            let foreign = [World::canary(other), world.organizations[other].clone()];
            for text in foreign.iter().chain(&world.ids[other]) {
                assert!(!shown.contains(text), "call {call}, {method}, {dialect:?}: {shown}");
            }
        }
        assert_eq!(
            dialect.read(answered).result.is_ok(),
            scene.own.is_some(),
            "call {call}, {method}: {shown}"
        );
        let own = scene.own.unwrap_or_default();
        assert_eq!(shown.matches(&World::canary(caller)).count(), own, "call {call}, {method}: {shown}");
        seen += own;
        refused += usize::from(scene.own.is_none());
    }
    assert_eq!(bench.upstream.seen().len(), CALLS);
    assert!(seen > CALLS / 4 && refused > CALLS / 8, "{seen} objects, {refused} refusals: no fair mix");
}
