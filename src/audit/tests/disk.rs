//! A log that goes and comes back: refused within 2 s, back within 2 s, and what is missing is told (promise P5).

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout};

use super::{Fixture, PATIENCE, Record, Unavailable, create, end, segment};
use crate::{
    audit::fold::Kind,
    error::{Error, Reason},
};

/// Fails as it must: in time, and not for ever.
async fn refused(fixture: &Fixture) -> Unavailable {
    let begun = Instant::now();
    let refused = fixture.log.intend(&Record::of(&create())).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    refused
}

/// Tries until an intent is taken, for at most 2 s.
async fn heals(fixture: &Fixture) {
    let tries = async {
        while fixture.log.intend(&Record::of(&create())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(2), tries).await.expect("healed in time");
    assert!(fixture.log.is_healthy());
}

/// What the gap records say is missing.
fn missing(fixture: &Fixture) -> u64 {
    let records = fixture.records();
    records.iter().filter(|record| record["stage"] == "gap").map(|gap| gap["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_directory_that_is_removed_refuses_until_it_is_there_again() {
    let fixture = Fixture::new();
    fixture.log.intend(&Record::of(&create())).await.unwrap();
    fs::remove_dir_all(fixture.audit()).unwrap();
    for _ in 0..3 {
        refused(&fixture).await;
        assert!(!fixture.log.is_healthy());
    }
    fs::create_dir(fixture.audit()).unwrap();
    heals(&fixture).await;
    assert_eq!(fixture.stages().last().unwrap(), "intent");
}

/// What an operator, or somebody who hides, does to the file that is written.
type Harm = fn(&Path, &Path);

const HARMS: [(&str, Harm); 8] = [
    ("rm", |file, _| fs::remove_file(file).unwrap()),
    ("mv", |file, elsewhere| fs::rename(file, elsewhere).unwrap()),
    ("mv of the directory", |file, elsewhere| fs::rename(file.parent().unwrap(), elsewhere).unwrap()),
    ("swap", |file, elsewhere| {
        fs::copy(file, elsewhere).unwrap();
        fs::rename(elsewhere, file).unwrap();
    }),
    ("truncate", |file, _| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
    ("chmod", |file, _| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap()),
    ("symlink", |file, elsewhere| {
        fs::rename(file, elsewhere).unwrap();
        symlink(elsewhere, file).unwrap();
    }),
    ("link", |file, elsewhere| fs::hard_link(file, elsewhere).unwrap()),
];

/// Nothing that was not acknowledged in a file that can be found passes; and it goes on in a new file by itself.
#[tokio::test]
async fn a_file_that_is_not_where_it_was_takes_no_intent_with_it() {
    for (harm, do_it) in HARMS {
        let fixture = Fixture::new();
        let elsewhere = fixture.directory.path().join("elsewhere");
        fixture.log.intend(&Record::of(&create())).await.unwrap();
        do_it(&fixture.file(), &elsewhere);
        // Health may have noticed by itself, and gone on.
        let begun = Instant::now();
        let taken = loop {
            let intent = Record::of(&create());
            match fixture.log.intend(&intent).await {
                Ok(()) => break intent,
                Err(_) => assert!(begun.elapsed() < Duration::from_secs(2), "{harm}"),
            }
            tokio::task::yield_now().await;
        };
        let id = taken.request_id().unwrap().to_string();
        assert!(fixture.records().iter().any(|record| record["request_id"] == *id), "{harm}");
        assert!(fixture.log.is_healthy(), "{harm}");
    }
}

#[tokio::test]
async fn the_first_group_after_the_harm_is_refused() {
    for (harm, do_it) in HARMS {
        let fixture = Fixture::new();
        let elsewhere = fixture.directory.path().join("elsewhere");
        // A tick may look first; of some tries one is before it.
        let mut was_refused = false;
        for _ in 0..4 {
            fixture.log.intend(&Record::of(&create())).await.unwrap();
            do_it(&fixture.file(), &elsewhere);
            was_refused |= fixture.log.intend(&Record::of(&create())).await.is_err();
            heals(&fixture).await;
            let _ = fs::remove_dir_all(&elsewhere);
            let _ = fs::remove_file(&elsewhere);
        }
        assert!(was_refused, "{harm}");
    }
}

/// The end of a call that was let through is written in the new file, and whoever waits for it is told.
#[tokio::test]
async fn an_end_outlives_the_file_that_failed() {
    let fixture = Fixture::new();
    let intent = Record::of(&create());
    fixture.log.intend(&intent).await.unwrap();
    fs::remove_dir_all(fixture.audit()).unwrap();
    let outcome = end(&intent);
    let waits = fixture.log.end(&outcome);
    let mends = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::create_dir(fixture.audit()).unwrap();
    };
    let (ended, ()) = tokio::join!(waits, mends);
    assert_eq!(ended, Ok(()));
    assert_eq!(fixture.stages(), ["outcome"]);
}

#[tokio::test]
async fn an_end_that_nobody_waits_for_any_more_is_written_all_the_same() {
    let fixture = Fixture::new();
    let intent = Record::of(&create());
    fixture.log.intend(&intent).await.unwrap();
    fs::remove_dir_all(fixture.audit()).unwrap();
    assert_eq!(fixture.log.end(&end(&intent)).await, Err(Unavailable::Slow));
    fs::create_dir(fixture.audit()).unwrap();
    heals(&fixture).await;
    assert!(fixture.stages().contains(&"outcome".to_owned()), "{:?}", fixture.stages());
}

#[tokio::test]
async fn what_stands_in_the_place_of_the_next_file_is_not_written_to() {
    let fixture = Fixture::new();
    fixture.log.intend(&Record::of(&create())).await.unwrap();
    fs::remove_dir_all(fixture.instance()).unwrap();
    fs::write(fixture.instance(), "").unwrap();
    for _ in 0..3 {
        refused(&fixture).await;
    }
    fs::remove_file(fixture.instance()).unwrap();
    heals(&fixture).await;

    let target = fixture.directory.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::remove_dir_all(fixture.instance()).unwrap();
    symlink(&target, fixture.instance()).unwrap();
    for _ in 0..3 {
        refused(&fixture).await;
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "nothing goes through a link");
    fs::remove_file(fixture.instance()).unwrap();
    heals(&fixture).await;
}

#[tokio::test]
async fn reads_are_told_too_and_count_as_missing() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    assert_eq!(fixture.log.room().await.err(), Some(Unavailable::Write));
    fixture.log.offer(&Record::of(&create()));
    assert!(!fixture.log.probe(PATIENCE).await);
    fs::create_dir(fixture.audit()).unwrap();
    heals(&fixture).await;
    assert_eq!(missing(&fixture), 0, "an intent that is refused is followed by its reject");
    fixture.log.offer(&end(&Record::of(&create())));
    assert!(fixture.log.probe(PATIENCE).await);
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    fixture.log.offer(&end(&Record::of(&create())));
    assert!(!fixture.log.probe(PATIENCE).await);
    fs::create_dir(fixture.audit()).unwrap();
    heals(&fixture).await;
    // What was offered before the directory went, and behind.
    assert!((1..=2).contains(&missing(&fixture)), "{}", missing(&fixture));
}

/// What an aggregate would have stood for is not lost, whether it is told to a disk that is gone or later.
#[tokio::test]
async fn refusals_that_are_counted_outlive_a_disk_that_is_gone() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    // Long enough ago to be told at the next tick.
    let past = SystemTime::now() - Duration::from_secs(60);
    let refuse = |number: u32| {
        for _ in 0..number {
            let (context, error) = (create().context, Error::refuse(Reason::Unauthenticated));
            let kind = Kind::of(&context, &error, None);
            let first = fixture.log.fold().admit(kind, past, || Record::refused(&context, &error));
            first.into_iter().for_each(|record| fixture.log.offer(&record));
        }
    };
    refuse(1_000);
    tokio::time::sleep(Duration::from_millis(600)).await;
    refuse(1_000);
    fs::create_dir(fixture.audit()).unwrap();
    heals(&fixture).await;
    refuse(1_000);
    fixture.log.close().await;
    let records = fixture.records();
    let told = |stage| {
        let told = records.iter().filter(move |record| record["stage"] == stage);
        told.map(|record| record["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    assert_eq!((told("gap"), told("reject") + told("aggregate")), (1, 2_999));
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_disk_that_is_gone() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    timeout(Duration::from_secs(2), fixture.log.close()).await.expect("ended in time");
}

#[tokio::test]
async fn a_probe_finds_out_without_a_record() {
    let fixture = Fixture::new();
    assert!(fixture.log.probe(PATIENCE).await);
    fs::remove_dir_all(fixture.audit()).unwrap();
    assert!(!fixture.log.probe(PATIENCE).await);
    assert!(!fixture.log.is_healthy());
    fs::create_dir(fixture.audit()).unwrap();
    timeout(Duration::from_secs(2), async { while !fixture.log.probe(PATIENCE).await {} }).await.unwrap();
    assert!(fixture.log.is_healthy());
    assert!(fixture.records().is_empty(), "a probe leaves nothing, and nothing is missing");
    fixture.log.close().await;
    assert!(!fixture.log.probe(PATIENCE).await, "the writer has ended");
}

/// Within half a second, also where no call comes.
#[tokio::test]
async fn a_file_that_goes_while_nothing_comes_is_noticed() {
    let fixture = Fixture::new();
    let first = fixture.file();
    fs::remove_file(&first).unwrap();
    let noticed = async {
        while segment::list(&fixture.instance()).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(1), noticed).await.expect("noticed in time");
    assert_ne!(fixture.file(), first);
}
