//! What a policy says and can hardly be meant: it does no harm, so it is in force, but whoever wrote it should know.
//!
//! - shadowed: it makes no difference beside what else is written;
//! - contradictory: it cannot be kept together with something else;
//! - unreachable: nobody, or no call, is ever held to it;
//! - tighter than possible: no call could keep it.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use uuid::Uuid;

use super::{Ground, Part, built_in, misfit};
use crate::{
    call::{OrgId, Scopes, SubjectId},
    file::form::Misfit,
    policy::{
        Stricter, Texts,
        document::{self, Document},
        rules::Rules,
    },
};

mod against;
mod reach;
mod rules;
mod shadow;
#[cfg(test)]
mod tests;
mod within;

/// What a policy is held against, beyond what it must keep.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub stricter: Stricter,
    pub callers: Vec<Caller>,
    /// That keep rates together.
    pub replicas: Option<NonZeroU32>,
    /// Of `tenancy = "strict"`: what each org holds.
    pub holdings: Option<BTreeMap<OrgId, Held>>,
}

/// A credential, or whoever an issuer or upstream may name.
#[derive(Clone, Debug)]
pub struct Caller {
    pub org: OrgId,
    /// None is any.
    pub subject: Option<SubjectId>,
    pub scopes: Scopes,
}

/// Projects and environment classes.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub projects: BTreeSet<Uuid>,
    pub classes: BTreeSet<Uuid>,
}

/// The sections of a document, checked one by one.
#[derive(Debug)]
struct Tree {
    /// Of every org; below it what is built in.
    common: [Part; 2],
    orgs: Vec<Branch>,
}

/// Those of one org.
#[derive(Debug)]
struct Branch {
    org: OrgId,
    part: Part,
    subjects: Vec<(SubjectId, Part)>,
}

/// One section.
#[derive(Clone, Debug)]
struct Level<'t> {
    /// With a dot behind it, unless it is the file.
    at: String,
    org: Option<&'t OrgId>,
    subject: Option<&'t SubjectId>,
    part: &'t Part,
    /// What it stands over, the narrowest first.
    broader: Vec<&'t Part>,
    /// What stands over it.
    narrower: Vec<&'t Part>,
}

/// Everything that these texts can hardly mean.
///
/// # Errors
/// They are no policy.
pub fn lints(texts: &Texts, ground: &Ground, known: &Known) -> Result<Vec<Misfit>, Misfit> {
    let document = Document::parse(&texts.policy)?;
    let tree = Tree::of(&document, ground)?;
    let rules =
        Rules::compile(&texts.rules, document.rules.default, &ground.orgs).map_err(|all| misfit(&all))?;
    let mut found = Vec::new();
    for level in tree.levels() {
        reach::callers(&level, known, &mut found);
        shadow::entries(&level, &mut found);
        shadow::rates(&level, &mut found);
        shadow::budgets(&level, &mut found);
        against::sizes(&level, known.stricter, &mut found);
        against::times(&level, known.stricter, &mut found);
        against::holdings(&level, known, &mut found);
        reach::methods(&level, &mut found);
        against::parts(&level, &document, known, &mut found);
    }
    reach::words(&document, known, &mut found);
    reach::costs(&document, &tree, &mut found);
    rules::all(&rules, &tree, known, &mut found);
    Ok(found)
}

impl Tree {
    fn of(document: &Document, ground: &Ground) -> Result<Self, Misfit> {
        let common = Part::of_all(document)?;
        let orgs = document.orgs.iter().map(|(org, written)| Branch::of(org, written));
        Ok(Self { common: [common, built_in(ground)], orgs: orgs.collect::<Result<_, Misfit>>()? })
    }

    fn levels(&self) -> Vec<Level<'_>> {
        let [common, built_in] = &self.common;
        let all = self.orgs.iter().flat_map(|branch| {
            [&branch.part].into_iter().chain(branch.subjects.iter().map(|(_, part)| part))
        });
        let mut levels = vec![Level {
            at: String::new(),
            org: None,
            subject: None,
            part: common,
            broader: vec![built_in],
            narrower: all.collect(),
        }];
        for Branch { org, part: own, subjects } in &self.orgs {
            levels.push(Level {
                at: format!("orgs.{org}."),
                org: Some(org),
                subject: None,
                part: own,
                broader: vec![common, built_in],
                narrower: subjects.iter().map(|(_, part)| part).collect(),
            });
            levels.extend(subjects.iter().map(|(subject, part)| Level {
                at: format!("orgs.{org}.subjects.{subject}."),
                org: Some(org),
                subject: Some(subject),
                part,
                broader: vec![own, common, built_in],
                narrower: Vec::new(),
            }));
        }
        levels
    }
}

impl Branch {
    fn of(org: &OrgId, written: &document::Org) -> Result<Self, Misfit> {
        let at = format!("orgs.{org}.");
        let own = Part::of_org(&at, written)?;
        let subjects = written.subjects.iter().map(|(subject, written)| {
            Ok((subject.clone(), Part::of_subject(&format!("{at}subjects.{subject}."), written)?))
        });
        Ok(Self { org: org.clone(), part: own, subjects: subjects.collect::<Result<_, Misfit>>()? })
    }
}

impl<'t> Level<'t> {
    /// The sections that count for its callers, the narrowest first.
    fn parts(&self) -> impl Iterator<Item = &'t Part> + '_ {
        [self.part].into_iter().chain(self.broader.iter().copied())
    }
}
