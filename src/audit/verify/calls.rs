//! Intents and their ends.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Reason;

/// Ended calls that are remembered, to find a second end. A second one follows the first soon; a log of any size is to be
/// verified in bounded memory.
const ENDED: usize = 1 << 18;

/// The calls of a log.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The sequence numbers of intents, by request id.
    open: HashMap<Box<str>, u64>,
    ended: HashSet<Box<str>>,
    /// In the order of their ends.
    order: VecDeque<Box<str>>,
}

impl Calls {
    pub(super) fn take(&mut self, sequence: u64, stage: &str, id: &str) -> Result<(), Reason> {
        match stage {
            "intent" if self.open.contains_key(id) || self.ended.contains(id) => Err(Reason::SecondIntent),
            "intent" => {
                self.open.insert(id.into(), sequence);
                Ok(())
            }
            "outcome" | "reject" | "recovered" if self.ended.contains(id) => Err(Reason::SecondEnd),
            "outcome" | "reject" | "recovered" => {
                self.end(id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The first intent without an end.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.open.values().min().copied()
    }

    /// Reads and refusals have an end and no intent: nothing is to be remembered of them.
    fn end(&mut self, id: &str) {
        let Some((id, _)) = self.open.remove_entry(id) else { return };
        if self.order.len() == ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(id.clone());
        self.order.push_back(id);
    }
}
