//! What is written into a request, and that nothing that its caller said is changed.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use uuid::Uuid;

use super::write;
use crate::{
    call::{Call, tests::call},
    policy::applied::{Defaults, Limits},
    proto::gitpod::v1::{
        CreatePrebuildRequest, CreateWarmPoolRequest, GetPrebuildRequest, ListPrebuildsRequest,
        ListWarmPoolsRequest, PaginationRequest, PrebuildSpec, list_prebuilds_request,
    },
    rpc::{
        CREATE_PREBUILD, CREATE_WARM_POOL, GET_PREBUILD, LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec, Timeout,
    },
    rule::{Applied, Mode},
};

const PROJECT: Uuid = Uuid::from_u128(1);
const CLASS: Uuid = Uuid::from_u128(2);
const OTHER: Uuid = Uuid::from_u128(3);

fn limits(max_page_size: i32, mode: Mode) -> Limits {
    Limits {
        max_page_size: vec![Applied {
            rule: "limits.max_page_size".into(),
            mode,
            candidate: false,
            value: max_page_size,
            link: None,
        }],
        defaults: Defaults {
            timeout: Some(Duration::new(2700, 5)),
            environment_classes: Arc::new([(PROJECT, CLASS)].into()),
        },
        ..Limits::default()
    }
}

fn written(method: &'static MethodSpec, request: &impl prost::Message, limits: &Limits) -> Call {
    let mut call = call(method, request);
    write(&mut call, limits).unwrap();
    // What goes upstream says what was judged.
    let (canonical, facts) = method.decode(&call.request).unwrap();
    assert_eq!(canonical, call.request);
    assert_eq!(crate::rpc::Facts { written: call.facts.written.clone(), ..facts }, call.facts);
    call
}

fn create(project: Uuid, class: Option<&str>, spec: Option<PrebuildSpec>) -> CreatePrebuildRequest {
    let environment_class_id = class.map(str::to_owned);
    CreatePrebuildRequest { project_id: project.to_string(), environment_class_id, spec }
}

fn lasting(seconds: i64) -> Option<PrebuildSpec> {
    let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
    Some(PrebuildSpec { timeout, spec_version: 7, ..PrebuildSpec::default() })
}

#[test]
fn what_a_creation_does_not_say_is_written() {
    let limits = limits(100, Mode::Enforce);
    let spec = PrebuildSpec { spec_version: 7, ..PrebuildSpec::default() };
    let call = written(&CREATE_PREBUILD, &create(PROJECT, None, Some(spec)), &limits);
    let sent = CreatePrebuildRequest::decode(&call.request[..]).unwrap();
    let timeout = Some(prost_types::Duration { seconds: 2700, nanos: 5 });
    let spec = Some(PrebuildSpec { spec_version: 7, timeout, ..PrebuildSpec::default() });
    assert_eq!(sent, create(PROJECT, Some(&CLASS.to_string()), spec));
    assert_eq!(call.facts.timeout, Some(Timeout { seconds: 2700, nanos: 5 }));
    assert_eq!(call.facts.class, Some(CLASS.to_string()));
    assert_eq!(call.facts.written, ["environment_class_id", "spec.timeout"].into());
    let half = written(&CREATE_PREBUILD, &create(OTHER, None, Some(PrebuildSpec::default())), &limits);
    assert_eq!(
        (half.facts.class, half.facts.written),
        (None, ["spec.timeout"].into()),
        "no default is known"
    );
}

#[test]
fn what_is_said_or_wrong_stays() {
    let limits = limits(10, Mode::Enforce);
    let said = CLASS.to_string();
    for request in [
        create(PROJECT, Some(&said), lasting(60)),
        // Said, and wrong.
        create(PROJECT, Some(""), lasting(0)),
        create(PROJECT, Some(&OTHER.to_string()), lasting(-1)),
        // Wrong without a spec: none is made up.
        create(PROJECT, None, None),
    ] {
        let call = written(&CREATE_PREBUILD, &request, &limits);
        assert_eq!(call.request, request.encode_to_vec());
        assert!(call.facts.written.is_empty());
    }
    let request = GetPrebuildRequest { prebuild_id: PROJECT.to_string() };
    assert_eq!(written(&GET_PREBUILD, &request, &limits).request, request.encode_to_vec());
    let request = CreateWarmPoolRequest { project_id: PROJECT.to_string(), ..Default::default() };
    let call = written(&CREATE_WARM_POOL, &request, &limits);
    assert_eq!((call.facts.class, call.request), (None, request.encode_to_vec().into()), "it is required");
}

#[test]
fn a_page_size_is_written_where_the_default_would_be_too_much() {
    let filter =
        list_prebuilds_request::Filter { project_ids: vec![PROJECT.to_string()], ..Default::default() };
    let list = |page: Option<(i32, &str)>| ListPrebuildsRequest {
        pagination: page.map(|(page_size, token)| PaginationRequest { page_size, token: token.to_owned() }),
        filter: Some(filter.clone()),
    };
    for (page, max, mode, expected) in [
        (None, 24, Mode::Enforce, Some(24)),
        (Some((0, "t")), 24, Mode::Enforce, Some(24)),
        (Some((25, "t")), 24, Mode::Enforce, None),
        (None, 25, Mode::Enforce, None),
        (None, 24, Mode::Warn, None),
        (None, 24, Mode::Audit, None),
    ] {
        let call = written(&LIST_PREBUILDS, &list(page), &limits(max, mode));
        match expected {
            Some(size) => {
                let token = page.map_or("", |(_, token)| token);
                assert_eq!(call.request, list(Some((size, token))).encode_to_vec());
                assert_eq!(
                    (call.facts.page_size, call.facts.written),
                    (Some(size), ["pagination.page_size"].into())
                );
                assert_eq!(call.facts.filter.projects, [PROJECT.to_string()]);
            }
            None => assert_eq!(call.request, list(page).encode_to_vec()),
        }
    }
    let pools = written(&LIST_WARM_POOLS, &ListWarmPoolsRequest::default(), &limits(5, Mode::Enforce));
    assert_eq!(pools.facts.page_size, Some(5));
}
