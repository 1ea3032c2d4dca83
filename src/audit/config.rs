//! `[audit]`

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{key::Origin, level::Levels, ship};

/// Read whole at start, so that it bounds how long that takes.
const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
const DEFAULT_SEGMENT_AGE: Duration = Duration::from_secs(24 * 3600);
/// Of a policy with low rates: at some 3 KiB a mutation that is one a second for a month.
const DEFAULT_KEEP_BYTES: u64 = 8 << 30;
/// What auditors ask for is a year, and some time to ask.
const DEFAULT_KEEP_AGE: Duration = Duration::from_secs(400 * 24 * 3600);

/// About what a record takes at level `metadata`; at the others the messages come on top, up to 16 KiB a record.
const RECORD_BYTES: f64 = 1536.0;
/// Its intent and its outcome.
const RECORDS_OF_A_CHANGE: f64 = 2.0;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// With `-100` behind it, it is a file's name; with the origin before it, a key's.
const MAX_INSTANCE: usize = 200;
const MAX_ORIGIN: usize = 50;

/// `[audit]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the logs live, one in a directory of its own for each instance; created if it is not there.
    pub directory: PathBuf,
    /// The name of this instance, and of its directory: letters, digits, `.`, `_` and `-`. By default the host's.
    #[serde(default = "host_name")]
    pub instance: String,
    /// Signs checkpoints: a file with an Ed25519 key (PKCS #8, PEM), closed to others. By default `signing-key.pem` beside
    /// the logs, made at the first start: whoever can write there can also sign.
    pub signing_key: Option<KeyFile>,
    /// What checkpoints name the logs by, with `/<instance>` behind it: best a name that nobody else uses.
    #[serde(default = "default_origin")]
    pub origin: String,
    /// The newest checkpoint of each log also stands in this directory, which must not be in `directory`, in a file of the
    /// log's name; a log that is not what it says is not gone on with. By default it is in the gateway's own log.
    pub checkpoints: Option<PathBuf>,
    /// Where the keys of keyed hashes are; by default `hash-keys` in the directory, made if it is not there.
    pub hash_keys: Option<KeyFile>,
    /// How much records tell.
    #[serde(default)]
    pub level: Levels,
    /// Whether reads go on while the log cannot be written. Those that are answered then are missing from it, and counted
    /// in a gap record.
    #[serde(default)]
    pub reads_pass: bool,
    /// A file of more bytes is closed, and a new one begun: from 1 MiB to 256 MiB.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,
    /// So is one that is older: from 1min to 30d.
    #[serde(default = "default_segment_age", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub segment_age: Duration,
    /// Of more bytes than this the oldest files are removed: at least four times `segment_bytes`, and what a day takes at
    /// the rates of the policy. By default that, and at least 8 GiB.
    pub keep_bytes: Option<u64>,
    /// Files that are older are removed: at least 1d.
    #[serde(default = "default_keep_age", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keep_age: Duration,
    /// Where the records also go, from the log itself. What not every one of these has taken is not removed.
    #[serde(default)]
    pub ship: Vec<ship::Config>,
}

/// Where keys are. The config itself never holds one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The file with the keys; closed to others.
    pub file: PathBuf,
}

impl Config {
    /// With defaults for the rest.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            instance: host_name(),
            signing_key: None,
            origin: default_origin(),
            checkpoints: None,
            hash_keys: None,
            level: Levels::default(),
            reads_pass: false,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            segment_age: DEFAULT_SEGMENT_AGE,
            keep_bytes: None,
            keep_age: DEFAULT_KEEP_AGE,
            ship: Vec::new(),
        }
    }

    /// The least that is to be kept of a log: what `reads` and `changes` per second make of it in a day.
    pub fn day(reads: f64, changes: f64) -> u64 {
        let records = reads + RECORDS_OF_A_CHANGE * changes;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of floats saturates"
        )]
        let bytes = (records * RECORD_BYTES * DAY.as_secs_f64()) as u64;
        bytes
    }

    /// Where `keep_bytes` does not say it.
    pub fn kept_by_default(day: u64) -> u64 {
        day.max(DEFAULT_KEEP_BYTES)
    }

    /// Whether the instance's name is good for a directory, and for a line of JSON.
    pub fn has_instance(&self) -> bool {
        is_instance(&self.instance)
    }

    /// Whether the origin is good for the name of a key, whatever the instance is.
    pub fn has_origin(&self) -> bool {
        (1..=MAX_ORIGIN).contains(&self.origin.len()) && self.origin.parse::<Origin>().is_ok()
    }
}

/// A host's name may have other characters than a directory is to have here.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    if is_instance(&name) { name } else { "gateway".to_owned() }
}

fn is_instance(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_INSTANCE).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_good)
}

fn default_origin() -> String {
    "prebuild-gateway".to_owned()
}

fn default_segment_bytes() -> u64 {
    DEFAULT_SEGMENT_BYTES
}

fn default_segment_age() -> Duration {
    DEFAULT_SEGMENT_AGE
}

fn default_keep_age() -> Duration {
    DEFAULT_KEEP_AGE
}
