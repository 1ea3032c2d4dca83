//! What the policy lets a caller see of lists.

use crate::{call::Call, rpc::Object, rule::Selection};

#[cfg(test)]
mod tests;

/// Ids that a filter may name.
pub(super) const MAX_IDS: usize = 25;

/// The selections in force for a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'c> {
    pub(super) projects: &'c Selection,
    pub(super) classes: &'c Selection,
}

impl<'c> Shown<'c> {
    pub(super) fn of(call: &'c Call) -> Self {
        Self { projects: &call.bound.projects, classes: &call.bound.classes }
    }

    pub(super) fn is_all(self) -> bool {
        self.projects.is_all() && self.classes.is_all()
    }

    /// Which objects of a page are shown, by position; `None` if all are. What does not say of what it is is not shown
    /// where that counts.
    pub(super) fn keep(self, objects: &[Object]) -> Option<Vec<bool>> {
        let is_shown =
            |object: &Object| self.projects.admits(&object.project) && self.classes.admits(&object.class);
        let keep: Vec<_> = objects.iter().map(is_shown).collect();
        (!keep.iter().all(|keep| *keep)).then_some(keep)
    }
}

/// What is to stand in a filter for what its caller asks for, of which none is all; `None` leaves it as it is. Where all
/// that is let through is too much for a filter, what comes is cut.
///
/// With `Some` of nothing there is nothing to ask for: an empty filter would be all.
pub(super) fn narrowed(selection: &Selection, asked: &[String]) -> Option<Vec<String>> {
    if selection.is_all() {
        return None;
    }
    if !asked.is_empty() {
        return Some(asked.iter().filter(|id| selection.admits(id)).cloned().collect());
    }
    let allowed = selection.allow.as_ref()?.difference(&selection.deny);
    let ids: Vec<_> = allowed.take(MAX_IDS + 1).map(ToString::to_string).collect();
    (ids.len() <= MAX_IDS).then_some(ids)
}
