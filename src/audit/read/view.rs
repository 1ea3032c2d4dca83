//! What is looked for in records: read from what a record has, whatever else it has or lacks.

use std::borrow::Cow;

use serde::Deserialize;

/// The fields of a record that the commands know. A field that is not there is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct View<'a> {
    /// Milliseconds since 1970.
    pub time: i64,
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    unmapped: Unmapped<'a>,
    #[serde(borrow)]
    actor: Actor<'a>,
    #[serde(borrow)]
    api: Api<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    sequence: u64,
    #[serde(borrow)]
    log_name: Cow<'a, str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Unmapped<'a> {
    #[serde(borrow)]
    stage: Cow<'a, str>,
    /// A signed note.
    #[serde(borrow)]
    checkpoint: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trace_id: Cow<'a, str>,
    /// How many it stands for.
    count: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Actor<'a> {
    #[serde(borrow)]
    user: User<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct User<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    org: Uid<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Uid<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Api<'a> {
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    request: Uid<'a>,
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl<'a> View<'a> {
    /// None if the record is no JSON, or a field is not of its kind.
    pub fn of(record: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(record).ok()
    }

    pub fn sequence(&self) -> u64 {
        self.metadata.sequence
    }

    pub fn log(&self) -> &str {
        &self.metadata.log_name
    }

    pub fn stage(&self) -> &str {
        &self.unmapped.stage
    }

    pub fn checkpoint(&self) -> Option<&str> {
        self.unmapped.checkpoint.as_deref()
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.unmapped.trace_id
    }

    /// How many calls it stands for; one, where it does not say.
    pub fn count(&self) -> u64 {
        self.unmapped.count.unwrap_or(1)
    }

    pub fn org(&self) -> &str {
        &self.actor.user.org.uid
    }

    pub fn subject(&self) -> &str {
        &self.actor.user.uid
    }

    /// `gitpod.v1.PrebuildService/CreatePrebuild`
    pub fn method(&self) -> &str {
        &self.api.operation
    }

    pub fn request_id(&self) -> &str {
        &self.api.request.uid
    }

    /// `NOT_FOUND`
    pub fn code(&self) -> &str {
        &self.api.response.message
    }
}
