//! The typed limits as they stand for one call, and the defaults that are written into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use crate::{
    rpc::MethodSpec,
    rule::{Applied, Selection},
};

/// What the policy's limits say of one caller. Of each kind there may be several: one in force at most, and beside it
/// those that are only looked at.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub methods: Vec<Applied<Methods>>,
    pub max_timeout: Vec<Applied<Duration>>,
    /// Of every `min_size`, at least this.
    pub min_pool_size: Vec<Applied<i32>>,
    /// Of every size, at most this.
    pub max_pool_size: Vec<Applied<i32>>,
    pub projects: Vec<Applied<Selection>>,
    pub environment_classes: Vec<Applied<Selection>>,
    pub max_page_size: Vec<Applied<i32>>,
    pub defaults: Defaults,
}

/// Methods that may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// Only these; none is all.
    pub allow: Option<Arc<BTreeSet<&'static str>>>,
    /// And none of these.
    pub deny: Arc<BTreeSet<&'static str>>,
}

/// What is written into a request that does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub timeout: Option<Duration>,
    /// By project.
    pub environment_classes: Arc<BTreeMap<Uuid, Uuid>>,
}

impl Methods {
    pub fn admits(&self, method: &MethodSpec) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(method.name))
            && !self.deny.contains(method.name)
    }
}
