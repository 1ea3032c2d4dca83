//! `audit replay`

use std::{collections::HashSet, time::UNIX_EPOCH};

use uuid::Uuid;

use super::{
    Begin, EXIT_BAD, ExitCode, Failure, Found, Joined, Logs, PathBuf, Recorded, Unjudged, View, Word,
    complain, find, print,
};
use crate::{
    call::RequestId,
    cli::{
        EX_USAGE,
        trial::{Attempt, Bench, Untold},
    },
    config::Config,
    gateway::Decided,
    policy::Policy,
};

mod sums;
mod told;

use sums::{Flip, Now, Sums};

/// What rules said of a call is held against what the candidate says of it: typed limits and rules in Cedar. Rates, places
/// in flight and budgets are not: nothing here knows what was used up.
///
/// A call flips if its rules let it pass and the candidate refuses it, or the other way round. What became of it
/// otherwise makes no difference: one that rules let pass and that a budget, the disk or upstream then refused flips
/// if the candidate refuses it. One that was refused before rules had a word (no credential, rate, scope, the API's own
/// bounds, another org's object) is not judged, nor are dry runs, refusals that are folded into counts, and calls by id
/// whose object the candidate judges and the recording policy did not. Calls of audit level none have left no record.
///
/// The candidate judges by what is on record: the request as the caller sent it, its caller with scopes and address, the
/// object that it is about, the time, and the request id, by which shares are drawn. What the recording policy has
/// written into a request is taken out before. The log is not checked: that is what `audit verify` does.
///
/// Exit code 0 if no call flips, 1 if any does, 2 if the command line is wrong or the log cannot be read, 78 if the
/// configuration or the candidate is no good.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    /// The configuration, for its orgs and for what is enforced beside the policy. Its credentials need not be there.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The candidate: a policy file, with the files of rules that it names.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Calls of this org only.
    #[arg(long)]
    org: Option<String>,
    /// Calls from then on, by RFC 3339; or a duration ago: `90min`.
    #[arg(long, value_name = "TIME", value_parser = find::time)]
    since: Option<i64>,
    /// Calls before then.
    #[arg(long, value_name = "TIME", value_parser = find::time)]
    until: Option<i64>,
    /// Print JSON: a line for each call that flips, and one at the end with the sums.
    #[arg(long)]
    json: bool,
}

/// What is known so far.
struct Replay<'a> {
    args: &'a Args,
    bench: Bench,
    sums: Sums,
    /// Calls that were judged by their intents, until their ends have been read.
    open: HashSet<RequestId>,
}

pub(super) async fn run(args: &Args) -> Result<ExitCode, Failure> {
    let replayed = replay(args).await;
    // 1 is for flips alone.
    replayed.map_err(|failure| match failure.code {
        EXIT_BAD => Failure { code: EX_USAGE, ..failure },
        _ => failure,
    })
}

async fn replay(args: &Args) -> Result<ExitCode, Failure> {
    let config = Config::load(&args.config).map_err(Failure::config)?;
    let edition = config.policy_of(&args.policy).map_err(Failure::config)?;
    let version = edition.version().clone();
    let bench = Bench::new(Policy::new(edition), &config);
    let mut replay = Replay { args, bench, sums: Sums::default(), open: HashSet::new() };
    for found in Joined::of(&args.logs.open()?, |view: &View<'_>, _: &[u8]| args.concerns(view))? {
        replay.take(&found?).await?;
    }
    let sums = &replay.sums;
    print(if args.json { sums.json(&version) } else { sums.text(&version) })?;
    if sums.judged == 0 {
        complain("prebuild-gateway: no call on record could be judged\n");
    }
    Ok(if sums.flips() == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_BAD) })
}

impl Args {
    /// Of a gap nobody knows whose calls are missing.
    fn concerns(&self, view: &View<'_>) -> bool {
        let is_of_org = self.org.as_deref().is_none_or(|org| org == view.org());
        match view.stage() {
            // What is not told apart may be any org's.
            "aggregate" => is_of_org || view.org().is_empty(),
            "intent" | "outcome" | "reject" | "recovered" => is_of_org,
            "gap" => true,
            _ => false,
        }
    }

    /// In milliseconds since 1970.
    fn is_within(&self, time: i64) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
    }
}

impl Replay<'_> {
    async fn take(&mut self, found: &Found) -> Result<(), Failure> {
        match Begin::parse(&found.record).map(|begin| begin.stage) {
            Some("intent") => {
                // Where it cannot be read its end may be: of one call both say the same.
                if let Ok(call) = Recorded::of(&found.record) {
                    self.open.insert(call.request);
                    self.call(call).await?;
                }
            }
            Some("outcome" | "reject") => match Recorded::of(&found.record) {
                Ok(call) if !self.open.remove(&call.request) => self.call(call).await?,
                Ok(_) => {}
                Err(unjudged) => self.leave(found, unjudged),
            },
            Some("recovered") => drop(request(found).map(|request| self.open.remove(&request))),
            Some(stage) => self.count(found, stage),
            None => {}
        }
        Ok(())
    }

    /// Of a call that was judged by its intent, its end is no other call.
    fn leave(&mut self, found: &Found, unjudged: Unjudged) {
        let is_open = request(found).is_some_and(|request| self.open.remove(&request));
        if !is_open && self.args.is_within(found.time) {
            self.sums.left.add(unjudged);
        }
    }

    /// What stands for many.
    fn count(&mut self, found: &Found, stage: &str) {
        let count = View::of(&found.record).map_or(0, |view| view.count());
        match stage {
            _ if !self.args.is_within(found.time) => {}
            "aggregate" => self.sums.left.folded += count,
            _ => self.sums.left.missing += count,
        }
    }

    async fn call(&mut self, call: Recorded) -> Result<(), Failure> {
        let since = call.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if !self.args.is_within(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)) {
            return Ok(());
        }
        let Some(attempt) = attempt(&call) else {
            self.sums.left.unreadable += 1;
            return Ok(());
        };
        match self.bench.decide(attempt).await {
            Ok(decided) => self.compare(&call, decided)?,
            Err(Untold::Org(_)) => self.sums.left.org += 1,
            Err(Untold::Object(_)) => self.sums.left.object += 1,
            Err(Untold::Request | Untold::Failed(_)) => self.sums.left.unreadable += 1,
        }
        Ok(())
    }

    fn compare(&mut self, call: &Recorded, decided: Decided) -> Result<(), Failure> {
        self.sums.judged += 1;
        let (now, rule) = match (&call.word, decided) {
            (Word::Passed, Decided::Passed) => return Ok(()),
            (Word::Passed, Decided::Refused(rule) | Decided::Before(rule)) => (Now::Refused, rule),
            (Word::Refused(rule), Decided::Passed) => (Now::Allowed, rule.clone()),
            (Word::Refused(_), Decided::Refused(_) | Decided::Before(_)) => return Ok(()),
        };
        let flip = Flip { call, now, rule: &rule };
        self.sums.add(&flip);
        if self.args.json { print(flip.json()) } else { Ok(()) }
    }
}

/// The call once more; none, if no request says what is on record of it.
fn attempt(call: &Recorded) -> Option<Attempt> {
    let said = call.facts.as_said();
    let request = call.method.state(&said);
    let (_, stated) = call.method.decode(&request).ok()?;
    (stated == said).then(|| Attempt {
        org: call.org.clone(),
        subject: call.subject.clone(),
        scopes: call.scopes.clone(),
        method: call.method,
        request,
        object: call.facts.resource.clone(),
        client: call.peer,
        protocol: call.protocol,
        time: Some(call.at),
        id: Uuid::from_u128(call.request.as_u128()),
    })
}

fn request(found: &Found) -> Option<RequestId> {
    RequestId::try_from(View::of(&found.record)?.request_id().to_owned()).ok()
}
