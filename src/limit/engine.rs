//! Who counts.

use std::sync::Arc;

use governor::clock::{Clock, MonotonicClock};

use super::{Demand, Taken, local::Local, shared::Shared};
use crate::rpc::Class;

/// The counting itself, wherever it happens. Clones share what they count.
#[derive(Debug)]
pub enum Engine<C: Clock = MonotonicClock> {
    /// In this process alone.
    Local(Local<C>),
    /// For all replicas together.
    Shared(Arc<Shared>),
}

impl<C> Engine<C>
where
    C: Clock<Instant: Send + Sync> + Clone + Send + Sync + 'static,
{
    pub fn local(clock: C) -> Self {
        Self::Local(Local::new(clock))
    }

    pub fn shared(shared: Shared) -> Self {
        Self::Shared(Arc::new(shared))
    }

    /// Takes what is demanded of one call, or nothing of it if one demand in force cannot be met. The answers are as many
    /// as the demands, in their order.
    pub async fn take(&self, class: Class, demands: &[Demand]) -> Vec<Taken> {
        match self {
            Self::Local(local) => local.take(demands),
            Self::Shared(shared) => shared.take(class, demands).await.taken,
        }
    }
}

impl<C: Clock + Clone> Clone for Engine<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Local(local) => Self::Local(local.clone()),
            Self::Shared(shared) => Self::Shared(Arc::clone(shared)),
        }
    }
}
