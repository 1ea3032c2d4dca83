//! What an org has outstanding upstream, counted there.

use std::fmt;

use futures_util::future::BoxFuture;

use super::{Deadline, OrgId};

/// The seam between budgets and upstream: who counts what is there.
pub trait Census: fmt::Debug + Send + Sync + 'static {
    /// By the org's own credential, and only what is the org's own. What was there when it began and has not ended since
    /// is in it.
    fn take(&self, org: OrgId, deadline: Deadline) -> BoxFuture<'static, Result<Counted, NotCounted>>;
}

/// What is outstanding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Prebuilds that have not ended.
    pub prebuilds: Vec<Standing>,
    pub pools: Vec<StandingPool>,
    pub extent: Extent,
}

/// A prebuild that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub id: String,
    /// Empty where upstream does not say it.
    pub project: String,
}

/// A warm pool that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingPool {
    pub id: String,
    /// Empty where upstream does not say it.
    pub project: String,
    /// Instances that it may grow to.
    pub max: u32,
    /// Rises with each change of the pool; 0 where upstream does not say it.
    pub version: u64,
}

/// How much is to be read into it that something is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Each list came on one page: what is not on it was not there.
    #[default]
    Whole,
    /// It took several pages, and between two of them what ends may move another one over the edge.
    Paged,
    /// There was more than is read.
    Cut,
}

/// It could not be counted. The text is for logs.
#[derive(Debug, thiserror::Error)]
#[error("outstanding work could not be counted")]
pub struct NotCounted(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Counted {
    /// Several counts of different objects.
    pub fn add(&mut self, other: Self) {
        self.prebuilds.extend(other.prebuilds);
        self.pools.extend(other.pools);
        self.extent = self.extent.max(other.extent);
    }
}
