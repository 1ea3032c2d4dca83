//! A disk that goes and comes back: refused within 2 s, back within 2 s, and the gap is told (promise P5).

use std::{fs, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Fixture, PATIENCE, Record, Unavailable, create};

/// Fails as it must: in time, and not for ever.
async fn refused(fixture: &Fixture) -> Unavailable {
    let begun = Instant::now();
    let refused = fixture.log.append(Record::of(&create()), PATIENCE).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(!fixture.log.is_healthy());
    refused
}

/// Tries until a record is taken, for at most 2 s. How many were refused on the way.
async fn heals(fixture: &Fixture) -> u64 {
    let tries = async {
        let mut refused = 0;
        // Each try waits for the writer; the loop ends with the timeout below.
        while fixture.log.append(Record::of(&create()), PATIENCE).await.is_err() {
            refused += 1;
        }
        refused
    };
    let refused = timeout(Duration::from_secs(2), tries).await.expect("healed in time");
    assert!(fixture.log.is_healthy());
    refused
}

/// What the gap records say is missing.
fn missing(fixture: &Fixture) -> u64 {
    let records = fixture.records();
    records.iter().filter(|record| record["stage"] == "gap").map(|gap| gap["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_directory_that_is_removed_refuses_until_it_is_there_again() {
    let fixture = Fixture::new();
    fixture.log.append(Record::of(&create()), PATIENCE).await.unwrap();
    fs::remove_dir_all(fixture.audit()).unwrap();
    for _ in 0..3 {
        assert_eq!(refused(&fixture).await, Unavailable::Write);
    }
    fs::create_dir(fixture.audit()).unwrap();
    let more = heals(&fixture).await;
    assert_eq!(missing(&fixture), 3 + more);
    assert_eq!(fixture.stages(), ["gap", "intent"]);
}

#[tokio::test]
async fn a_file_that_is_moved_away_or_removed_is_not_written_on() {
    for remove in [true, false] {
        let fixture = Fixture::new();
        fixture.log.append(Record::of(&create()), PATIENCE).await.unwrap();
        let elsewhere = fixture.directory.path().join("elsewhere");
        match remove {
            true => fs::remove_file(fixture.file()).unwrap(),
            false => fs::rename(fixture.file(), elsewhere).unwrap(),
        }
        refused(&fixture).await;
        let more = heals(&fixture).await;
        assert_eq!(missing(&fixture), 1 + more);
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_directory_refuses_until_it_is_gone() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.file()).unwrap();
    fs::create_dir(fixture.file()).unwrap();
    for _ in 0..3 {
        refused(&fixture).await;
    }
    fs::remove_dir(fixture.file()).unwrap();
    let more = heals(&fixture).await;
    assert_eq!(missing(&fixture), 3 + more);
}

#[tokio::test]
async fn a_file_that_is_swapped_for_another_is_noticed() {
    let fixture = Fixture::new();
    let other = fixture.directory.path().join("other");
    fs::write(&other, "").unwrap();
    fs::rename(&other, fixture.file()).unwrap();
    refused(&fixture).await;
    heals(&fixture).await;
    assert_eq!(fixture.stages().last().unwrap(), "intent");
}

#[tokio::test]
async fn reads_are_told_too_and_count_as_missing() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    assert_eq!(fixture.log.enqueue(Record::of(&create())).await, Err(Unavailable::Write));
    fs::create_dir(fixture.audit()).unwrap();
    let more = heals(&fixture).await;
    // The one that was enqueued found the disk gone or back, by the writer's clock; it is told either way.
    let told = missing(&fixture) + fixture.stages().iter().filter(|stage| *stage == "intent").count() as u64;
    assert_eq!(told, 3 + more);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_disk_that_is_gone() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    timeout(Duration::from_secs(2), fixture.log.close()).await.expect("ended in time");
}

#[tokio::test]
async fn the_end_tells_the_gap_where_the_disk_is_back() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.audit()).unwrap();
    refused(&fixture).await;
    fs::create_dir(fixture.audit()).unwrap();
    timeout(Duration::from_secs(2), fixture.log.close()).await.expect("ended in time");
    assert_eq!(missing(&fixture), 1);
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
