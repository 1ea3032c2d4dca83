//! Promise P10: on no interval more than `burst + rate * t`, and at most one call fewer where callers never rest.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use governor::clock::MonotonicClock;
use tokio::{sync::Barrier, task::JoinSet, time::sleep};

use super::{Local, Rate, costing, demand, faked, rate};

const TASKS: u64 = 64;
const SUBJECTS: u64 = 8;

/// Small and good enough numbers (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn of(task: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (task + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// By how much the admitted calls, as (nanoseconds, cost) in order of time, are over on the worst of all intervals.
///
/// Over on [i, j] is `sum(i..=j) - rate * (t_j - t_i) - burst`. The sums are differences of running ones, so that for
/// each j the worst i is a running minimum: every interval is looked at, in whole numbers.
fn worst(rate: Rate, admitted: &[(u64, u32)]) -> i128 {
    let (per, calls) = (i128::try_from(rate.per.as_nanos()).unwrap(), i128::from(rate.calls.get()));
    let (mut sum, mut least, mut worst) = (0, i128::MAX, i128::MIN);
    for (at, cost) in admitted {
        let flown = calls * i128::from(*at);
        least = least.min(sum * per - flown);
        sum += i128::from(*cost);
        worst = worst.max(sum * per - flown - least);
    }
    worst - i128::from(rate.burst.get()) * per
}

/// What can pass in all, callers never resting: at once, and in the time that follows.
fn most(rate: Rate, time: Duration) -> u128 {
    u128::from(rate.burst.get()) + u128::from(rate.calls.get()) * time.as_nanos() / rate.per.as_nanos()
}

#[test]
fn the_check_itself_finds_one_too_many() {
    let second = 1_000_000_000;
    let fits = [(0, 1), (0, 2), (second / 2, 1), (second, 1)];
    assert!(worst(rate(2, 3), &fits) <= 0);
    assert!(worst(rate(2, 3), &[&fits[..], &[(second + second / 2 - 1, 1)]].concat()) > 0);
    assert!(worst(rate(2, 3), &[(5 * second, 1), (9 * second, 4)]) > 0);
}

/// All tasks at one instant, then time goes on by a random step: 60 seconds in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_simulated_seconds() {
    let (local, clock) = faked();
    let (of_org, of_subject) = (rate(37, 100), rate(7, 12));
    let barrier = Arc::new(Barrier::new(usize::try_from(TASKS).unwrap() + 1));
    let admitted: Arc<Mutex<Vec<(u64, String, u32)>>> = Arc::default();
    let mut gaps = Dice::of(TASKS);
    let gaps: Vec<u64> = (0..6_000).map(|_| gaps.below(20_000_001)).collect();
    let now = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (local, barrier, admitted) = (local.clone(), Arc::clone(&barrier), Arc::clone(&admitted));
        let (now, steps, mut dice) = (Arc::clone(&now), gaps.len(), Dice::of(task));
        tasks.spawn(async move {
            let subject = format!("subject-{}", task % SUBJECTS);
            for _ in 0..steps {
                barrier.wait().await;
                let at = now.load(std::sync::atomic::Ordering::SeqCst);
                for _ in 0..dice.below(3) {
                    let cost = if dice.below(4) == 0 { u32::try_from(dice.below(5)).unwrap() + 1 } else { 1 };
                    let asked = [
                        costing(cost, demand(Some(&subject), "rates.subject.all", of_subject)),
                        costing(cost, demand(None, "rates.org.all", of_org)),
                    ];
                    if local.take(&asked).iter().all(|taken| !taken.is_refused()) {
                        admitted.lock().unwrap().push((at, subject.clone(), cost));
                    }
                }
                barrier.wait().await;
            }
        });
    }
    let everyone = demand(None, "rates.org.all", of_org);
    let mut passed = 0;
    for gap in &gaps {
        barrier.wait().await;
        barrier.wait().await;
        let at = passed;
        // What is left goes by ones, so that the org never rests.
        while !local.take(std::slice::from_ref(&everyone))[0].is_refused() {
            admitted.lock().unwrap().push((at, String::new(), 1));
        }
        clock.advance(Duration::from_nanos(*gap));
        passed += gap;
        now.store(passed, std::sync::atomic::Ordering::SeqCst);
    }
    tasks.join_all().await;
    let admitted = admitted.lock().unwrap();
    let last: u64 = passed - gaps.last().unwrap();
    let all: Vec<_> = admitted.iter().map(|(at, _, cost)| (*at, *cost)).collect();
    let over = worst(of_org, &all);
    assert!(over <= 0, "org: {over}");
    let total: u128 = all.iter().map(|(_, cost)| u128::from(*cost)).sum();
    let most = most(of_org, Duration::from_nanos(last));
    assert!(total + 1 >= most && total <= most, "{total} of {most}");
    let mut by_subject: BTreeMap<&str, Vec<(u64, u32)>> = BTreeMap::new();
    for (at, subject, cost) in admitted.iter().filter(|(_, subject, _)| !subject.is_empty()) {
        by_subject.entry(subject).or_default().push((*at, *cost));
    }
    assert_eq!(by_subject.len(), usize::try_from(SUBJECTS).unwrap());
    for (subject, calls) in by_subject {
        assert!(worst(of_subject, &calls) <= 0, "{subject}");
    }
}

/// Of a call only the instants before and after it are known: whatever lies within an interval by both of them is counted.
fn worst_of_spans(rate: Rate, admitted: &[(u64, u64)]) -> i128 {
    let mut by_end = admitted.to_vec();
    by_end.sort_by_key(|(_, after)| *after);
    let (per, calls) = (i128::try_from(rate.per.as_nanos()).unwrap(), i128::from(rate.calls.get()));
    let over = |from: u64| {
        let within = by_end.iter().filter(move |(before, _)| *before >= from).enumerate();
        within.map(move |(others, (_, to))| {
            (i128::try_from(others).unwrap() + 1 - i128::from(rate.burst.get())) * per
                - calls * i128::from(to - from)
        })
    };
    by_end.iter().flat_map(|(from, _)| over(*from)).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_real_seconds() {
    let (local, of_org) = (Local::new(MonotonicClock), rate(50, 100));
    let start = Instant::now();
    let nanos = move || u64::try_from(start.elapsed().as_nanos()).unwrap();
    let end = 10_000_000_000;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (local, mut dice) = (local.clone(), Dice::of(task));
        tasks.spawn(async move {
            let (asked, mut admitted) = (demand(None, "rates.org.all", of_org), Vec::new());
            while nanos() < end {
                let before = nanos();
                if !local.take(std::slice::from_ref(&asked))[0].is_refused() {
                    admitted.push((before, nanos()));
                }
                sleep(Duration::from_micros(dice.below(20_000))).await;
            }
            admitted
        });
    }
    let mut admitted: Vec<(u64, u64)> = tasks.join_all().await.into_iter().flatten().collect();
    let (begun, asked) = (nanos(), demand(None, "rates.org.all", of_org));
    loop {
        let before = nanos();
        if local.take(std::slice::from_ref(&asked))[0].is_refused() {
            break;
        }
        admitted.push((before, nanos()));
    }
    assert!(worst_of_spans(of_org, &admitted) <= 0);
    let first = admitted.iter().map(|(_, after)| *after).min().unwrap();
    let least = most(of_org, Duration::from_nanos(begun - first));
    assert!(admitted.len() as u128 + 1 >= least, "{} of {least}", admitted.len());
}

/// What people and time servers set is never read here, so that setting it back and forth changes nothing.
#[test]
fn the_wall_clock_is_never_read() {
    let mut queue = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/limit")];
    let mut read = 0;
    while let Some(place) = queue.pop() {
        if place.is_dir() {
            queue.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else if !place.to_string_lossy().contains("tests") {
            let source = fs::read_to_string(&place).unwrap();
            assert!(!source.contains("SystemTime") && !source.contains("SystemClock"), "{place:?}");
            read += 1;
        }
    }
    assert!(read >= 5, "{read}");
}
