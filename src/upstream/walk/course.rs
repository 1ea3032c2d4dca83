//! The way through a list: its batches of projects, and from each place the next one.

use uuid::Uuid;

use super::token::{List, PageKey, Place};
use crate::{
    call::Call,
    error::{Error, Reason},
    rpc::{Part, Turn},
    upstream::parting::{Holding, Parting},
};

#[cfg(test)]
mod tests;

/// As many projects as a filter may name.
const BATCH: usize = 25;

/// How a list is gone through.
#[derive(Debug)]
pub(super) enum Course {
    /// As the caller asks, page by page of upstream's.
    Plain,
    /// Through the caller's own projects, batch by batch.
    Narrow { batches: Vec<Vec<String>>, key: PageKey, list: List },
}

impl Course {
    /// # Errors
    /// The request is not the one that it was when it was decoded.
    pub(super) fn of(call: &Call, parting: &Parting) -> Result<Self, Error> {
        let Parting::ByProject { key, .. } = parting else { return Ok(Self::Plain) };
        let org = &call.identity.org;
        let projects = parting.holding(org).map(|holding| narrowed(holding, &call.facts.filter.projects));
        let projects = projects.unwrap_or_default();
        let whole = Part { projects: Some(projects.clone()), page: Turn::Any };
        let whole = call.method.part(&call.request, whole);
        let whole = whole.map_err(|error| Error::refuse(Reason::Internal).with_source(error))?;
        let batches = projects.chunks(BATCH).map(<[_]>::to_vec).collect();
        Ok(Self::Narrow { batches, key: key.clone(), list: List::of(org, call.method, &whole) })
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Narrow { batches, .. } if batches.is_empty())
    }

    /// Where the caller's token leads to; `None` if it is no token of this list.
    pub(super) fn start(&self, token: Option<&str>) -> Option<Place> {
        match (self, token) {
            (_, None) => Some(Place::default()),
            (Self::Plain, Some(token)) => Some(Place { batch: 0, token: Some(token.to_owned()) }),
            (Self::Narrow { key, list, .. }, Some(token)) => {
                key.open(list, token).filter(|place| self.batch(place).is_some())
            }
        }
    }

    /// What is to be asked for at a place.
    pub(super) fn part(&self, place: &Place) -> Part {
        let page = place.token.clone().map_or(Turn::First, Turn::To);
        Part { projects: self.batch(place).map(<[_]>::to_vec), page }
    }

    /// Where the list goes on after the page of a place, which itself leads to `next`.
    pub(super) fn after(&self, place: &Place, next: Option<&str>) -> Option<Place> {
        if let Some(token) = next {
            return Some(Place { batch: place.batch, token: Some(token.to_owned()) });
        }
        let place = Place { batch: place.batch.checked_add(1)?, token: None };
        self.batch(&place).is_some().then_some(place)
    }

    /// The caller's token for a place of a narrowed list.
    pub(super) fn seal(&self, place: &Place) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Narrow { key, list, .. } => key.seal(list, place),
        }
    }

    fn batch(&self, place: &Place) -> Option<&[String]> {
        match self {
            Self::Plain => None,
            Self::Narrow { batches, .. } => {
                batches.get(usize::try_from(place.batch).ok()?).map(Vec::as_slice)
            }
        }
    }
}

/// Those of the org's projects that the caller asks for, each once, in order: no project named is all of them.
fn narrowed(holding: &Holding, asked: &[String]) -> Vec<String> {
    let asked: Vec<_> = asked.iter().map(|id| Uuid::try_parse(id).ok()).collect();
    let is_asked = |project: &&Uuid| asked.is_empty() || asked.contains(&Some(**project));
    holding.projects.iter().filter(is_asked).map(Uuid::to_string).collect()
}
