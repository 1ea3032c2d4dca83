//! What comes of a replay: as a table for people, as JSON for machines.

use std::{fmt::Write as _, time::SystemTime};

use humantime::{format_rfc3339_micros, format_rfc3339_seconds};
use serde_json::{Value, json};

use super::sums::{Flip, Group, Left, Members, Sums};
use crate::rule::Version;

/// Columns of the table.
const HEAD: [&str; 8] = ["now", "org", "rule", "caller", "calls", "first", "last", "example"];
/// Of numbers, which stand to the right.
const CALLS: usize = 4;
const NO_RECORD: &str = "calls of audit level none have left no record, and are in no number here\n";

impl Flip<'_> {
    /// A line.
    pub(super) fn json(&self) -> String {
        let Self { call, now, rule } = self;
        let flip = json!({ "flip": {
            "request_id": call.request.to_string(),
            "time": shown(call.at),
            "org": call.org.as_str(),
            "subject": call.subject.as_str(),
            "method": call.method.name,
            "now": now.as_str(),
            "rule": rule,
        } });
        format!("{flip}\n")
    }
}

impl Sums {
    /// A line.
    pub(super) fn json(&self, policy: &Version) -> String {
        let groups: Vec<_> = self.groups.iter().map(|(group, members)| group.json(members)).collect();
        let sums = json!({
            "policy": policy.as_str(),
            "judged": self.judged,
            "flips": { "refused": self.refused, "allowed": self.allowed },
            "groups": groups,
            "flips_of_further_groups": self.beyond,
            "not_judged": self.left.json(),
        });
        format!("{sums}\n")
    }

    pub(super) fn text(&self, policy: &Version) -> String {
        let mut text = if self.groups.is_empty() { String::new() } else { table(&self.rows()) };
        // Writing to a string does not fail.
        if self.beyond > 0 {
            let _ = writeln!(text, "and {} flips of further callers", self.beyond);
        }
        let Self { judged, refused, allowed, left, .. } = self;
        let kept = judged - self.flips();
        let _ = writeln!(
            text,
            "policy {policy}: {judged} calls judged, {kept} as before, {refused} refused now, {allowed} allowed now"
        );
        for (count, why) in left.rows() {
            let _ = writeln!(text, "not judged: {count:>8}  {why}");
        }
        text + NO_RECORD
    }

    fn rows(&self) -> Vec<[String; 8]> {
        let head = HEAD.map(str::to_owned);
        let rows = self.groups.iter().map(|(group, members)| {
            [
                group.now.as_str().to_owned(),
                plain(group.org.as_str()),
                plain(&group.rule),
                plain(group.subject.as_str()),
                members.count.to_string(),
                format_rfc3339_seconds(members.first).to_string(),
                format_rfc3339_seconds(members.last).to_string(),
                members.example.to_string(),
            ]
        });
        std::iter::once(head).chain(rows).collect()
    }
}

impl Group {
    fn json(&self, members: &Members) -> Value {
        json!({
            "org": self.org.as_str(),
            "rule": self.rule,
            "subject": self.subject.as_str(),
            "now": self.now.as_str(),
            "count": members.count,
            "first": shown(members.first),
            "last": shown(members.last),
            "request_id": members.example.to_string(),
        })
    }
}

impl Left {
    fn json(&self) -> Value {
        json!({
            "before_rules": self.before,
            "folded": self.folded,
            "missing": self.missing,
            "dry_run": self.dry_runs,
            "object_not_on_record": self.object,
            "org_not_in_config": self.org,
            "unreadable": self.unreadable,
        })
    }

    /// Those that there are.
    fn rows(&self) -> Vec<(u64, String)> {
        let before = self.before.iter().map(|(cause, count)| (*count, format!("{cause}, before the rules")));
        let others = [
            (self.folded, "refusals that are folded into counts"),
            (self.missing, "missing from the log: it tells of a gap"),
            (self.dry_runs, "dry runs"),
            (self.object, "about an object that is not on record, and that the candidate judges"),
            (self.org, "of orgs that the configuration does not have"),
            (self.unreadable, "with a record that this version cannot read"),
        ];
        let others = others.into_iter().map(|(count, why)| (count, why.to_owned()));
        before.chain(others).filter(|(count, _)| *count > 0).collect()
    }
}

/// Each column as wide as its widest value.
fn table(rows: &[[String; 8]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match (column, width(column)) {
            (CALLS, width) => format!("{cell:>width$}"),
            (_, width) => format!("{cell:<width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn shown(time: SystemTime) -> String {
    format_rfc3339_micros(time).to_string()
}

/// A log is not trusted: nothing of it moves the cursor of a terminal.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(visible).collect()
}
