//! Signs the checkpoints of a log, and brings them to a second place.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::ExposeSecret as _;

use super::{
    Config,
    checkpoint::Checkpoint,
    key::{NotAnOrigin, Origin, SigningKey, VerifierKey},
    tree::Hash,
};
use crate::file::{self, Access};

/// Beside the logs, where the config names none.
const KEY: &str = "signing-key.pem";

/// Signs for any log below one directory.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    key: Arc<SigningKey>,
    /// What the logs' names are put behind.
    origin: String,
    elsewhere: Elsewhere,
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
    /// The newest one stands in this file.
    File(PathBuf),
}

impl Signer {
    /// Makes a key where there is none and the config names none.
    ///
    /// # Errors
    /// It is no key, or others can read it.
    pub(super) fn of(config: &Config) -> io::Result<Self> {
        let key = match &config.signing_key {
            Some(key) => read(&key.file)?,
            None => read_or_make(&config.directory.join(KEY))?,
        };
        let elsewhere = config.checkpoints.clone().map_or(Elsewhere::Told, Elsewhere::File);
        Ok(Self { key: Arc::new(key), origin: config.origin.clone(), elsewhere })
    }

    pub(super) fn named(&self, log: &str) -> Result<LogSigner, NotAnOrigin> {
        let origin = format!("{}/{log}", self.origin).parse()?;
        Ok(LogSigner { key: Arc::clone(&self.key), origin, elsewhere: self.elsewhere.clone() })
    }
}

impl LogSigner {
    /// A checkpoint of so many records.
    pub(super) fn sign(&self, size: u64, root: Hash) -> String {
        Checkpoint { origin: self.origin.clone(), size, root }.sign(&self.key)
    }

    /// What others check the log with.
    pub(super) fn verifier_key(&self) -> String {
        format!("{}\n", VerifierKey::new(self.origin.clone(), self.key.public()))
    }

    /// Brings a checkpoint to where whoever can write the log may not be able to write.
    pub(super) fn tell(&self, note: &str) {
        match &self.elsewhere {
            Elsewhere::Told => {
                tracing::info!(log = self.origin.as_str(), checkpoint = note, "audit checkpoint");
            }
            Elsewhere::File(path) => {
                if let Err(error) = replace(path, note) {
                    tracing::error!(%error, "an audit checkpoint cannot be written to its second place");
                }
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
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
        match file {
            Ok(mut file) => {
                file.write_all(pem.expose_secret().as_bytes())?;
                file.sync_all()?;
            }
            // Another process was there before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    read(path)
}

fn read(path: &Path) -> io::Result<SigningKey> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the signing key `{}` {error}", path.display()))
    };
    let pem = file::read(path, Access::Closed).map_err(|fault| invalid(&fault))?;
    SigningKey::from_pem(&pem).map_err(|error| invalid(&error))
}

/// Whoever reads it finds the last one or this one, whole.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, text)?;
    fs::rename(&new, path)
}
