//! One record that stands for many that are alike.

use std::{net::IpAddr, time::SystemTime};

use super::{AuditStage, FACTS, Peer, Record, Unknown};

/// What many that are alike have in common, of that which only some kinds have.
#[derive(Clone, Copy, Debug)]
pub(in crate::audit) struct Common {
    pub(in crate::audit) from: Option<IpAddr>,
    pub(in crate::audit) protocol: Option<&'static str>,
    pub(in crate::audit) has_facts: bool,
}

/// How many records one stands for, and when the first and the last of them would have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub number: u64,
    pub first: SystemTime,
    pub last: SystemTime,
}

impl Record {
    /// What stands for others that are alike: with what they have in common, and without what each has of its own.
    pub(in crate::audit) fn like(&self, common: Common) -> Self {
        let mut like = self.clone();
        (like.stage, like.request) = (AuditStage::Aggregate, None);
        like.truncated.retain(|cut| common.has_facts && *cut == FACTS);
        if let Some(about) = &mut like.about {
            (about.trace_id, about.decided, about.request) = (None, None, None);
            about.attempts.clear();
            about.rulings.clear();
            about.unknown = Unknown::default();
            about.peer = common.from.map(|ip| Peer { ip, port: None });
            about.protocol = common.protocol;
            about.facts.take_if(|_| !common.has_facts);
            if let Some(end) = &mut about.end {
                (end.client, end.latency, end.pages) = (None, None, 0);
            }
        }
        like
    }

    /// It stands for so many.
    pub(in crate::audit) fn counted(mut self, count: Count) -> Self {
        let shown = |time| humantime::format_rfc3339_micros(time).to_string();
        self.time = SystemTime::now();
        self.own.insert("count".to_owned(), count.number.into());
        self.own.insert("first".to_owned(), shown(count.first).into());
        self.own.insert("last".to_owned(), shown(count.last).into());
        self
    }
}

impl Count {
    /// One more.
    pub(in crate::audit) fn add(count: &mut Option<Self>, now: SystemTime) {
        let count = count.get_or_insert(Self { number: 0, first: now, last: now });
        (count.number, count.last) = (count.number + 1, now);
    }
}
