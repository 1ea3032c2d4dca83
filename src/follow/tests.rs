//! When a look counts, and what becomes of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{Asking, Follow, Follower, Following, MAX_LOOKS, MAX_PAUSE, Pause, Problem, Taken};
use crate::telemetry::Metrics;

const PAUSE: Duration = Duration::from_millis(20);

/// Takes everything but what is "bad", and cannot tell of what is "odd".
#[derive(Clone, Default)]
struct Recorder {
    taken: Arc<Mutex<Vec<&'static str>>>,
    /// What it sees when it looks by itself; then it is "new".
    seen: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Follow for Recorder {
    type Look = &'static str;

    fn key(&self) -> String {
        "section.file".to_owned()
    }

    fn look(&self) -> &'static str {
        self.seen.lock().unwrap().pop_front().unwrap_or("new")
    }

    async fn take(&self, look: &'static str) -> Taken {
        self.taken.lock().unwrap().push(look);
        match look {
            "bad" => Taken::Refused("it is bad".to_owned()),
            "early" => Taken::RefusedForNow("not now".to_owned()),
            "odd" => Taken::Undecided("it is odd".to_owned()),
            _ => Taken::InForce,
        }
    }
}

/// A follower of which nothing but "first" was seen so far.
struct Bench {
    follower: Follower<Recorder>,
    recorder: Recorder,
    metrics: Metrics,
}

impl Bench {
    fn new() -> Self {
        let (recorder, metrics) = (Recorder::default(), Metrics::new());
        let follower = Follower {
            followed: Arc::new(recorder.clone()),
            key: recorder.key(),
            metrics: metrics.clone(),
            problem: Problem::default(),
            moment: Duration::ZERO,
            seen: "first",
            judged: Some("first"),
            refused: None,
            pause: Pause::of(PAUSE),
        };
        Self { follower, recorder, metrics }
    }

    /// What was taken or refused at these looks.
    async fn sees(&mut self, looks: &[&'static str]) -> Vec<&'static str> {
        for look in looks {
            self.follower.consider(look).await;
        }
        self.taken()
    }

    /// The same of an operator who asks while the file is written.
    async fn answers(&mut self, looks: &[&'static str]) -> Vec<&'static str> {
        self.recorder.seen.lock().unwrap().extend(looks);
        self.follower.answer().await;
        self.taken()
    }

    fn taken(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.recorder.taken.lock().unwrap())
    }

    fn counted(&self, result: &str, count: u64) {
        let series = format!(
            "prebuild_gateway_file_reloads_total{{key=\"section.file\",result=\"{result}\"}} {count}\n"
        );
        assert!(self.metrics.encode().contains(&series), "{}", self.metrics.encode());
    }
}

#[tokio::test]
async fn a_change_counts_once_and_when_two_looks_in_a_row_have_seen_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.sees(&["first", "half", "whole", "first", "whole"]).await, [""; 0]);
    assert_eq!(bench.sees(&["whole", "whole", "whole"]).await, ["whole"]);
    bench.counted("taken", 1);
    assert_eq!(bench.sees(&["first", "whole", "whole"]).await, [""; 0]);
}

#[tokio::test]
async fn what_is_bad_is_shown_until_something_good_is_seen() {
    let mut bench = Bench::new();
    assert_eq!(bench.sees(&["bad", "bad", "bad", "bad"]).await, ["bad"]);
    assert_eq!(bench.follower.problem().as_deref(), Some("it is bad"));
    bench.counted("refused", 1);
    assert_eq!(bench.sees(&["first", "first"]).await, ["first"]);
    assert_eq!(bench.follower.problem(), None);
}

#[tokio::test]
async fn what_cannot_be_told_yet_is_judged_at_every_look() {
    let mut bench = Bench::new();
    assert_eq!(bench.sees(&["odd", "odd", "odd"]).await, ["odd", "odd"]);
    assert_eq!(bench.follower.problem().as_deref(), Some("it is odd"));
    assert!(!bench.metrics.encode().contains("section.file"));
    assert_eq!(bench.sees(&["good", "good", "good"]).await, ["good"]);
}

#[tokio::test]
async fn what_is_refused_for_now_is_judged_again_ever_more_seldom_and_counted_once() {
    let mut bench = Bench::new();
    let begun = Instant::now();
    let mut judged = 0;
    while begun.elapsed() < PAUSE * 8 {
        judged += bench.sees(&["early"]).await.len();
        tokio::task::yield_now().await;
    }
    // At 0, 1 and 3 pauses, and at 7.
    assert!((2..=4).contains(&judged), "{judged}");
    assert_eq!(bench.follower.problem().as_deref(), Some("not now"));
    bench.counted("refused", 1);
    assert_eq!(bench.sees(&["good", "good"]).await, ["good"], "without a pause");
    assert_eq!(bench.follower.problem(), None);
    assert_eq!(bench.sees(&["early", "early"]).await, ["early"]);
    bench.counted("refused", 2);
    // A look at something else in between, which does not count, changes nothing of that.
    assert_eq!(bench.sees(&["half", "early"]).await, [""; 0]);
    let begun = Instant::now();
    while bench.sees(&["early"]).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is never judged again");
        tokio::task::yield_now().await;
    }
    let mut pause = Pause::of(PAUSE);
    for _ in 0..100 {
        pause.begin();
    }
    assert_eq!(pause.next, MAX_PAUSE);
}

#[tokio::test]
async fn who_asks_is_answered_at_once_and_every_time() {
    let mut bench = Bench::new();
    assert_eq!(bench.answers(&[]).await, ["new"]);
    assert_eq!(bench.answers(&[]).await, ["new"], "asked twice");
    bench.counted("taken", 2);
    assert_eq!(bench.sees(&["new", "new"]).await, [""; 0], "and not of itself");
}

#[tokio::test]
async fn what_is_half_written_when_somebody_asks_does_not_count() {
    let mut bench = Bench::new();
    assert_eq!(bench.answers(&["half", "more", "whole", "whole"]).await, ["whole"]);
    // What was seen before may be half of it, too.
    assert_eq!(bench.sees(&["half"]).await, [""; 0]);
    assert_eq!(bench.answers(&["half", "whole", "whole"]).await, ["whole"]);
    let mut changing = Vec::new();
    for _ in 0..=MAX_LOOKS {
        changing.extend(["one", "other"]);
    }
    assert_eq!(bench.answers(&changing).await, [""; 0], "it goes on with everything else");
}

#[tokio::test]
async fn what_was_half_written_at_start_is_not_in_force_once_it_is_open() {
    let mut bench = Bench::new();
    bench.recorder.seen.lock().unwrap().extend(["more", "whole", "whole"]);
    bench.follower.open().await;
    assert_eq!(bench.taken(), ["whole"]);
    bench.recorder.seen.lock().unwrap().extend(["whole"]);
    bench.follower.open().await;
    assert_eq!(bench.taken(), [""; 0], "it is in force already");
}

#[tokio::test]
async fn the_task_looks_when_asked_and_ends_with_its_handle() {
    let (recorder, asking, metrics) = (Recorder::default(), Asking::new(), Metrics::new());
    let hour = Duration::from_secs(3600);
    // Once it is open, and by itself once more: too seldom for anything new.
    recorder.seen.lock().unwrap().extend(["first", "first"]);
    let mut following = Following::begin(recorder.clone(), "first", hour, &asking, metrics);
    assert_eq!((following.key(), following.problem()), ("section.file", None));
    following.opened().unwrap().await.unwrap();
    assert_eq!(recorder.taken.lock().unwrap().len(), 0);
    asking.ask();
    while recorder.taken.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(asking.0.receiver_count(), 1);
    drop(following);
    while asking.0.receiver_count() > 0 {
        tokio::task::yield_now().await;
    }
}
