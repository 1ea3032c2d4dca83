//! A disk that fails when a test says so.

use std::{cell::Cell, io};

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) enum Step {
    Reserve,
    /// Half of it is written.
    Append,
    Sync,
}

thread_local! {
    /// The step that fails, after so many of its kind that do not.
    static NEXT: Cell<Option<(Step, u32, io::ErrorKind)>> = const { Cell::new(None) };
}

/// On this thread the step fails once, after `passed` that do not.
pub(in crate::audit) fn fail(step: Step, passed: u32, kind: io::ErrorKind) {
    NEXT.set(Some((step, passed, kind)));
}

pub(super) fn meet(step: Step) -> io::Result<()> {
    match NEXT.get() {
        Some((next, 0, kind)) if next == step => {
            NEXT.set(None);
            Err(kind.into())
        }
        Some((next, passed, kind)) if next == step => {
            NEXT.set(Some((next, passed - 1, kind)));
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}
