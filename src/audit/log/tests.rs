//! A log whose writer does not come: what a disk that hangs looks like to everybody else.

use std::{path::Path, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{Arc, AtomicBool, Entry, Fill, Fold, Log, Mutex, Positions, QUEUE, Reach, Shared, Unavailable};
use crate::audit::{Record, tests::create};

/// The log, and what it sends to its writer.
pub(in crate::audit) fn stalled() -> (Log, mpsc::Receiver<Entry>) {
    let (queue, entries) = mpsc::channel(QUEUE);
    let reach = Reach { directory: Path::new("").into(), generation: 0, trusted: 0 };
    let shared = Shared {
        queue,
        missed: Arc::default(),
        fold: Arc::<Fold>::default(),
        healthy: Arc::new(AtomicBool::new(true)),
        fill: Fill::default(),
        reach: watch::Sender::new(reach).subscribe(),
        shipped: Positions::default(),
        writer: Mutex::default(),
    };
    (Log(Arc::new(shared)), entries)
}

impl Log {
    /// Leaves no room in the queue.
    pub(in crate::audit) fn stuff(&self) {
        (0..self.0.queue.capacity()).for_each(|_| self.offer(&Record::of(&create())));
    }

    pub(in crate::audit) fn missed(&self) -> u64 {
        self.0.missed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Nobody has to wait for it first.
#[tokio::test]
async fn a_probe_that_gets_no_answer_closes_the_log() {
    let (log, mut entries) = stalled();
    assert!(!log.probe(Duration::from_millis(10)).await);
    assert!(!log.is_healthy());
    assert_eq!(log.room().await.err(), Some(Unavailable::Write));
    assert!(matches!(entries.try_recv(), Ok(Entry::Probe(_))));
}

#[tokio::test]
async fn room_is_waited_for_but_not_for_ever() {
    let (log, mut entries) = stalled();
    log.stuff();
    let (room, _) = tokio::join!(log.room(), async { entries.recv().await });
    assert!(room.is_ok());
    drop(room);
    log.stuff();
    assert_eq!(log.room().await.err(), Some(Unavailable::Busy));
    assert!(!log.is_healthy());
    assert_eq!(log.missed(), 0);
}
