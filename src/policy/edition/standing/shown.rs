//! What a policy says, for people: a line for each entry that counts, by whom it is for.

use std::{fmt::Display, time::Duration};

use humantime::format_duration;

use super::{
    super::{Edition, chain::Chain},
    Standing,
};
use crate::{
    call::{OrgId, SubjectId},
    policy::applied::{Defaults, Methods},
    rule::{Burden, Rate, Selection},
};

/// Ids that a line names; of more it says how many there are.
const MAX_NAMED: usize = 4;

/// What stands for some callers, over what stands for more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub of: Holders,
    pub lines: Vec<Line>,
}

/// Whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holders {
    EveryOrg,
    Org(OrgId),
    Subject(OrgId, SubjectId),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its mode; `default` for what is written into requests.
    pub mode: &'static str,
    pub rule: String,
    /// The value, for which part of the calls, and what is tried beside it.
    pub text: String,
}

/// A value as a line has it.
trait Tell {
    fn tell(&self) -> String;
}

impl Edition {
    /// All entries that count for any call: those of every org, then those of single orgs and subjects over them.
    pub fn sections(&self) -> Vec<Section> {
        let mut sections = vec![Section { of: Holders::EveryOrg, lines: self.others.lines("", None) }];
        let mut orgs: Vec<_> = self.orgs.iter().collect();
        orgs.sort_by_key(|(org, _)| (*org).clone());
        for (org, standing) in orgs {
            let lines = standing.org.lines(&format!("orgs.{org}."), Some(&self.others.defaults));
            sections.push(Section { of: Holders::Org(org.clone()), lines });
            let mut subjects: Vec<_> = standing.subjects.iter().collect();
            subjects.sort_by_key(|(subject, _)| (*subject).clone());
            for (subject, own) in subjects {
                let at = format!("orgs.{org}.subjects.{subject}.");
                let lines = own.lines(&at, Some(&standing.org.defaults));
                sections.push(Section { of: Holders::Subject(org.clone(), subject.clone()), lines });
            }
        }
        sections.retain(|section| !section.lines.is_empty());
        sections
    }
}

impl Standing {
    /// The entries of the section at `at`, and the defaults that are not those `below`.
    fn lines(&self, at: &str, below: Option<&Defaults>) -> Vec<Line> {
        let mut lines = Vec::new();
        add(&mut lines, at, &self.methods);
        add(&mut lines, at, &self.max_timeout);
        for sizes in [&self.min_pool_size, &self.max_pool_size, &self.max_page_size] {
            add(&mut lines, at, sizes);
        }
        for selections in [&self.projects, &self.environment_classes] {
            add(&mut lines, at, selections);
        }
        add(&mut lines, at, &self.in_flight);
        self.rates.iter().for_each(|(.., chain)| add(&mut lines, at, chain));
        self.budgets.iter().for_each(|(_, chain)| add(&mut lines, at, chain));
        lines.extend(self.defaults.lines(below));
        lines
    }
}

fn add<T: Tell + Clone>(lines: &mut Vec<Line>, at: &str, chain: &Chain<T>) {
    let own = chain.entries().iter().filter(|entry| entry.key.starts_with(at));
    lines.extend(own.map(|entry| {
        let mut text = entry.value.tell();
        if !entry.stance.share.is_whole() {
            text += &format!(", for {} of the calls", entry.stance.share);
        }
        if let Some(candidate) = &entry.candidate {
            text += &format!(", tried beside it: {}", candidate.tell());
        }
        if entry.is_built_in() {
            text += " (built in)";
        }
        Line { mode: entry.stance.mode.as_str(), rule: chain.rule().to_string(), text }
    }));
}

impl Defaults {
    fn lines(&self, below: Option<&Self>) -> Vec<Line> {
        let line = |rule: &str, text| Line { mode: "default", rule: rule.to_owned(), text };
        let timeout = self.timeout.filter(|_| below.is_none_or(|below| below.timeout != self.timeout));
        let timeout = timeout.map(|timeout| line("spec.timeout", timeout.tell()));
        let is_new = |project, class| below.and_then(|b| b.environment_classes.get(project)) != Some(class);
        let classes = self.environment_classes.iter().filter(|(project, class)| is_new(*project, *class));
        let classes =
            classes.map(|(project, class)| line("environment_class_id", format!("{class} in {project}")));
        timeout.into_iter().chain(classes).collect()
    }
}

impl Tell for i32 {
    fn tell(&self) -> String {
        self.to_string()
    }
}

impl Tell for u32 {
    fn tell(&self) -> String {
        self.to_string()
    }
}

impl Tell for Rate {
    fn tell(&self) -> String {
        self.to_string()
    }
}

impl Tell for Duration {
    fn tell(&self) -> String {
        format_duration(*self).to_string()
    }
}

impl Tell for Burden {
    fn tell(&self) -> String {
        match self {
            Self::RunningPrebuilds(count) | Self::WarmInstances(count) => count.to_string(),
            Self::Creates { count, window } => format!("{count} in {}", format_duration(*window)),
        }
    }
}

impl Tell for Methods {
    fn tell(&self) -> String {
        // There are not so many that they could not all be named.
        selected(self.allow.as_ref().map(|names| names.iter()), self.deny.iter(), usize::MAX)
    }
}

impl Tell for Selection {
    fn tell(&self) -> String {
        selected(self.allow.as_ref().map(|ids| ids.iter()), self.deny.iter(), MAX_NAMED)
    }
}

fn selected<T: Display>(
    allow: Option<impl ExactSizeIterator<Item = T>>,
    deny: impl ExactSizeIterator<Item = T>,
    most: usize,
) -> String {
    let allow = allow.map_or("any".to_owned(), |allow| format!("only {}", names(allow, most)));
    if deny.len() == 0 { allow } else { format!("{allow}, but not {}", names(deny, most)) }
}

fn names<T: Display>(names: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    if names.len() > most {
        return format!("{} ids", names.len());
    }
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
