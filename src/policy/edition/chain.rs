//! One kind of limit as it stands for one caller: the narrowest entry first.

use std::sync::Arc;

use crate::rule::{Applied, Draw, Mode, Rank, RuleId, Stance};

/// In place of a key.
const BUILT_IN: &str = "the built-in one";

/// An entry of the file that was found good.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Limit<T> {
    /// Where it stands.
    pub(super) key: String,
    /// Of the part that it stands in, 0 the broadest; told only where entries are counted apart.
    pub(super) level: u8,
    pub(super) value: T,
    pub(super) stance: Stance,
    pub(super) candidate: Option<T>,
    pub(super) link: Option<Arc<str>>,
}

/// The entries, down to the first that is in force for every call.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Chain<T> {
    rule: RuleId,
    entries: Vec<Limit<T>>,
}

impl<T> Limit<T> {
    /// What stands without being written.
    pub(super) fn built_in(value: T) -> Self {
        Self {
            key: BUILT_IN.to_owned(),
            level: 0,
            value,
            stance: Stance::default(),
            candidate: None,
            link: None,
        }
    }

    pub(super) fn is_built_in(&self) -> bool {
        self.key == BUILT_IN
    }

    pub(super) fn at(self, level: u8) -> Self {
        Self { level, ..self }
    }

    fn rank(&self) -> Rank {
        Rank { level: self.level, is_partial: !self.stance.share.is_whole() }
    }

    pub(super) fn is_always_in_force(&self) -> bool {
        self.stance.mode == Mode::Enforce && self.stance.share.is_whole()
    }

    /// The value and what is tried beside it.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        [&self.value].into_iter().chain(&self.candidate)
    }
}

impl<T: Clone> Chain<T> {
    /// `found` begins with the narrowest.
    pub(super) fn of(rule: RuleId, found: impl IntoIterator<Item = Limit<T>>) -> Self {
        let mut entries = Vec::new();
        for limit in found.into_iter().filter(|limit| limit.stance.mode != Mode::Off) {
            let is_last = limit.is_always_in_force();
            entries.push(limit);
            if is_last {
                break;
            }
        }
        Self { rule, entries }
    }

    pub(super) fn rule(&self) -> &RuleId {
        &self.rule
    }

    pub(super) fn entries(&self) -> &[Limit<T>] {
        &self.entries
    }

    /// Those that some call is refused for.
    pub(super) fn enforced(&self) -> impl Iterator<Item = &Limit<T>> {
        self.entries.iter().filter(|limit| limit.stance.mode == Mode::Enforce)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it is the same for every call.
    pub(super) fn is_fixed(&self) -> bool {
        self.entries.iter().all(|limit| limit.stance.share.is_whole())
    }

    /// As it stands for one call: the narrowest entry that is in force for it, and what is narrower beside it, which
    /// decides nothing. What is broader counts for callers that have nothing narrower.
    pub(super) fn applied(&self, draw: Draw) -> impl Iterator<Item = Applied<T>> {
        let mut is_found = false;
        let until_found = self.modes(draw).take_while(move |(_, mode)| {
            let is_beyond = is_found;
            is_found |= *mode == Mode::Enforce;
            !is_beyond
        });
        until_found.flat_map(|(limit, mode)| self.values_of(limit, mode))
    }

    /// As [`Self::applied`], of what is used up by calls. There also the broader ones count that are in force, as long as
    /// none is for all calls: if each share of the calls had a limit to itself, all of them together would pass.
    pub(super) fn charged(&self, draw: Draw) -> impl Iterator<Item = (Rank, Applied<T>)> {
        let mut is_found = false;
        let charged = self.modes(draw).filter(move |(_, mode)| {
            let is_beyond = is_found;
            is_found |= *mode == Mode::Enforce;
            !is_beyond || *mode == Mode::Enforce
        });
        charged.flat_map(|(limit, mode)| self.values_of(limit, mode).map(|applied| (limit.rank(), applied)))
    }

    fn modes(&self, draw: Draw) -> impl Iterator<Item = (&Limit<T>, Mode)> {
        self.entries.iter().map(move |limit| (limit, limit.stance.of(&self.rule, draw)))
    }

    fn values_of(&self, limit: &Limit<T>, mode: Mode) -> impl Iterator<Item = Applied<T>> + use<T> {
        let applied = |mode, candidate, value: &T| Applied {
            rule: self.rule.clone(),
            mode,
            candidate,
            value: value.clone(),
            link: limit.link.clone(),
        };
        let live = (mode != Mode::Off).then(|| applied(mode, false, &limit.value));
        let tried = limit.candidate.as_ref().filter(|_| live.is_some());
        let tried = tried.map(|value| applied(Mode::Audit, true, value));
        live.into_iter().chain(tried)
    }
}
