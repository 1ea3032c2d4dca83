//! Rules tried on ordinary calls: one that cannot even be told there would refuse every call that it concerns.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use super::{Question, Rules};
use crate::{
    call::{Identity, Scopes},
    rpc::{self, Facts, Filter, Object, Sizes, Timeout},
    rule::{Draw, RuleId},
};

const ID: &str = "00000000-0000-4000-8000-000000000000";

/// By rule, a method and what Cedar says of it.
pub(super) fn failing(rules: &Rules) -> BTreeMap<RuleId, (&'static str, String)> {
    let identity = Identity {
        subject: "subject".into(),
        org: "org".into(),
        credential: "credential".into(),
        scopes: Scopes::all(),
        passed: None,
    };
    let mut failing = BTreeMap::new();
    for (method, facts) in rpc::methods().flat_map(|method| [(method, fewest()), (method, most())]) {
        let question = Question {
            identity: &identity,
            method,
            facts: &facts,
            draw: Draw::new(0),
            now: SystemTime::UNIX_EPOCH,
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            protocol: "grpc",
        };
        for (rule, error) in rules.errors(&question) {
            failing.entry(rule).or_insert((method.name, error));
        }
    }
    failing
}

/// What every valid call has.
fn fewest() -> Facts {
    let id = || Some(ID.to_owned());
    let sizes = Sizes { desired: Some(1), ..Sizes::default() };
    let object = Object {
        id: ID.to_owned(),
        project: ID.to_owned(),
        class: ID.to_owned(),
        sizes,
        ..Object::default()
    };
    Facts {
        project: id(),
        class: id(),
        prebuild: id(),
        pool: id(),
        resource: Some(object),
        ..Facts::default()
    }
}

fn most() -> Facts {
    let sizes = Sizes { desired: Some(2), min: Some(1), max: Some(3) };
    let ids = || vec![ID.to_owned()];
    Facts {
        timeout: Some(Timeout { seconds: 300, nanos: 0 }),
        sizes,
        page_size: Some(10),
        filter: Filter {
            projects: ids(),
            classes: ids(),
            creators: ids(),
            executors: ids(),
            phases: vec![10],
            triggers: vec![1],
        },
        ..fewest()
    }
}
