//! When a log counts as nearly full, and for how long it lasts.

use std::time::{Duration, Instant};

use super::{Figures, Fill};

fn figures(bytes: u64) -> Figures {
    Figures { bytes, cap: 1000, ..Figures::default() }
}

#[test]
fn it_warns_from_80_percent_on() {
    let fill = Fill::default();
    let now = Instant::now();
    for (bytes, warns) in [(0, false), (799, false), (800, true), (1200, true), (500, false)] {
        fill.note(now, bytes, figures(bytes));
        assert_eq!(fill.warning().is_some(), warns, "{bytes}");
    }
}

#[test]
fn the_time_left_is_that_of_the_last_minutes_rate() {
    let fill = Fill::default();
    let begun = Instant::now();
    // A burst at first, which is out of the window at the end; then a byte a second.
    fill.note(begun, 0, figures(0));
    for second in 1..=900 {
        fill.note(begun + Duration::from_secs(second), 5000 + second, figures(800));
    }
    let left = fill.warning().unwrap().left.unwrap();
    assert!((195..=205).contains(&left.as_secs()), "{left:?}");
    let told = fill.warning().unwrap().to_string();
    assert!(
        told.starts_with("800 of 1000 bytes, full in about 3m 20s at the present rate; at the cap"),
        "{told}"
    );
}

#[test]
fn a_log_that_does_not_grow_is_never_full() {
    let fill = Fill::default();
    let begun = Instant::now();
    fill.note(begun, 900, figures(900));
    fill.note(begun + Duration::from_secs(60), 900, figures(900));
    assert_eq!(fill.warning().unwrap().left, None);
}

#[test]
fn what_is_held_for_a_sink_is_told() {
    let fill = Fill::default();
    fill.note(Instant::now(), 0, Figures { is_held: true, ..figures(2000) });
    assert!(fill.warning().unwrap().to_string().ends_with("so that they are kept"));
}
