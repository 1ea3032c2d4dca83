//! Reads pages off the store and puts changed ones back, if nobody else did meanwhile.

use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use redis::{Script, Value};

use super::{Page, Terms};
use crate::{
    call::{OrgId, RequestId},
    store::{Fault, Store},
};

/// What of an org's in the store is this room's.
pub(super) const ROOM: &str = "budgets";
/// Books that nobody counts are forgotten: each count writes them.
pub(super) const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of books that are written out. A store that is too slow for one org is given up for all of them, so that what would be
/// too slow is not written: the org's work is not known then. As many prebuilds as a census reads, as many creations as
/// are kept and some thousand calls under way are less. In the middle so much is written to a real server on the same two
/// cores in 3.5 ms and read in 3.6 ms, and in 16 ms and 7 ms where seven others want the cores; the store's patience is
/// 46 ms.
pub(super) const MAX_PAGE: usize = 1 << 20;
/// Ends a version that was written to another server.
const UNSURE: char = '*';

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("books.lua")));

/// One org's place.
#[derive(Debug)]
pub(super) struct Shelf {
    store: Store,
    org: OrgId,
    terms: Terms,
    /// What was there last.
    last: Mutex<Option<Held>>,
}

/// A page that was there.
#[derive(Clone, Debug)]
pub(super) struct Held {
    version: String,
    /// The page as it was then, and all that does not change by itself, written out.
    pub(super) page: Page,
    content: String,
    /// The store's time when it was seen to be there.
    pub(super) at: Duration,
}

/// What came of a change.
pub(super) enum Put {
    Done,
    /// Somebody else was there before: this is what it is now.
    Raced(Box<Held>),
}

/// What the script says.
struct Answer {
    at: Duration,
    version: String,
    there: Option<There>,
}

/// What the caller did not know.
#[derive(Debug, Default)]
struct There {
    text: String,
    /// Until when calls may take effect that were sent without claims, by the store's clock.
    unclaimed: Duration,
}

impl Shelf {
    pub(super) fn new(store: Store, org: OrgId, terms: Terms) -> Self {
        Self { store, org, terms, last: Mutex::default() }
    }

    pub(super) fn org(&self) -> &OrgId {
        &self.org
    }

    pub(super) async fn read(&self) -> Result<Held, Fault> {
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let version = known.as_ref().map(|held| held.version.clone()).unwrap_or_default();
        let answer = self.run(&[version]).await?;
        match (answer.there, known) {
            (None, Some(held)) => Ok(Held { at: answer.at, ..held }),
            (there, _) => Ok(self.held(answer.at, answer.version, &there.unwrap_or_default())),
        }
    }

    /// Puts the page there in place of `held`, unless nothing of it has changed.
    pub(super) async fn put(&self, held: &Held, page: &Page) -> Result<Put, Fault> {
        let content = page.content().ok_or(Fault::Garbage)?;
        if content == held.content {
            return Ok(Put::Done);
        }
        let text = page.write(&content).ok_or(Fault::Garbage)?;
        if text.len() > MAX_PAGE {
            tracing::warn!(org = %self.org, bytes = text.len(), "more is outstanding than the store can keep in time");
            return Err(Fault::Garbage);
        }
        let version = RequestId::new().to_string();
        let kept = KEPT.as_millis().to_string();
        let answer = self.run(&[held.version.clone(), version.clone(), text, kept]).await?;
        match answer.there {
            Some(there) => Ok(Put::Raced(Box::new(self.held(answer.at, answer.version, &there)))),
            None => {
                self.keep(Held { version, page: page.clone(), content, at: answer.at });
                Ok(Put::Done)
            }
        }
    }

    fn held(&self, at: Duration, version: String, there: &There) -> Held {
        let is_sure = !version.ends_with(UNSURE);
        if !version.is_empty() && !is_sure {
            tracing::warn!(org = %self.org, "the store may have lost a part of what is outstanding");
        }
        let mut page = Page::read(&there.text, is_sure, at, self.terms);
        page.heed(there.unclaimed, at);
        // As it is there: what was changed by reading it is to be written.
        let content = there.text.split_once('\n').map(|(_, content)| content.to_owned()).unwrap_or_default();
        let held = Held { version, page, content, at };
        self.keep(held.clone());
        held
    }

    fn keep(&self, held: Held) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    async fn run(&self, arguments: &[String]) -> Result<Answer, Fault> {
        self.store
            .run(&SCRIPT, &self.org, ROOM, arguments, |value| answer(&value).ok_or(Fault::Garbage))
            .await
    }
}

fn answer(value: &Value) -> Option<Answer> {
    let Value::Array(values) = value else { return None };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let time = |value: &Value| match value {
        Value::Int(micros) => u64::try_from(*micros).ok().map(Duration::from_micros),
        _ => None,
    };
    let (at, version) = (time(values.first()?)?, text(values.get(1)?)?);
    let there = match values.get(2) {
        Some(books) => Some(There { text: text(books)?, unclaimed: time(values.get(3)?)? }),
        None => None,
    };
    Some(Answer { at, version, there })
}
