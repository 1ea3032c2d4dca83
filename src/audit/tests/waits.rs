//! Reads while the disk hangs or is gone: they wait for room in the queue and for nothing else, and none is answered
//! that the log does not take.

use std::{task::Poll, time::Duration};

use futures_util::poll;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Fixture, get, stages::through};
use crate::{
    audit::log::{Entry, tests::stalled},
    call::tests::reply,
    error::{Reason, Sent},
};

const SOON: Duration = Duration::from_millis(1);

/// A log that nobody writes, and what waits in it.
fn hung() -> (Fixture, mpsc::Receiver<Entry>) {
    let (log, entries) = stalled();
    (Fixture { directory: TempDir::new().unwrap(), log }, entries)
}

/// What is told at last; all before it only fills the queue.
fn last(entries: &mut mpsc::Receiver<Entry>) -> String {
    let mut last = String::new();
    while let Ok(Entry::Record(waiting)) = entries.try_recv() {
        last = String::from_utf8(waiting.draft.tail).unwrap();
    }
    last
}

#[tokio::test]
async fn a_read_waits_for_room_and_is_told() {
    let (fixture, mut entries) = hung();
    fixture.log.stuff();
    let mut read = Box::pin(through(&fixture, get("p".to_owned()), |_| async { Ok(reply()) }));
    assert!(poll!(&mut read).is_pending(), "there is no room");
    entries.try_recv().unwrap();
    assert!(matches!(poll!(&mut read), Poll::Ready(Ok(_))));
    assert_eq!(fixture.log.missed(), 0);
    assert!(last(&mut entries).contains(r#""forwarded":"yes","client":"there""#));
}

#[tokio::test]
async fn a_read_whose_caller_leaves_while_it_waits_is_told() {
    for (is_room, missed) in [(true, 0), (false, 1)] {
        let (fixture, mut entries) = hung();
        fixture.log.stuff();
        let mut read = Box::pin(through(&fixture, get("p".to_owned()), |_| async { Ok(reply()) }));
        assert!(poll!(&mut read).is_pending(), "there is no room");
        if is_room {
            entries.try_recv().unwrap();
        }
        drop(read);
        assert_eq!(fixture.log.missed(), missed);
        assert_eq!(last(&mut entries).contains(r#""forwarded":"yes","client":"gone""#), is_room);
    }
}

#[tokio::test]
async fn no_read_goes_upstream_that_could_not_be_answered() {
    let (fixture, mut entries) = hung();
    assert!(!fixture.log.probe(SOON).await);
    entries.try_recv().unwrap();
    let never = |_| async { panic!("it went upstream") };
    let error = through(&fixture, get("p".to_owned()), never).await.unwrap_err();
    assert_eq!((error.reason, error.sent), (Some(Reason::AuditUnavailable), Sent::No));
    let told = last(&mut entries);
    assert!(told.starts_with(r#""stage":"reject""#) && told.contains(r#""forwarded":"no""#), "{told}");
}

/// It was forwarded, and it is not said that it was answered.
#[tokio::test]
async fn a_read_during_which_the_disk_goes_is_not_answered() {
    let (fixture, mut entries) = hung();
    let log = fixture.log.clone();
    let goes = move |_| {
        let log = log.clone();
        async move {
            assert!(!log.probe(SOON).await);
            Ok(reply())
        }
    };
    let error = through(&fixture, get("p".to_owned()), goes).await.unwrap_err();
    assert_eq!((error.reason, error.sent), (Some(Reason::OutcomeNotRecorded), Sent::Yes));
    entries.try_recv().unwrap();
    let told = last(&mut entries);
    assert!(told.starts_with(r#""stage":"outcome""#) && told.contains(r#""forwarded":"yes""#), "{told}");
    assert!(told.contains(r#""error":"OUTCOME_NOT_RECORDED""#), "{told}");
}
