//! Lines to what is open already, as standard output is: it may be read by nobody.

use std::{
    io::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Shipped, eventually, logged};
use crate::audit::ship::{Target, config::Sink, lines::Lines, shipper::Shipper};

static IS_STUCK: AtomicBool = AtomicBool::new(true);
static OPENED: AtomicUsize = AtomicUsize::new(0);
static TAKEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Stuck;

impl Write for Stuck {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        while IS_STUCK.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        TAKEN.lock().unwrap().write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stuck() -> Box<dyn Write> {
    OPENED.fetch_add(1, Ordering::Relaxed);
    Box::new(Stuck)
}

#[tokio::test]
async fn a_write_that_blocks_is_told_and_no_other_is_begun_behind_it() {
    let shipped = Shipped::to(Vec::new());
    let sink = Sink::Lines(Lines::Stream(stuck));
    let mut shipper =
        Shipper::new(&shipped.log, Target { name: "stuck".to_owned(), sink }, shipped.metrics.clone());
    shipper.patience = Duration::from_millis(10);
    let shipping = tokio::spawn(shipper.run());
    shipped.intend(3).await;
    let figure = |name: &str| {
        let figures = shipped.metrics.encode();
        let name = format!("prebuild_gateway_audit_{name}{{sink=\"stuck\"}} ");
        figures.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    eventually("it is told each time", || figure("ship_failures_total") > 3).await;
    eventually("how far behind it is grows", || figure("ship_lag_records") > 3).await;
    assert_eq!(OPENED.load(Ordering::Relaxed), 1);
    IS_STUCK.store(false, Ordering::Relaxed);
    let audit = shipped.audit();
    let _directory = shipped.end().await;
    shipping.await.unwrap();
    let taken = String::from_utf8(TAKEN.lock().unwrap().clone()).unwrap();
    // Nothing twice.
    assert_eq!(taken.lines().collect::<Vec<_>>(), logged(&audit));
}
