//! What is told of which calls: the levels, and the keys of what is only told by its hash.

use std::sync::Arc;

use super::{
    hash::Keys,
    level::{Level, Levels},
    record::Record,
    redact,
};
use crate::call::{Call, Reply};

/// Unknown fields whose names are hashed for one record: a hash takes a microsecond, and a caller may name thousands.
const MAX_NAMES: usize = 16;

/// Clones share it.
#[derive(Clone, Debug)]
pub struct Detail {
    levels: Arc<Levels>,
    keys: Keys,
}

impl Detail {
    pub fn new(levels: Levels, keys: Keys) -> Self {
        Self { levels: Arc::new(levels), keys }
    }

    /// Whether there is to be a record of the call at all.
    pub(super) fn is_told(&self, call: &Call) -> bool {
        self.level(call) > Level::None
    }

    /// The record of a call as it stands now: an intent, until it ends.
    pub(super) fn record(&self, call: &Call) -> Record {
        let mut record = Record::of(call);
        let names = call.context.unknown().iter().take(MAX_NAMES);
        record.set_unknown_names(names.map(|field| self.keys.digest(&field.name)).collect());
        if self.level(call) >= Level::Request {
            let method = call.method;
            let request = redact::message((method.schema)(), method.input(), &call.request, &self.keys);
            record.set_request(request);
        }
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

    fn level(&self, call: &Call) -> Level {
        self.levels.of(&call.identity.org, call.method)
    }
}
