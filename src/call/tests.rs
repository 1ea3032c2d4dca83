//! Calls for the tests of every room, and what a call promises by itself.

use std::time::{Duration, Instant};

use http::{Extensions, HeaderMap};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{
    Call, Context, Deadline, Identity, Line, Mismatch, MismatchKind, Recorder, Reply, RequestId, Scopes,
    SubjectId,
};
use crate::{
    rpc::{MethodSpec, Seen},
    rule::Bound,
};

/// A call of acme's with a minute left.
pub(crate) fn call(method: &'static MethodSpec, request: &impl Message) -> Call {
    let (request, facts) = method.decode(&request.encode_to_vec()).unwrap();
    let identity = Identity {
        subject: "ci".into(),
        org: "acme".into(),
        credential: "ci-1".into(),
        scopes: Scopes::all(),
        passed: None,
    };
    let context = Context::new(RequestId::new(), Instant::now(), None);
    context.set_method(method);
    context.set_identity(identity.clone());
    Call {
        method,
        context,
        identity,
        facts,
        request,
        deadline: Deadline::at(Instant::now() + Duration::from_secs(60)),
        metadata: HeaderMap::new(),
        gone: CancellationToken::new(),
        place: None,
        bound: Bound::default(),
        left: Extensions::new(),
    }
}

/// An empty reply.
pub(crate) fn reply() -> Reply {
    Reply {
        json: "{}".into(),
        wire: "".into(),
        seen: Seen::default(),
        drift: Vec::new(),
        metadata: HeaderMap::new(),
        trailers: HeaderMap::new(),
        line: Line::default(),
    }
}

#[test]
fn the_first_to_claim_the_record_has_it() {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    let clone = context.clone();
    assert!(!context.is_call());
    assert!(context.claim(Recorder::CallPlane) && clone.claim(Recorder::CallPlane));
    assert!(!clone.claim(Recorder::WirePlane));
    assert!(context.is_call());
}

#[test]
fn a_cell_keeps_what_it_was_given_first() {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    assert_eq!((context.trace_id(), context.protocol()), (None, None));
    context.set_trace_id("a".to_owned());
    context.set_trace_id("b".to_owned());
    assert_eq!(context.trace_id(), Some("a"));
}

#[test]
fn a_configured_subject_is_one_word_and_an_issuers_may_be_several() {
    let longest = "x".repeat(255);
    for (subject, is_plain, is_printable) in [
        ("ci@example.com", true, true),
        (&longest, true, true),
        ("two words", false, true),
        (" ci", false, false),
        ("ci ", false, false),
        ("", false, false),
        ("line\nbreak", false, false),
        (&format!("{longest}x"), false, false),
    ] {
        let subject = SubjectId::from(subject);
        assert_eq!((subject.is_plain(), subject.is_printable()), (is_plain, is_printable), "{subject:?}");
    }
}

#[test]
fn mismatches_add_up_to_the_gravest() {
    let context = Context::new(RequestId::new(), Instant::now(), None);
    assert_eq!(context.mismatch(), None);
    for (kind, objects) in
        [(MismatchKind::Project, 2), (MismatchKind::Organization, 1), (MismatchKind::Id, 1)]
    {
        context.add_mismatch(Mismatch { kind, objects });
    }
    assert_eq!(context.mismatch(), Some(Mismatch { kind: MismatchKind::Organization, objects: 4 }));
}

#[test]
fn a_deadline_that_has_passed_leaves_no_time() {
    let now = Instant::now();
    assert_eq!(Deadline::at(now).remaining(), None);
    assert!(Deadline::at(now + Duration::from_secs(60)).remaining() > Some(Duration::from_secs(50)));
}
