//! `audit find`

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use super::{ExitCode, Failure, Joined, Logs, View, show};
use crate::audit::{hash::Keys, record::ascii};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    logs: Logs,
    #[arg(long)]
    org: Option<String>,
    #[arg(long)]
    subject: Option<String>,
    /// With or without the service: `CreatePrebuild`.
    #[arg(long)]
    method: Option<String>,
    /// intent, outcome, reject and so on.
    #[arg(long)]
    stage: Option<String>,
    /// A gRPC status code: `NOT_FOUND`.
    #[arg(long)]
    code: Option<String>,
    /// From then on, by RFC 3339; or a duration ago: `90min`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<i64>,
    /// Before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Records with this value, in clear or as a keyed hash. An id is found in either case of its digits.
    #[arg(long)]
    value: Option<String>,
    /// The keys of keyed hashes; by default `hash-keys` beside the logs, if it is there.
    #[arg(long, value_name = "FILE", requires = "value")]
    hash_keys: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let needles = args.value.as_deref().map(|value| args.needles(value)).transpose()?;
    let wanted = |view: &View<'_>, record: &[u8]| {
        let has_value =
            needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.is_in(record)));
        has_value && args.fits(view)
    };
    for found in Joined::of(&args.logs.open()?, wanted)? {
        if !show([&found?])? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is looked for in a record.
struct Needle {
    /// Of its JSON.
    bytes: Vec<u8>,
    /// Callers write the digits of ids as they like.
    is_id: bool,
}

impl Needle {
    fn is_in(&self, record: &[u8]) -> bool {
        let mut windows = record.windows(self.bytes.len());
        match self.is_id {
            true => windows.any(|window| window.eq_ignore_ascii_case(&self.bytes)),
            false => windows.any(|window| window == self.bytes),
        }
    }
}

impl Args {
    /// What a record has that has this value.
    fn needles(&self, value: &str) -> Result<Vec<Needle>, Failure> {
        let digests = self.keys()?.map(|keys| keys.digests(value)).unwrap_or_default();
        let needle = |text: &str, is_id| Needle { bytes: ascii::quoted(text), is_id };
        let clear = needle(value, Uuid::try_parse(value).is_ok());
        Ok(digests.iter().map(|digest| needle(digest, false)).chain([clear]).collect())
    }

    fn keys(&self) -> Result<Option<Keys>, Failure> {
        let read = |path: &Path| Keys::read(path).map(Some).map_err(Failure::usage);
        if let Some(path) = &self.hash_keys {
            return read(path);
        }
        // The logs' directory, or that of one of them.
        let directory = &self.logs.directory;
        let places = [Some(&**directory), directory.parent()];
        let beside = places.into_iter().flatten().map(Keys::beside).find(|path| path.exists());
        beside.map_or(Ok(None), |path| read(&path))
    }

    fn fits(&self, view: &View<'_>) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let name = view.method().rsplit('/').next().unwrap_or_default();
        is(&self.org, view.org())
            && is(&self.subject, view.subject())
            && (is(&self.method, view.method()) || is(&self.method, name))
            && is(&self.stage, view.stage())
            && is(&self.code, view.code())
            && is(&self.request_id, view.request_id())
            && self.since.is_none_or(|since| since <= view.time)
            && self.until.is_none_or(|until| view.time < until)
    }
}

/// Milliseconds since 1970.
pub(super) fn time(text: &str) -> Result<i64, String> {
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    let time = match humantime::parse_rfc3339_weak(text) {
        Ok(time) => Some(time),
        Err(_) => humantime::parse_duration(text).ok().and_then(ago),
    };
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    millis.ok_or_else(|| "is neither a time (2026-07-01T12:00:00Z) nor a duration (90min)".to_owned())
}
