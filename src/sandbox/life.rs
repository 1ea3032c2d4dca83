//! The life of a prebuild as a function of time: nothing runs, the phase is worked out when somebody looks.
//!
//! ```text
//! 0 PENDING  1 STARTING  2 RUNNING  3 SNAPSHOTTING 0, 25, 50, 75 %  4 COMPLETED     (in steps since the creation)
//! ```

use std::time::{Duration, SystemTime};

use super::message::PrebuildPhase;

/// A demo shows a whole life within ten seconds, and every phase long enough to be seen.
const STEP: Duration = Duration::from_secs(2);

/// Often enough to be met in a demo, seldom enough to stay the exception.
const WARN_EVERY: u64 = 5;

/// From creation to completion.
const STEPS: u32 = 4;

/// Where the snapshot's progress is reported, in percent of the last step.
const PROGRESS: [u8; 4] = [0, 25, 50, 75];

/// How fast prebuilds and pools live, and how well.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// How long a phase takes; zero completes a prebuild the moment it is created.
    pub step: Duration,
    /// Every so many prebuilds of an organization complete with a warning; 0 for none.
    pub warn_every: u64,
    /// Every so many prebuilds of an organization fail while they run; 0 for none.
    pub fail_every: u64,
}

/// What has happened to a prebuild.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) created: SystemTime,
    pub(super) timeout: Duration,
    /// Its task will exit with an error.
    pub(super) fails: bool,
    pub(super) cancelled: Option<SystemTime>,
    pub(super) deleted: Option<SystemTime>,
}

/// Where a prebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) phase: PrebuildPhase,
    /// When this state was entered.
    pub(super) since: SystemTime,
    /// Of the snapshot, in percent.
    pub(super) progress: u8,
    /// How many states there have been, this one included.
    pub(super) version: u64,
    /// When the prebuild was over, if it is.
    pub(super) completed: Option<SystemTime>,
}

/// How a prebuild ends that nobody interferes with, counted from its creation.
#[derive(Clone, Copy)]
struct End {
    after: Duration,
    phase: PrebuildPhase,
}

impl Default for Life {
    fn default() -> Self {
        Self { step: STEP, warn_every: WARN_EVERY, fail_every: 0 }
    }
}

impl Life {
    /// Whole steps in a time; without a step length everything has long happened.
    pub(super) fn steps(&self, time: Duration) -> u32 {
        match self.step.as_nanos() {
            0 => u32::MAX,
            step => u32::try_from(time.as_nanos() / step).unwrap_or(u32::MAX),
        }
    }
}

impl Course {
    /// The state at a time, and `None` once the prebuild is gone.
    pub(super) fn at(&self, life: &Life, now: SystemTime) -> Option<Moment> {
        let Some(deleted) = self.deleted.filter(|deleted| *deleted <= now) else {
            return Some(self.undeleted(life, now));
        };
        let before = self.undeleted(life, deleted);
        let deleting = Moment {
            phase: PrebuildPhase::Deleting,
            since: deleted,
            progress: 0,
            version: before.version + 1,
            ..before
        };
        (now < deleted + life.step).then_some(deleting)
    }

    /// Whether the timeout, and not the prebuild's task, ends it.
    pub(super) fn times_out(&self, life: &Life) -> bool {
        self.timeout < life.step * if self.fails { STEPS - 1 } else { STEPS }
    }

    fn undeleted(&self, life: &Life, now: SystemTime) -> Moment {
        let Some(cancelled) = self.cancelled.filter(|cancelled| *cancelled <= now) else {
            return self.untouched(life, now);
        };
        let before = self.untouched(life, cancelled);
        let over = cancelled + life.step;
        let (phase, since, version, completed) = if now < over {
            (PrebuildPhase::Cancelling, cancelled, before.version + 1, None)
        } else {
            (PrebuildPhase::Cancelled, over, before.version + 2, Some(over))
        };
        Moment { phase, since, progress: 0, version, completed }
    }

    fn untouched(&self, life: &Life, now: SystemTime) -> Moment {
        let elapsed = now.duration_since(self.created).unwrap_or_default();
        let end = self.end(life);
        let states = states(life.step).into_iter().filter(|(after, ..)| *after < end.after);
        let mut moment = Moment {
            phase: PrebuildPhase::Pending,
            since: self.created,
            progress: 0,
            version: 0,
            completed: None,
        };
        for (after, phase, progress) in states.chain([(end.after, end.phase, 0)]) {
            if after <= elapsed {
                let since = self.created + after;
                moment = Moment { phase, since, progress, version: moment.version + 1, ..moment };
            }
        }
        if moment.phase == end.phase {
            moment.completed = Some(moment.since);
        }
        moment
    }

    fn end(&self, life: &Life) -> End {
        if self.times_out(life) {
            End { after: self.timeout, phase: PrebuildPhase::Failed }
        } else if self.fails {
            End { after: life.step * (STEPS - 1), phase: PrebuildPhase::Failed }
        } else {
            End { after: life.step * STEPS, phase: PrebuildPhase::Completed }
        }
    }
}

/// Every state before the end, and when it is entered.
fn states(step: Duration) -> impl IntoIterator<Item = (Duration, PrebuildPhase, u8)> {
    let first = [PrebuildPhase::Pending, PrebuildPhase::Starting, PrebuildPhase::Running];
    let run = (0_u32..).zip(first).map(move |(index, phase)| (step * index, phase, 0));
    let snapshot = PROGRESS.into_iter().map(move |percent| {
        (step * (STEPS - 1) + step * u32::from(percent) / 100, PrebuildPhase::Snapshotting, percent)
    });
    run.chain(snapshot)
}
