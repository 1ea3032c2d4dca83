//! The way through a list: its batches of projects, and from each place the next one.

use uuid::Uuid;

use super::{
    shown::{self, MAX_IDS, Shown},
    token::{List, PageKey, Place},
};
use crate::{
    call::Call,
    error::{Error, Reason},
    rpc::{Part, Turn},
    rule::Selection,
    upstream::parting::{Holding, Parting},
};

#[cfg(test)]
mod tests;

/// As many projects as a filter may name.
const BATCH: usize = MAX_IDS;

/// How a list is gone through.
#[derive(Debug)]
pub(super) struct Course {
    way: Way,
    /// What the policy leaves of the filter's classes; none leaves the filter as it is.
    classes: Option<Vec<String>>,
}

#[derive(Debug)]
enum Way {
    /// Page by page of upstream's, with what the policy leaves of the filter's projects.
    Plain { projects: Option<Vec<String>> },
    /// Through the caller's own projects, batch by batch.
    Narrow { batches: Vec<Vec<String>>, key: PageKey, list: List },
}

impl Course {
    /// # Errors
    /// The request is not the one that it was when it was decoded.
    pub(super) fn of(call: &Call, parting: &Parting) -> Result<Self, Error> {
        let (shown, asked) = (Shown::of(call), &call.facts.filter);
        let classes = shown::narrowed(shown.classes, &asked.classes);
        let Parting::ByProject { key, .. } = parting else {
            let projects = shown::narrowed(shown.projects, &asked.projects);
            return Ok(Self { way: Way::Plain { projects }, classes });
        };
        let org = &call.identity.org;
        let holding = parting.holding(org);
        let projects = holding.map(|holding| narrowed(holding, &asked.projects, shown.projects));
        let projects = projects.unwrap_or_default();
        let whole = Part { projects: Some(projects.clone()), classes: classes.clone(), page: Turn::Any };
        let whole = call.method.part(&call.request, whole);
        let whole = whole.map_err(|error| Error::refuse(Reason::Internal).with_source(error))?;
        let batches = projects.chunks(BATCH).map(<[_]>::to_vec).collect();
        let way = Way::Narrow { batches, key: key.clone(), list: List::of(org, call.method, &whole) };
        Ok(Self { way, classes })
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        let is_none = |ids: &Option<Vec<String>>| ids.as_ref().is_some_and(Vec::is_empty);
        is_none(&self.classes)
            || match &self.way {
                Way::Plain { projects } => is_none(projects),
                Way::Narrow { batches, .. } => batches.is_empty(),
            }
    }

    /// Whether upstream is asked what the caller asks, no less.
    pub(super) fn is_as_asked(&self) -> bool {
        matches!(self.way, Way::Plain { projects: None }) && self.classes.is_none()
    }

    /// Whether the list goes by upstream's own tokens.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.way, Way::Plain { .. })
    }

    /// Where the caller's token leads to; `None` if it is no token of this list.
    pub(super) fn start(&self, token: Option<&str>) -> Option<Place> {
        match (&self.way, token) {
            (_, None) => Some(Place::default()),
            (Way::Plain { .. }, Some(token)) => Some(Place { batch: 0, token: Some(token.to_owned()) }),
            (Way::Narrow { key, list, .. }, Some(token)) => {
                key.open(list, token).filter(|place| self.batch(place).is_some())
            }
        }
    }

    /// What is to be asked for at a place.
    pub(super) fn part(&self, place: &Place) -> Part {
        let page = place.token.clone().map_or(Turn::First, Turn::To);
        let projects = match &self.way {
            Way::Plain { projects } => projects.clone(),
            Way::Narrow { .. } => self.batch(place).map(<[_]>::to_vec),
        };
        Part { projects, classes: self.classes.clone(), page }
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
        match &self.way {
            Way::Plain { .. } => None,
            Way::Narrow { key, list, .. } => key.seal(list, place),
        }
    }

    fn batch(&self, place: &Place) -> Option<&[String]> {
        match &self.way {
            Way::Plain { .. } => None,
            Way::Narrow { batches, .. } => batches.get(usize::try_from(place.batch).ok()?).map(Vec::as_slice),
        }
    }
}

/// Those of the org's projects that the caller asks for and may see, each once, in order: no project named is all of
/// them.
fn narrowed(holding: &Holding, asked: &[String], shown: &Selection) -> Vec<String> {
    let asked: Vec<_> = asked.iter().map(|id| Uuid::try_parse(id).ok()).collect();
    let is_asked = |project: &&Uuid| asked.is_empty() || asked.contains(&Some(**project));
    let projects = holding.projects.iter().filter(is_asked).map(Uuid::to_string);
    projects.filter(|project| shown.admits(project)).collect()
}
