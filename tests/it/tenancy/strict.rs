//! Two orgs that share an upstream organization and a credential: projects part them.

use super::*;
use crate::harness::{GLOBEX_KEY, sharing};

pub(super) const PROJECT: &str = "0198c0de-0000-7000-8000-0000000000a1";
/// globex has it.
const THEIRS: &str = "0198c0de-0000-7000-8000-0000000000b1";
const CLASS: &str = "0198c0de-0000-7000-8000-0000000000c1";
/// Nobody has it.
const NONE: &str = "0198c0de-0000-7000-8000-0000000000d1";

/// Calls about one object, with the read that shows it and the member that it is in.
const ABOUT_ONE: [(&str, &str, &str); 7] = [
    ("GetPrebuild", "GetPrebuild", "prebuild"),
    ("CancelPrebuild", "GetPrebuild", "prebuild"),
    ("DeletePrebuild", "GetPrebuild", "prebuild"),
    ("CreatePrebuildLogsToken", "GetPrebuild", "prebuild"),
    ("GetWarmPool", "GetWarmPool", "warmPool"),
    ("UpdateWarmPool", "GetWarmPool", "warmPool"),
    ("DeleteWarmPool", "GetWarmPool", "warmPool"),
];

/// Codes that say something of the object.
const FINAL: [(u16, &str); 7] = [
    (403, "permission_denied"),
    (400, "failed_precondition"),
    (400, "invalid_argument"),
    (409, "already_exists"),
    (409, "aborted"),
    (400, "out_of_range"),
    (501, "unimplemented"),
];

async fn start() -> Bench {
    Bench::with(|config| {
        sharing(config, &[vec![PROJECT.to_owned()], vec![THEIRS.to_owned()]]);
        config.orgs[0].environment_classes = vec![CLASS.to_owned()];
    })
    .await
}

/// As upstream may refuse a call, in words about others.
fn refuses(status: u16, code: &str) -> Answer {
    let info = STANDARD_NO_PAD.encode(CANARY);
    let body = value!({
        "code": code,
        "message": format!("no, because of {CANARY} in {THEIRS}"),
        "details": [{"type": "google.rpc.DebugInfo", "value": info}],
    });
    let headers = format!("content-type: application/json\r\nx-shelf: {CANARY}\r\nretry-after: 9\r\n");
    Answer::Bytes(http(status, &headers, &body.to_string()))
}

fn object(id: &str, organization: &str, project: &str) -> Value {
    value!({
        "id": id,
        "metadata": {"organizationId": organization, "projectId": project},
        "status": {"failureMessage": CANARY},
    })
}

impl Bench {
    async fn call_of(&mut self, key: &str, dialect: Dialect, method: &str, json: &Value) -> Answered {
        let request = dialect.request_of(key, &self.raw, method);
        self.raw.call(request, dialect.body(&encoded(dialect, method, json))).await
    }

    /// The last segments of the paths that upstream was asked since.
    fn asked(&self, since: usize) -> Vec<String> {
        let seen = self.upstream.seen().split_off(since);
        let last = |target: &str| target.rsplit('/').next().unwrap_or_default().to_owned();
        seen.iter().map(|seen| last(&seen.target)).collect()
    }
}

/// Foreign, without a project, without an organization, another organization's, and each more than once, as nothing of
/// it may be remembered.
#[tokio::test]
async fn foreign_and_absent_cost_one_look_up_and_are_the_same_to_the_byte() {
    let mut bench = start().await;
    for (method, read, field) in ABOUT_ONE {
        for dialect in DIALECTS {
            let absent = bytes_of(bench.call(dialect, method, absent()).await);
            for (organization, project) in [
                (ours(), THEIRS),
                (ours(), NONE),
                (ours(), ""),
                (String::new(), PROJECT),
                (theirs(), PROJECT),
            ] {
                for _ in 0..2 {
                    let before = bench.upstream.seen().len();
                    let shown = shows(field, &object(ID, &organization, project));
                    let foreign = bytes_of(bench.call(dialect, method, shown).await);
                    assert_eq!(foreign, absent, "{method} {dialect:?} {organization} {project}");
                    assert!(!foreign.contains(CANARY), "{foreign}");
                    assert_eq!(bench.asked(before), [read], "{method}");
                }
            }
        }
    }
    assert!(bench.mismatches("GetPrebuild", "project").await > 0);
    assert!(bench.mismatches("GetPrebuild", "organization").await > 0);
    let log = format!("{:?}", bench.gateway.end().await);
    assert!(!log.contains(CANARY) && !log.contains(THEIRS) && !log.contains(&theirs()));
}

#[tokio::test]
async fn an_own_object_is_looked_up_once_and_by_nobody_elses_knowledge() {
    for (method, read, field) in ABOUT_ONE {
        let mut bench = start().await;
        let own = || shows(field, &object(ID, &ours(), PROJECT));
        let is_read = method == read;
        let shows_it = is_read || matches!(method, "CancelPrebuild" | "UpdateWarmPool");
        let answer = || if shows_it { own() } else { Answer::Bytes(json(200, &value!({}))) };
        let mut asked = vec![read, method];
        asked.dedup();
        bench.upstream.then(own());
        if !is_read {
            bench.upstream.then(answer());
        }
        let id = if field == "prebuild" { "prebuildId" } else { "warmPoolId" };
        let message = |spelt: &str| match method {
            "UpdateWarmPool" => value!({"warmPoolId": spelt, "minSize": 1, "maxSize": 2}),
            _ => value!({ id: spelt }),
        };
        assert!(JSON.read(bench.call_of(ACME_KEY, JSON, method, &message(ID)).await).result.is_ok());
        assert_eq!(bench.asked(0), asked);
        bench.upstream.then(answer());
        let capitals = message(&ID.to_ascii_uppercase());
        assert!(JSON.read(bench.call_of(ACME_KEY, JSON, method, &capitals).await).result.is_ok());
        asked.push(method);
        assert_eq!(bench.asked(0), asked, "a second one needs no look-up");
        bench.upstream.then(own());
        let theirs = JSON.read(bench.call_of(GLOBEX_KEY, JSON, method, &message(ID)).await);
        assert_eq!(theirs.result.unwrap_err().reason.as_deref(), Some("NOT_FOUND"), "{method}");
        asked.push(read);
        assert_eq!(bench.asked(0), asked, "what one org has is not known to another");
        let audited = bench.gateway.end().await;
        let resource = |record: &Value| record["facts"]["resource"]["project"].clone();
        if !is_read {
            let mut intents = audited.0.iter().filter(|record| record["stage"] == "intent");
            assert!(intents.all(|record| resource(record) == PROJECT), "{audited:?}");
            assert_eq!(audited.0[0]["attempts"], value!([{"kind": "lookup", "object": ID}]));
        }
    }
}

/// The present bounds change, whoever's the pool is.
#[tokio::test]
async fn an_update_of_one_bound_looks_its_pool_up_each_time() {
    let mut bench = start().await;
    let pool = |min: i32| {
        let mut pool = object(ID, &ours(), PROJECT);
        pool["spec"] = value!({"minSize": min, "maxSize": 9});
        shows("warmPool", &pool)
    };
    let update = value!({"warmPoolId": ID, "maxSize": 3});
    for (min, is_good) in [(2, true), (4, false), (3, true)] {
        let before = bench.upstream.seen().len();
        bench.upstream.then(pool(min));
        if is_good {
            bench.upstream.then(pool(min));
        }
        let spoken = GRPC.read(bench.call_of(ACME_KEY, GRPC, "UpdateWarmPool", &update).await);
        assert_eq!(spoken.result.is_ok(), is_good, "{min} {spoken:?}");
        let asked = bench.asked(before);
        assert_eq!(asked, ["GetWarmPool", "UpdateWarmPool"][..1 + usize::from(is_good)]);
    }
    // One size that sets both is none against what they were.
    bench.upstream.then(pool(3));
    let desired = value!({"warmPoolId": ID, "desiredSize": 1});
    assert!(GRPC.read(bench.call_of(ACME_KEY, GRPC, "UpdateWarmPool", &desired).await).result.is_ok());
}

#[tokio::test]
async fn a_creation_names_only_what_is_the_orgs_own() {
    let mut bench = start().await;
    for dialect in DIALECTS {
        let prebuild = |project: &str, class: Option<&str>| value!({"projectId": project, "environmentClassId": class, "spec": {}});
        let pool = |project: &str, class: &str| value!({"projectId": project, "environmentClassId": class, "maxSize": 1});
        bench.upstream.then(absent());
        let gone = bench.call_of(ACME_KEY, dialect, "CreatePrebuild", &prebuild(PROJECT, Some(CLASS))).await;
        let gone = bytes_of(gone);
        let before = bench.upstream.seen().len();
        for request in [
            prebuild(THEIRS, None),
            prebuild(NONE, None),
            prebuild(THEIRS, Some(CLASS)),
            prebuild(PROJECT, Some(NONE)),
        ] {
            let refused = bench.call_of(ACME_KEY, dialect, "CreatePrebuild", &request).await;
            assert_eq!(bytes_of(refused), gone, "{dialect:?} {request}");
        }
        for request in [pool(THEIRS, CLASS), pool(PROJECT, NONE), pool(NONE, NONE)] {
            let refused = bench.call_of(ACME_KEY, dialect, "CreateWarmPool", &request).await;
            assert_eq!(bytes_of(refused), gone, "{dialect:?} {request}");
        }
        // An org with no classes of its own.
        let refused = bench.call_of(GLOBEX_KEY, dialect, "CreateWarmPool", &pool(THEIRS, CLASS)).await;
        assert_eq!(bytes_of(refused), gone);
        assert_eq!(bench.upstream.seen().len(), before, "nothing is forwarded");
        for (method, request, field) in [
            ("CreatePrebuild", prebuild(PROJECT, None), "prebuild"),
            ("CreatePrebuild", prebuild(&PROJECT.to_ascii_uppercase(), Some(CLASS)), "prebuild"),
            ("CreateWarmPool", pool(PROJECT, &CLASS.to_ascii_uppercase()), "warmPool"),
        ] {
            bench.upstream.then(shows(field, &object(ID, &ours(), PROJECT)));
            let made = dialect.read(bench.call_of(ACME_KEY, dialect, method, &request).await);
            assert!(made.result.is_ok(), "{method} {dialect:?}");
        }
    }
    let audited = bench.gateway.end().await;
    // And each of them one that upstream itself did not find.
    assert_eq!(audited.number_of("NOT_FOUND"), 9 * DIALECTS.len() as u64);
    let forwarded = audited.0.iter().filter(|record| record["end"]["reason"] == "NOT_FOUND");
    let forwarded = forwarded.filter(|record| record["end"]["forwarded"] != "no");
    assert_eq!(forwarded.count(), DIALECTS.len());
}

#[tokio::test]
async fn what_was_made_for_another_project_is_told_as_executed_and_not_shown() {
    let mut bench = start().await;
    let request = value!({"projectId": PROJECT, "spec": {}});
    for project in [THEIRS, ""] {
        bench.upstream.then(shows("prebuild", &object(ID, &ours(), project)));
        let answered = bench.call_of(ACME_KEY, GRPC, "CreatePrebuild", &request).await;
        assert!(!format!("{answered:?}").contains(CANARY));
        let wrong = GRPC.read(answered).result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (13, Some("UPSTREAM_TENANCY")));
    }
    assert_eq!(bench.mismatches("CreatePrebuild", "project").await, 2);
    let audited = bench.gateway.end().await;
    let kinds: Vec<_> = audited.0.iter().map(|record| record["end"]["mismatch"]["kind"].as_str()).collect();
    assert_eq!(kinds, [None, Some("project"), None, Some("project")]);
}

#[tokio::test]
async fn a_look_up_that_shows_another_object_forwards_nothing() {
    let mut bench = start().await;
    for (method, read, field) in ABOUT_ONE {
        let before = bench.upstream.seen().len();
        let answer = shows(field, &object(OTHER, &ours(), PROJECT));
        let wrong = bench.told(GRPC, method, answer).await.result.unwrap_err();
        assert_eq!((wrong.code, wrong.reason.as_deref()), (13, Some("UPSTREAM_TENANCY")), "{method}");
        assert_eq!(bench.asked(before), [read]);
    }
}

/// A caller that has another org's id must not learn from the time of its next call that there is something to it.
#[tokio::test]
async fn the_connection_stays_where_upstream_is_at_no_fault() {
    let mut bench = start().await;
    let shown = |id: &str, project: &str| shows("prebuild", &object(id, &ours(), project));
    for answer in [shown(ID, THEIRS), absent(), shown(ID, PROJECT)] {
        bench.call(GRPC, "GetPrebuild", answer).await;
    }
    // What says less than it must is nobody's, and no more to be seen from outside.
    let silent = object(ID, "", THEIRS);
    for object in [&silent, &object(ID, "", PROJECT), &object(ID, &ours(), "")] {
        bench.call(GRPC, "GetPrebuild", shows("prebuild", object)).await;
    }
    // What was looked up before and is now another's, and what was not asked for.
    bench.call(GRPC, "CancelPrebuild", shown(ID, THEIRS)).await;
    bench.call(GRPC, "GetPrebuild", shown(OTHER, THEIRS)).await;
    bench.call(GRPC, "GetPrebuild", shows("prebuild", &object(ID, &theirs(), PROJECT))).await;
    bench.call(GRPC, "GetPrebuild", shown(ID, PROJECT)).await;
    let seen = bench.upstream.seen();
    let is_same: Vec<_> = seen.windows(2).map(|two| two[0].connection == two[1].connection).collect();
    assert_eq!(is_same, [true, true, true, true, true, true, false, false, false]);
    assert_eq!(bench.asked(0)[6], "CancelPrebuild");
}

/// Upstream may have its own way to say that an object is somebody else's.
#[tokio::test]
async fn a_read_that_upstream_refuses_finds_nothing() {
    let mut bench = start().await;
    for (method, read, _) in ABOUT_ONE {
        for dialect in DIALECTS {
            let absent = bytes_of(bench.call(dialect, method, absent()).await);
            for (status, code) in FINAL {
                let before = bench.upstream.seen().len();
                let refused = bytes_of(bench.call(dialect, method, refuses(status, code)).await);
                assert_eq!(refused, absent, "{method} {dialect:?} {code}");
                assert_eq!(bench.asked(before), [read]);
            }
        }
    }
    let hidden = |code: &str| {
        format!(r#"prebuild_gateway_upstream_refusals_hidden_total{{method="GetPrebuild",code="{code}"}}"#)
    };
    let times = 4 * DIALECTS.len() as u64;
    assert_eq!(bench.gateway.counted(&hidden("PERMISSION_DENIED")).await, times);
    assert!(!bench.gateway.metrics().await.contains(&hidden("NOT_FOUND")), "that is none");
}

/// What upstream says of itself is passed on, but not in its words.
#[tokio::test]
async fn words_about_others_are_withheld() {
    let mut bench = start().await;
    let own = || shows("prebuild", &object(ID, &ours(), PROJECT));
    let create = value!({"projectId": PROJECT, "spec": {}});
    let get = value!({ "prebuildId": ID });
    for dialect in DIALECTS {
        for (method, request, status, code, number) in [
            ("GetPrebuild", &get, 503, "unavailable", 14),
            ("GetPrebuild", &get, 429, "resource_exhausted", 8),
            ("DeletePrebuild", &get, 500, "internal", 13),
            ("ListPrebuilds", &value!({}), 403, "permission_denied", 7),
            ("ListPrebuilds", &value!({}), 404, "not_found", 5),
            ("CreatePrebuild", &create, 429, "resource_exhausted", 8),
            ("CreatePrebuild", &create, 409, "already_exists", 6),
            ("CreatePrebuild", &create, 400, "failed_precondition", 9),
        ] {
            bench.upstream.then(refuses(status, code));
            let answered = bench.call_of(ACME_KEY, dialect, method, request).await;
            let open = bytes_of(answered.clone());
            assert!(!open.contains(CANARY) && !open.contains(THEIRS), "{method} {dialect:?}: {open}");
            assert!(open.contains("9000") || open.contains("retry-after: 9"), "{method} {dialect:?}: {open}");
            let wrong = dialect.read(answered).result.unwrap_err();
            assert_eq!(wrong.code, number, "{method} {code}");
            assert_eq!(wrong.details, ["type.googleapis.com/google.rpc.RetryInfo"]);
            assert_eq!(wrong.message, "upstream refused the call; its words are withheld");
        }
    }
    // Of the org's own object upstream may say what it likes, except that there is none.
    bench.upstream.then(own());
    let cancel = bench.told(GRPC, "CancelPrebuild", refuses(400, "failed_precondition")).await;
    assert_eq!(cancel.result.unwrap_err().message, format!("no, because of {CANARY} in {THEIRS}"));
    let gone = bytes_of(bench.call(GRPC, "CancelPrebuild", absent()).await);
    assert!(gone.contains("NOT_FOUND") && !gone.contains("GONE"), "{gone}");
}

/// Nobody can judge what the schema does not know.
#[tokio::test]
async fn json_callers_get_nothing_that_the_schema_does_not_know() {
    let mut bench = start().await;
    let plain =
        |body: Value| Answer::Bytes(http(200, "content-type: application/json\r\n", &body.to_string()));
    let mut own = object(ID, &ours(), PROJECT);
    own["status"] = value!({"phase": CANARY, "failureMessage": "own", "near": [CANARY]});
    own["spec"] = value!({ "neighbour": CANARY });
    for (method, body) in [
        ("GetPrebuild", value!({"prebuild": own, "Prebuild": object(ID, &ours(), THEIRS)})),
        ("CancelPrebuild", value!({"prebuild": own, "next": CANARY})),
        ("DeletePrebuild", value!({ "freed": CANARY })),
        ("ListPrebuilds", value!({"prebuilds": [own], "pagination": {"last": CANARY}})),
        ("ListPrebuilds", value!({ "total": CANARY })),
    ] {
        for dialect in DIALECTS {
            let answered = bench.call(dialect, method, plain(body.clone())).await;
            assert!(!bytes_of(answered.clone()).contains(CANARY), "{method} {dialect:?}");
            let shown = dialect.read(answered).result.unwrap();
            let is_own = String::from_utf8_lossy(&shown).contains("own");
            assert_eq!(is_own, body.to_string().contains(PROJECT), "{method} {dialect:?}");
        }
    }
}
