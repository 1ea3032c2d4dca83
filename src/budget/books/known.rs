//! Prebuilds that run, as they are written out: by project, so that the longest of lists is not half as long.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

use super::{Known, Stamp};

type Running = BTreeMap<String, Known>;

/// Its id, since when it is known, and whether it is missed.
type Written<'k> = (&'k str, Stamp, u8);
type Read = (String, Stamp, u8);

pub(super) fn serialize<S: Serializer>(running: &Running, serializer: S) -> Result<S::Ok, S::Error> {
    let mut projects = BTreeMap::<&str, Vec<Written<'_>>>::new();
    for (id, known) in running {
        projects.entry(&known.project).or_default().push((id, known.since, known.is_missed.into()));
    }
    projects.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Running, D::Error> {
    let projects = BTreeMap::<String, Vec<Read>>::deserialize(deserializer)?;
    let known = |project: &str, (id, since, is_missed): Read| {
        (id, Known { project: project.to_owned(), since, is_missed: is_missed != 0 })
    };
    let of_project = |(project, written): (String, Vec<Read>)| {
        written.into_iter().map(move |read| known(&project, read)).collect::<Vec<_>>()
    };
    Ok(projects.into_iter().flat_map(of_project).collect())
}
