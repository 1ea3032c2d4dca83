//! Which of two values leaves less.

use crate::{
    policy::applied::Methods,
    rpc,
    rule::{Burden, Rate, Selection},
};

/// Whether all calls that keep the one keep the other, too.
pub(super) trait Within {
    fn is_within(&self, other: &Self) -> bool;
}

impl Within for Methods {
    fn is_within(&self, other: &Self) -> bool {
        rpc::methods().all(|method| !self.admits(method) || other.admits(method))
    }
}

impl Within for Selection {
    fn is_within(&self, other: &Self) -> bool {
        match (&self.allow, &other.allow) {
            (Some(allow), _) => allow.difference(&self.deny).all(|id| other.admits(&id.to_string())),
            (None, Some(_)) => false,
            (None, None) => other.deny.is_subset(&self.deny),
        }
    }
}

impl Within for Rate {
    fn is_within(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|rate| f64::from(rate.calls.get()) / rate.per.as_secs_f64());
        own <= others && self.burst <= other.burst
    }
}

impl Within for Burden {
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::RunningPrebuilds(own), Self::RunningPrebuilds(other))
            | (Self::WarmInstances(own), Self::WarmInstances(other)) => own <= other,
            (Self::Creates { count, window }, Self::Creates { count: most, window: stretch }) => {
                count <= most && window >= stretch
            }
            _ => false,
        }
    }
}
