//! Signs the checkpoints of a log, and brings them to a second place.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::ExposeSecret as _;

use super::{
    Config,
    checkpoint::Checkpoint,
    key::{NotAnOrigin, Origin, SigningKey, VerifierKey},
    read,
    recover::{Kept, Refused},
    tree::Hash,
};
use crate::file::{self, Access, Fault, stable};

#[cfg(test)]
mod tests;

/// Beside the logs, where the config names none.
const KEY: &str = "signing-key.pem";

/// Signs for any log below one directory.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    key: Arc<SigningKey>,
    /// What the logs' names are put behind.
    origin: String,
    /// Where the newest checkpoint of each log stands, in a file of its name.
    checkpoints: Option<PathBuf>,
}

/// Signs for one log.
#[derive(Clone, Debug)]
pub(super) struct LogSigner {
    key: Arc<SigningKey>,
    origin: Origin,
    elsewhere: Elsewhere,
}

/// The second place.
#[derive(Clone, Debug)]
enum Elsewhere {
    /// The gateway's own log.
    Told,
    /// The newest one stands in this file, which is the log's own.
    File(PathBuf),
}

impl Signer {
    /// Makes a key where there is none and the config names none.
    ///
    /// # Errors
    /// It is no key, or others can read it.
    pub(super) fn of(config: &Config) -> io::Result<Self> {
        let key = match &config.signing_key {
            Some(key) => open(&key.file)?,
            None => read_or_make(&config.directory.join(KEY))?,
        };
        if let Some(directory) = &config.checkpoints {
            stable::make_directory(directory)?;
        }
        Ok(Self {
            key: Arc::new(key),
            origin: config.origin.clone(),
            checkpoints: config.checkpoints.clone(),
        })
    }

    pub(super) fn named(&self, log: &str) -> Result<LogSigner, NotAnOrigin> {
        let origin = format!("{}/{log}", self.origin).parse()?;
        let file = self.checkpoints.as_ref().map(|directory| directory.join(log));
        let elsewhere = file.map_or(Elsewhere::Told, Elsewhere::File);
        Ok(LogSigner { key: Arc::clone(&self.key), origin, elsewhere })
    }
}

impl LogSigner {
    /// A checkpoint of so many records.
    pub(super) fn sign(&self, size: u64, root: Hash) -> String {
        Checkpoint { origin: self.origin.clone(), size, root }.sign(&self.key)
    }

    /// What others check the log with.
    pub(super) fn verifier_key(&self) -> VerifierKey {
        VerifierKey::new(self.origin.clone(), self.key.public())
    }

    /// Puts what others check the log with beside it, behind the keys that have signed it before: good for who trusts the
    /// directory.
    pub(super) fn publish(&self, log: &Path) -> io::Result<()> {
        let (path, own) = (log.join(read::KEYS), self.verifier_key().to_string());
        // Whatever else stands there is of no use to anybody.
        let old = read::keys(&path).unwrap_or_default();
        let others = old.lines().filter(|line| *line != own && line.parse::<VerifierKey>().is_ok());
        let new: String = others.chain([&*own]).flat_map(|line| [line, "\n"]).collect();
        if new == old { Ok(()) } else { stable::replace(&path, &new) }
    }

    /// Whether the newest key beside a log is the one that signs here.
    pub(super) fn is_of(&self, log: &Path) -> bool {
        let keys = read::keys(&log.join(read::KEYS)).unwrap_or_default();
        keys.lines().next_back() == Some(&self.verifier_key().to_string())
    }

    /// The newest checkpoint that was brought to a file. It counts for what it says, by whichever key: nobody else can
    /// write there.
    ///
    /// # Errors
    /// The file cannot be read, or has no checkpoint of this log.
    pub(super) fn kept(&self) -> io::Result<Option<Kept>> {
        let Elsewhere::File(path) = &self.elsewhere else { return Ok(None) };
        let note = match file::read_text(path, Access::Open) {
            Err(Fault::Unreadable(io::ErrorKind::NotFound)) => return Ok(None),
            Err(fault) => return Err(io::Error::other(format!("`{}` {fault}", path.display()))),
            Ok(note) => note,
        };
        let log = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let checkpoint = Checkpoint::unverified(&note).ok().filter(|says| says.origin.is_of(log));
        let checkpoint = checkpoint.ok_or_else(|| Refused::not_kept(path.clone()))?;
        Ok(Some(Kept { path: path.clone(), checkpoint }))
    }

    /// Brings a checkpoint to where whoever can write the log may not be able to write. False if it is not there: that is
    /// told, too.
    pub(super) fn tell(&self, note: &str) -> bool {
        match &self.elsewhere {
            Elsewhere::Told => {
                tracing::info!(log = self.origin.as_str(), checkpoint = note, "audit checkpoint");
                true
            }
            Elsewhere::File(path) => {
                let written = stable::replace(path, note);
                if let Err(error) = &written {
                    tracing::error!(error = ?error.to_string(), "an audit checkpoint cannot be written to its second place");
                }
                written.is_ok()
            }
        }
    }
}

fn read_or_make(path: &Path) -> io::Result<SigningKey> {
    if let Err(error) = fs::symlink_metadata(path)
        && error.kind() == io::ErrorKind::NotFound
    {
        let pem = SigningKey::generate().and_then(|key| key.to_pem());
        let pem = pem.map_err(|_| io::Error::other("no key can be made"))?;
        stable::create(path, pem.expose_secret())?;
    }
    open(path)
}

fn open(path: &Path) -> io::Result<SigningKey> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the signing key `{}` {error}", path.display()))
    };
    let pem = file::read(path, Access::Closed).map_err(|fault| invalid(&fault))?;
    SigningKey::from_pem(&pem).map_err(|error| invalid(&error))
}
