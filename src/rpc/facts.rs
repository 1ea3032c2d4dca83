//! What the stages see of a message: plain values in one struct, whatever the method; and how responses show them.

use std::{collections::BTreeSet, num::TryFromIntError, time::Duration};

use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::request;
use crate::proto::gitpod::v1 as pb;

mod object;
#[cfg(test)]
mod tests;

pub use object::Object;

/// Instances of one pool, at most, by the API.
const MAX_REACH: u32 = 20;

/// What a request states. `None` is absent: where a field has no presence, its default counts as absent.
///
/// Records have them as JSON, from which they are read back; what is not known here is an error then, as nobody could
/// tell what it meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// `project_id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `environment_class_id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `prebuild_id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prebuild: Option<String>,
    /// `warm_pool_id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Whether `spec` is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub spec: bool,
    /// `spec.timeout`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// `spec.desired_phase`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_phase: Option<i32>,
    #[serde(skip_serializing_if = "Sizes::is_empty")]
    pub sizes: Sizes,
    /// `pagination.page_size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i32>,
    /// `pagination.token`: upstream's own and opaque, so no record shows it.
    #[serde(skip)]
    pub page_token: Option<String>,
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// The object that the call is about, once it has been looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Object>,
    /// Which fields the caller did not say: the gateway has written them. Proto paths.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "written")]
    pub written: BTreeSet<&'static str>,
}

/// A protobuf duration as it came, possibly out of range or of mixed sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    pub seconds: i64,
    pub nanos: i32,
}

/// Sizes of a warm pool, in instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sizes {
    /// `desired_size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// `min_size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// `max_size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
}

/// What a List is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// `filter.project_ids`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// `filter.environment_class_ids`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// `filter.creator_ids`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub creators: Vec<String>,
    /// `filter.executor_ids`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub executors: Vec<String>,
    /// `filter.phases`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<i32>,
    /// `filter.triggered_by`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<i32>,
}

/// What a reply shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub objects: Vec<Object>,
    /// `pagination.next_token`; none at the end of a list.
    pub next: Option<String>,
}

/// Of a list, what is to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// In place of `filter.project_ids`; none leaves the filter as it is.
    pub projects: Option<Vec<String>>,
    /// In place of `filter.environment_class_ids`, where a filter has them; none leaves the filter as it is.
    pub classes: Option<Vec<String>>,
    pub page: Turn,
}

/// What a request is to say where its caller has not said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// `spec.timeout`
    pub timeout: Option<Timeout>,
    /// `environment_class_id`
    pub class: Option<String>,
    /// `pagination.page_size`
    pub page_size: Option<i32>,
}

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The first one.
    #[default]
    First,
    /// The one that a token of upstream's leads to.
    To(String),
    /// Any: neither token nor size is said.
    Any,
}

impl Facts {
    /// The id of the one object that a call is about.
    pub fn object(&self) -> Option<&str> {
        self.prebuild.as_deref().or(self.pool.as_deref())
    }

    /// As the caller has said them: without what the gateway has written, and without the object that it looked up.
    #[must_use]
    pub fn as_said(&self) -> Self {
        let mut said = Self { resource: None, written: BTreeSet::new(), ..self.clone() };
        for path in &self.written {
            match *path {
                request::CLASS => said.class = None,
                request::TIMEOUT => said.timeout = None,
                request::PAGE_SIZE => said.page_size = None,
                _ => {}
            }
        }
        said
    }
}

impl Sizes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Present `min_size` and `max_size` of a pool: one that has neither behaves as min = max = desired. What the
    /// other bound of a pool with only one is, upstream alone knows.
    pub fn bounds(self) -> (Option<i32>, Option<i32>) {
        match (self.min, self.max) {
            (None, None) => (self.desired, self.desired),
            bounds => bounds,
        }
    }

    /// One of the two bounds is not there, so it is the pool's present one that counts. A desired size alone sets both.
    pub fn lack_one_bound(self) -> bool {
        self.min.is_some() != self.max.is_some()
    }

    /// Instances that a pool of these sizes may grow to; where they do not say it, as many as any may.
    pub fn reach(self) -> u32 {
        let reach = match self.bounds() {
            (_, Some(max)) if max > 0 || self.max.is_some() => Some(max),
            // A desired size of 0 is one that is not said.
            (_, Some(_) | None) => None,
        };
        reach.map_or(MAX_REACH, |max| u32::try_from(max).unwrap_or_default())
    }
}

impl Fill {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<Duration> for Timeout {
    type Error = TryFromIntError;

    fn try_from(length: Duration) -> Result<Self, TryFromIntError> {
        Ok(Self { seconds: length.as_secs().try_into()?, nanos: length.subsec_nanos().try_into()? })
    }
}

impl Timeout {
    /// `None` for what is no length of time.
    pub fn length(self) -> Option<Duration> {
        Some(Duration::new(self.seconds.try_into().ok()?, self.nanos.try_into().ok()?))
    }
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A response message that can show its objects.
pub trait Response: Message + Default {
    /// Whether it is about one object, which then has to be there.
    const SHOWS_ONE: bool = false;

    fn seen(self) -> Seen {
        Seen::default()
    }

    /// Drops the objects of a list that `keep` does not name, by position.
    fn retain(&mut self, _keep: &[bool]) {}

    /// Says how a list goes on, in place of what it says of that.
    fn lead(&mut self, _token: Option<&str>) {}
}

/// Only paths that the gateway can have written.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<&'static str>, D::Error> {
    let paths = BTreeSet::<String>::deserialize(deserializer)?;
    let known = |path: &String| request::FILLED.into_iter().find(|known| known == path);
    let read = paths.iter().map(|path| known(path).ok_or_else(|| D::Error::custom("is never written")));
    read.collect()
}

/// A string without presence: empty is absent.
pub(super) fn present(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

macro_rules! shows {
    ($($response:ident.$field:ident;)*) => {$(
        impl Response for pb::$response {
            const SHOWS_ONE: bool = true;

            fn seen(self) -> Seen {
                Seen { objects: self.$field.into_iter().map(Object::from).collect(), next: None }
            }
        }
    )*};
}

macro_rules! lists {
    ($($response:ident.$field:ident;)*) => {$(
        impl Response for pb::$response {
            fn seen(self) -> Seen {
                Seen {
                    objects: self.$field.into_iter().map(Object::from).collect(),
                    next: self.pagination.and_then(|page| present(&page.next_token)),
                }
            }

            fn retain(&mut self, keep: &[bool]) {
                let mut keep = keep.iter().copied();
                self.$field.retain(|_| keep.next().unwrap_or_default());
            }

            fn lead(&mut self, token: Option<&str>) {
                self.pagination = token.map(|token| pb::PaginationResponse { next_token: token.to_owned() });
            }
        }
    )*};
}

shows!(
    CreatePrebuildResponse.prebuild;
    GetPrebuildResponse.prebuild;
    CancelPrebuildResponse.prebuild;
    CreateWarmPoolResponse.warm_pool;
    GetWarmPoolResponse.warm_pool;
    UpdateWarmPoolResponse.warm_pool;
);

lists!(
    ListPrebuildsResponse.prebuilds;
    ListWarmPoolsResponse.warm_pools;
);

impl Response for pb::DeletePrebuildResponse {}
impl Response for pb::CreatePrebuildLogsTokenResponse {}
impl Response for pb::DeleteWarmPoolResponse {}
impl Response for pb::GetAuthenticatedIdentityResponse {}
