//! Why the store gave no answer that can be used.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What is wrong, in kinds that an operator can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Nobody was asked: it is known.
    #[error("there is no good connection")]
    Down,
    #[error("cannot connect, or the connection broke")]
    Connection,
    #[error("no answer in time")]
    Timeout,
    #[error("the server does not take the credentials, or does not permit what is needed")]
    Denied,
    /// A replica, or too few replicas.
    #[error("the server cannot be written")]
    ReadOnly,
    #[error("the server has no memory left")]
    Full,
    #[error("the server is loading its data, or busy")]
    Busy,
    /// Or a part of it.
    #[error("the cluster is down")]
    Cluster,
    #[error("what answers is no server of this kind, or answers what it should not")]
    Garbage,
}

impl Fault {
    /// The label of the metric.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Cluster => "cluster",
            Self::Garbage => "garbage",
        }
    }

    /// What the server said goes nowhere but into its kind: it may repeat what it was sent.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            _ if error.is_timeout() => Self::Timeout,
            ErrorKind::Io => Self::Connection,
            ErrorKind::AuthenticationFailed => Self::Denied,
            ErrorKind::ClusterConnectionNotFound => Self::Cluster,
            ErrorKind::Server(kind) => Self::told(kind),
            _ => Self::coded(error.code()),
        }
    }

    fn told(kind: ServerErrorKind) -> Self {
        match kind {
            ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain => Self::Busy,
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::ClusterDown => Self::Cluster,
            ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly => Self::ReadOnly,
            ServerErrorKind::NoPerm => Self::Denied,
            _ => Self::Garbage,
        }
    }

    /// By the first word of what the server said.
    fn coded(code: Option<&str>) -> Self {
        match code {
            Some("OOM") => Self::Full,
            Some("NOREPLICAS" | "MISCONF" | "READONLY") => Self::ReadOnly,
            Some("BUSY" | "LOADING") => Self::Busy,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Denied,
            _ => Self::Garbage,
        }
    }
}
