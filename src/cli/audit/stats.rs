//! `audit stats`

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{ExitCode, Failure, Instance, Logs, View, print};
use crate::audit::read::{Line, ReadError};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
}

/// What is counted of one log.
#[derive(Default)]
struct Stats {
    records: u64,
    bytes: u64,
    stages: BTreeMap<String, u64>,
    orgs: BTreeMap<String, u64>,
    methods: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
    /// Milliseconds since 1970.
    first: Option<i64>,
    last: i64,
    checkpoint: Option<String>,
    /// Intents without an end, by request id: their sequence numbers.
    open: HashMap<String, u64>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    for instance in args.logs.open()? {
        let stats = Stats::of(&instance)?;
        print(stats.told(&instance))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Stats {
    fn of(instance: &Instance) -> Result<Self, ReadError> {
        let mut stats = Self::default();
        for segment in instance.segments() {
            let mut lines = segment.lines()?;
            while let Line::Record(record) = lines.next()? {
                if let Some(view) = View::of(record).filter(|view| !segment.is_void(view.sequence())) {
                    stats.bytes += record.len() as u64 + 1;
                    stats.count(&view);
                }
            }
        }
        Ok(stats)
    }

    fn count(&mut self, view: &View<'_>) {
        self.records += 1;
        let ends = matches!(view.stage(), "outcome" | "reject" | "recovered");
        if ends {
            self.open.remove(view.request_id());
        } else if view.stage() == "intent" {
            self.open.insert(view.request_id().to_owned(), view.sequence());
        }
        for (counts, value) in [
            (&mut self.stages, view.stage()),
            (&mut self.orgs, view.org()),
            // Of a call that has two records, its end.
            (&mut self.methods, if ends { view.method() } else { "" }),
            (&mut self.codes, if ends { view.code() } else { "" }),
        ] {
            match counts.get_mut(value) {
                Some(count) => *count += 1,
                None if value.is_empty() => {}
                None => drop(counts.insert(value.to_owned(), 1)),
            }
        }
        if view.time > 0 {
            self.first = self.first.map(|first| first.min(view.time)).or(Some(view.time));
            self.last = self.last.max(view.time);
        }
        self.checkpoint = view.checkpoint().map(str::to_owned).or_else(|| self.checkpoint.take());
    }

    fn told(&self, instance: &Instance) -> String {
        let mut text = format!("{}\n", instance.name());
        let mut line = |what: &str, value: String| text += &format!("  {what:<12} {value}\n");
        line("records", self.records.to_string());
        line("bytes", format!("{} in {} files", self.bytes, instance.segments().len()));
        if let Some(first) = self.first {
            line("time", format!("{} to {}", rfc3339(first), rfc3339(self.last)));
        }
        if let Some(checkpoint) = &self.checkpoint {
            let size = checkpoint.lines().nth(1).unwrap_or_default();
            line("checkpoint", format!("of {size} records"));
        }
        let oldest = self.open.values().min();
        let oldest = oldest.map(|oldest| format!(", the oldest is record {oldest}")).unwrap_or_default();
        line("open intents", format!("{}{oldest}", self.open.len()));
        let tables = [
            ("by stage", &self.stages),
            ("by org", &self.orgs),
            ("by method", &self.methods),
            ("by code", &self.codes),
        ];
        for (name, counts) in tables.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            line(name, String::new());
            counts.iter().for_each(|(value, count)| line("", format!("{count:>10}  {value}")));
        }
        text
    }
}

fn rfc3339(millis: i64) -> String {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    let time = UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    // Beyond the year 9999 there is no such form.
    if millis < 253_402_300_800_000 {
        humantime::format_rfc3339_millis(time).to_string()
    } else {
        "?".to_owned()
    }
}
