//! The audit log: who did what, on stable storage before it is done.
//!
//! A mutation, or a call that returns a secret, has an *intent* record on disk before its first byte goes upstream
//! and an *outcome* record on disk before its answer goes to the caller. Reads have an outcome, refusals a *reject*.
//!
//! `docs/audit-log.md` describes the files. Records become drafts where they are made; one writer gives them
//! their place ([`Log`]).

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Call, Context, Deadline, Moment, Recorder, Reply},
    error::{Error, Reason, Sent},
    policy::Permitted,
    rpc::Class,
    stack::{Next, Stage},
};

mod chain;
pub mod checkpoint;
mod config;
mod detail;
mod fill;
pub mod fold;
pub mod hash;
mod instance;
mod journal;
pub mod key;
pub mod level;
pub mod line;
mod log;
pub mod note;
mod open;
pub mod prove;
mod reach;
pub mod read;
pub mod record;
mod recover;
mod redact;
mod retention;
mod segment;
pub mod ship;
mod signer;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod verify;
mod writer;

pub use config::{Config, KeyFile};
pub use detail::Detail;
pub use fill::Warning as FillWarning;
use fold::Kind;
pub use log::{Log, OpenError, Unavailable};
use record::{Client, Record};

/// How long a call waits for its record. A disk that takes longer counts as gone (promise P5).
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the record of every call that reaches the call plane, and closes it exactly once.
#[derive(Clone, Debug)]
pub struct Audit {
    log: Log,
    detail: Detail,
}

/// Puts the intent on disk before the call goes on.
#[derive(Clone, Debug)]
pub struct Intent {
    log: Log,
    detail: Detail,
}

/// A call under way. Dropped unclosed when the caller leaves: it is recorded all the same.
#[derive(Debug)]
struct Open {
    audit: Audit,
    record: Option<Record>,
    class: Class,
    context: Context,
    deadline: Deadline,
    gone: CancellationToken,
}

impl Audit {
    pub fn new(log: Log, detail: Detail) -> Self {
        Self { log, detail }
    }

    /// The other stage, of the same log.
    pub fn intent(&self) -> Intent {
        Intent::new(self.log.clone(), self.detail.clone())
    }

    /// Records a refusal that never became a call. It is not waited for: a flood of refusals must not hold up calls.
    /// What finds no room is counted in a gap record, and what there is too much of in an aggregate: a flood must not fill
    /// the disk.
    pub fn refused(&self, context: &Context, error: &Error) {
        let kind = Kind::of(context, error, None);
        let record = self.log.fold().admit(kind, SystemTime::now(), || self.detail.refused(context, error));
        record.into_iter().for_each(|record| self.log.offer(&record));
    }
}

impl Intent {
    pub fn new(log: Log, detail: Detail) -> Self {
        Self { log, detail }
    }
}

impl Stage<Call> for Audit {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, call: Call, next: S) -> Result<Reply, Error> {
        // The deadline can pass before a task of the call plane first runs: then the wire plane has answered and
        // recorded a refusal, and nothing may happen any more.
        if !call.context.claim(Recorder::CallPlane) {
            return Err(Error::refuse(Reason::DeadlineExceeded));
        }
        let open = Open {
            audit: self.clone(),
            record: self.detail.is_told(&call).then(|| self.detail.record(&call)),
            class: call.method.class,
            context: call.context.clone(),
            deadline: call.deadline,
            gone: call.gone.clone(),
        };
        // Before any of it goes upstream: its answer could not be given.
        if open.needs_record() && !self.log.is_healthy() {
            return open.close(Err(Unavailable::Write.into())).await;
        }
        // A panic below must not leave a record open, nor end the process.
        let result = AssertUnwindSafe(next.run(call))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::refuse(Reason::Internal).with_sent(open.sent())));
        open.close(result).await
    }
}

impl Stage<Permitted<Call>> for Intent {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        if call.get().method.class != Class::Read {
            let context = &call.get().context;
            let intended = self.log.intend(&self.detail.record(call.get())).await;
            intended.inspect_err(|unavailable| {
                if *unavailable == Unavailable::Slow {
                    context.set_maybe_intended();
                }
            })?;
            context.set_intended();
        }
        let context = call.get().context.clone();
        let result = next.run(call).await;
        context.reach(Moment::Answered);
        result
    }
}

impl Open {
    /// How far a call got that ends without a word of its own: nothing leaves before it is permitted, and nothing of a
    /// mutation before its intent is on disk.
    fn sent(&self) -> Sent {
        let may_have_left = match self.class {
            Class::Read => self.context.is_permitted(),
            Class::Mutate | Class::Secret => self.context.is_intended(),
        };
        if may_have_left { Sent::Maybe } else { Sent::No }
    }

    /// Whether its answer is given only if the log can take its record, which is not waited for.
    fn needs_record(&self) -> bool {
        self.record.is_some() && self.class == Class::Read && !self.audit.detail.reads_pass()
    }

    /// Whether there is still somebody to answer. Who was told that the deadline has passed has its answer.
    fn client(&self) -> Client {
        match (self.context.is_expired(), self.gone.is_cancelled()) {
            (true, _) => Client::Expired,
            (false, true) => Client::Gone,
            (false, false) => Client::There,
        }
    }

    /// Records how the call ended. What it returns is what the caller gets.
    async fn close(mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let needs_record = self.needs_record();
        let Some(mut record) = self.record.take() else { return result };
        record.ends(&result, &self.context, self.client());
        if let Ok(reply) = &result {
            self.audit.detail.answer(&mut record, reply);
        }
        let log = self.audit.log.clone();
        if self.context.is_intended() {
            return match log.end(&record).await {
                Ok(()) => result,
                // Also where the call failed: what the caller is told must be on record (promise P2).
                Err(unavailable) => Err(Error::refuse(Reason::OutcomeNotRecorded).with_source(unavailable)),
            };
        }
        // Its intent may come to be there after all.
        if self.context.is_maybe_intended() {
            log.owe(&record);
            return result;
        }
        // Reads and refusals do not wait for the disk, only for room in the queue. Who leaves meanwhile leaves its record.
        self.record = log.fold().of(record, &result, &self.context);
        let room = if self.record.is_some() { log.room().await } else { return result };
        let Some(mut record) = self.record.take() else { return result };
        match room {
            Ok(room) => {
                room.take(&record);
                result
            }
            Err(unavailable) => {
                let withheld = result.is_ok() && needs_record;
                let result = if withheld { Err(self.withheld(unavailable)) } else { result };
                if withheld {
                    record.ends(&result, &self.context, self.client());
                }
                // The writer tries the disk again with every group.
                log.offer(&record);
                result
            }
        }
    }

    /// What the caller gets in place of an answer.
    fn withheld(&self, unavailable: Unavailable) -> Error {
        match self.context.is_own() {
            true => unavailable.into(),
            false => Error::refuse(Reason::OutcomeNotRecorded).with_source(unavailable),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let (reason, client) = match self.deadline.remaining() {
            None => (Reason::DeadlineExceeded, Client::Expired),
            Some(_) => (Reason::CallerGone, Client::Gone),
        };
        let log = &self.audit.log;
        // Its record only waited for room.
        if record.set_client(client) {
            return log.offer(&record);
        }
        let result = Err(Error::refuse(reason).with_sent(self.sent()));
        record.ends(&result, &self.context, client);
        // It cannot be waited for here, and nothing of the answer has reached anybody.
        match self.context.is_intended() || self.context.is_maybe_intended() {
            true => log.owe(&record),
            false => {
                log.fold()
                    .of(record, &result, &self.context)
                    .into_iter()
                    .for_each(|record| log.offer(&record));
            }
        }
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::refuse(Reason::AuditUnavailable).with_source(unavailable)
    }
}
