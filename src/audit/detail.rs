//! What the operator wants of the log: how much it tells of which calls, by which keys it hashes, and whether reads need it.

use std::sync::Arc;

use super::{
    Config,
    hash::{Keys, KeysError},
    level::{Level, Levels},
    record::Record,
    redact,
};
use crate::{
    call::{Call, Context, Reply},
    error::Error,
};

/// Unknown fields whose names are hashed for one record: a hash takes a microsecond, and a caller may name thousands.
const MAX_NAMES: usize = 16;

/// Clones share it.
#[derive(Clone, Debug)]
pub struct Detail {
    levels: Arc<Levels>,
    keys: Keys,
    reads_pass: bool,
}

impl Detail {
    /// As the config says it. The keys are made where it names none and there are none.
    ///
    /// # Errors
    /// The keys cannot be read or made.
    pub fn of(config: &Config) -> Result<Self, KeysError> {
        let keys = Keys::open(&config.directory, config.hash_keys.as_ref())?;
        Ok(Self { levels: Arc::new(config.level.clone()), keys, reads_pass: config.reads_pass })
    }

    /// Whether an answer to a read is given also where the log cannot take its record.
    pub(super) fn reads_pass(&self) -> bool {
        self.reads_pass
    }

    /// Whether there is to be a record of the call at all.
    pub(super) fn is_told(&self, call: &Call) -> bool {
        self.level(call) > Level::None
    }

    /// The record of a call as it stands now: an intent, until it ends.
    pub(super) fn record(&self, call: &Call) -> Record {
        let mut record = Record::of(call);
        self.name_unknown(&mut record, &call.context);
        if self.level(call) >= Level::Request {
            let method = call.method;
            let request = redact::message((method.schema)(), method.input(), &call.request, &self.keys);
            record.set_request(request);
        }
        record
    }

    /// The record of a refusal above the call plane.
    pub(super) fn refused(&self, context: &Context, error: &Error) -> Record {
        let mut record = Record::refused(context, error);
        self.name_unknown(&mut record, context);
        record
    }

    /// Adds what is told of the answer.
    pub(super) fn answer(&self, record: &mut Record, reply: &Reply) {
        let Some((org, method)) = record.called() else { return };
        if self.levels.of(org, method) >= Level::RequestResponse {
            let response = redact::message((method.schema)(), method.output(), &reply.wire, &self.keys);
            record.set_response(response);
        }
    }

    fn name_unknown(&self, record: &mut Record, context: &Context) {
        let names = context.unknown().iter().filter_map(|field| field.name.as_deref()).take(MAX_NAMES);
        record.set_unknown_names(names.map(|name| self.keys.digest(name)).collect());
    }

    fn level(&self, call: &Call) -> Level {
        self.levels.of(&call.identity.org, call.method)
    }
}
