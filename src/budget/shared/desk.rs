//! One org's books in this process: what comes at the same time is taken together, in its order, in one change.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use super::{
    Page,
    mark::Marks,
    shelf::{Held, Put, Shelf},
    step::{Said, Step},
};
use crate::store::{Fault, Store};

/// New steps of one change; the rest of them is next.
const TOGETHER: usize = 256;
/// Words that wait for a store that is away: how calls ended, and which were sent all the same. Of those beyond, ends are
/// known by a census once their leases have passed, and that there are others is marked.
const MAX_WAITING: usize = 10_000;
/// Between two tries to tell them.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Desk {
    shelf: Arc<Shelf>,
    steps: mpsc::Receiver<Step>,
    /// To be told, when the store is there.
    waiting: Vec<Step>,
    marks: Arc<Marks>,
}

impl Desk {
    pub(super) fn new(shelf: Arc<Shelf>, steps: mpsc::Receiver<Step>, marks: Arc<Marks>) -> Self {
        Self { shelf, steps, waiting: Vec::new(), marks }
    }

    /// Until nobody can ask any more, and all is told.
    pub(super) async fn serve(mut self) {
        while let Some(batch) = self.gather().await {
            self.take(batch).await;
        }
    }

    /// What is to be done next, the oldest first; none if there will be nothing any more.
    async fn gather(&mut self) -> Option<Vec<Step>> {
        let mut batch = Vec::new();
        if self.waiting.is_empty() {
            batch.push(self.steps.recv().await?);
        } else {
            // Whoever comes meanwhile does not wait for it.
            match tokio::time::timeout(PAUSE, self.steps.recv()).await {
                Ok(Some(step)) => batch.push(step),
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(_) => {}
            }
        }
        while batch.len() < TOGETHER
            && let Ok(step) = self.steps.try_recv()
        {
            batch.push(step);
        }
        // All of them, as what comes now may be about the same calls.
        let mut all = std::mem::take(&mut self.waiting);
        all.append(&mut batch);
        all.retain(|step| !step.is_left());
        Some(all)
    }

    async fn take(&mut self, batch: Vec<Step>) {
        if batch.is_empty() {
            return;
        }
        // Whoever keeps the org's books here does so as long as the process lives.
        let attempt = AssertUnwindSafe(self.attempt(&batch)).catch_unwind().await;
        let unheard: Vec<_> = match attempt.unwrap_or(Err(Fault::Garbage)) {
            Ok(said) => batch.into_iter().zip(said).filter_map(|(step, said)| step.answer(said)).collect(),
            Err(fault) => {
                tracing::debug!(org = %self.shelf.org(), kind = fault.kind(), "what is outstanding cannot be told");
                batch.into_iter().filter_map(Step::fail).collect()
            }
        };
        for step in unheard {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push(step);
            } else if matches!(step, Step::Note(_)) {
                self.marks.owe(self.shelf.org());
            }
        }
    }

    /// Over again, as long as somebody else was there before, each time by what they have left. Of all who try one always
    /// comes through.
    async fn attempt(&self, batch: &[Step]) -> Result<Vec<Said>, Fault> {
        let begun = Instant::now();
        let mut held = self.shelf.read().await?;
        loop {
            let (page, said) = judge(&held, batch);
            match self.shelf.put(&held, &page).await? {
                Put::Done => return Ok(said),
                Put::Raced(_) if begun.elapsed() >= Store::PATIENCE => return Err(Fault::Timeout),
                Put::Raced(now) => held = *now,
            }
        }
    }
}

fn judge(held: &Held, batch: &[Step]) -> (Page, Vec<Said>) {
    let mut page = held.page.clone();
    let now = page.time(held.at);
    let said = batch.iter().map(|step| step.take(&mut page, now)).collect();
    (page, said)
}
