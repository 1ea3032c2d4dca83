//! The listener's settings. Every limit has a value: there is no "unlimited".

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// With the connections to upstream and the files this stays under the 1,024 file descriptors that a process gets
/// where nobody raised the limit.
const MAX_CONNECTIONS: usize = 800;
/// The value that RFC 9113 advises not to go below: a client that multiplexes well needs no second connection.
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// h2's own default: resets that arrive faster than streams are accepted have no honest cause.
const MAX_PENDING_RESET_STREAMS: usize = 20;
/// Protocol errors on single streams are answered this often, then the connection ends. hyper's default is 1,024, but
/// a client that errs this often is broken or hostile.
const MAX_LOCAL_ERROR_RESET_STREAMS: usize = 128;
/// Twice gRPC's customary 8 KiB of metadata.
const MAX_HEADER_LIST_SIZE: u32 = 16 * 1024;
/// The smallest that HTTP/2 allows, and the default of every implementation.
const MAX_FRAME_SIZE: u32 = 16 * 1024;
/// A list of 100 objects fits.
const MAX_SEND_BUFFER_SIZE: u32 = 256 * 1024;
/// A request message is 64 KiB at most: it passes without waiting for a window update.
const INITIAL_STREAM_WINDOW: u32 = 128 * 1024;
/// What one connection can make the gateway hold in request bytes.
const INITIAL_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Plenty for a handshake across the world.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// hyper counts the wait for the next HTTP/1 request too, so it is longer than the 60 s that load balancers keep idle
/// connections: they then close first, and no request meets a closing connection.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
/// Longer than a client's pause between polls of a build.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Below the 60 s after which NATs and load balancers forget a flow.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Short enough for a new replica to get its share within the hour, long enough not to be felt.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);
/// More than the longest deadline (5 min): growing old cuts no call.
const MAX_CONNECTION_AGE_GRACE: Duration = Duration::from_secs(6 * 60);
/// Several round trips, also across the world.
const LINGER: Duration = Duration::from_secs(5);
/// Kubernetes kills after 30 s; the rest is for closing the audit log.
const GRACE: Duration = Duration::from_secs(25);

/// The smallest read buffer that hyper accepts for HTTP/1 heads.
const LEAST_HEADER_LIST_SIZE: u32 = 8 * 1024;
/// RFC 9113, section 6.5.2.
const FRAME_SIZES: std::ops::RangeInclusive<u32> = 16_384..=16_777_215;
/// RFC 9113, section 6.9.1.
const MAX_WINDOW: u32 = i32::MAX.unsigned_abs();
/// "Never" for practical purposes, and no clock overflows.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Limits and timeouts of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether callers may speak plaintext to an address that is not loopback. Only the config's checks read it.
    pub plaintext: bool,
    /// Open connections, at least 1. Further ones are closed at once.
    pub max_connections: usize,
    /// HTTP/2 streams open at once on a connection, at least 1. Further ones are refused.
    pub max_concurrent_streams: u32,
    /// HTTP/2 streams that a client may reset before they were looked at; one more ends the connection.
    pub max_pending_reset_streams: usize,
    /// HTTP/2 streams that the gateway may have to reset for a client's errors; one more ends the connection.
    pub max_local_error_reset_streams: usize,
    /// Bytes of a request's headers, at least 8192.
    pub max_header_list_size: u32,
    /// Bytes of an HTTP/2 frame, 16384 to 16777215.
    pub max_frame_size: u32,
    /// Bytes of an answer buffered per HTTP/2 stream, at least 1.
    pub max_send_buffer_size: u32,
    /// Bytes of a request that may be under way per HTTP/2 stream, 1 to 2147483647.
    pub initial_stream_window: u32,
    /// Bytes of requests that may be under way per HTTP/2 connection, 65535 to 2147483647.
    pub initial_connection_window: u32,
    /// From the accepted connection to the headers of its first request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub first_request_timeout: Duration,
    /// HTTP/1: from the end of a request to the whole headers of the next one.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub header_read_timeout: Duration,
    /// How long a connection may have no request in flight.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// HTTP/2: a PING after this time without a frame from the client.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keepalive_interval: Duration,
    /// How long the answer to that PING may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub keepalive_timeout: Duration,
    /// After this time, varied by 10 % either way, the client is asked to open a new connection.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_connection_age: Duration,
    /// How long the requests in flight on an old or idle connection may then still take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_connection_age_grace: Duration,
    /// How long a connection that was asked to go, and has nothing in flight, may stay.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub linger: Duration,
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long the requests in flight may take once the process was told to stop.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub grace: Duration,
}

/// A setting that cannot be served with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct Invalid {
    /// The key, without the section that the settings stand in.
    pub key: &'static str,
    pub problem: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            plaintext: false,
            max_connections: MAX_CONNECTIONS,
            max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            max_pending_reset_streams: MAX_PENDING_RESET_STREAMS,
            max_local_error_reset_streams: MAX_LOCAL_ERROR_RESET_STREAMS,
            max_header_list_size: MAX_HEADER_LIST_SIZE,
            max_frame_size: MAX_FRAME_SIZE,
            max_send_buffer_size: MAX_SEND_BUFFER_SIZE,
            initial_stream_window: INITIAL_STREAM_WINDOW,
            initial_connection_window: INITIAL_CONNECTION_WINDOW,
            first_request_timeout: FIRST_REQUEST_TIMEOUT,
            header_read_timeout: HEADER_READ_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            max_connection_age: MAX_CONNECTION_AGE,
            max_connection_age_grace: MAX_CONNECTION_AGE_GRACE,
            linger: LINGER,
        }
    }
}

impl Config {
    /// Holds every setting against its bounds; hyper and h2 would panic on some of them, at the first connection.
    ///
    /// # Errors
    /// A setting is out of its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        let windows = 1..=MAX_WINDOW;
        let connection_windows = 65_535..=MAX_WINDOW;
        let places = 1..=tokio::sync::Semaphore::MAX_PERMITS;
        let holds = [
            (places.contains(&self.max_connections), "max_connections", "must be at least 1"),
            (self.max_concurrent_streams >= 1, "max_concurrent_streams", "must be at least 1"),
            (
                self.max_header_list_size >= LEAST_HEADER_LIST_SIZE,
                "max_header_list_size",
                "must be at least 8192",
            ),
            (FRAME_SIZES.contains(&self.max_frame_size), "max_frame_size", "must be 16384 to 16777215"),
            (self.max_send_buffer_size >= 1, "max_send_buffer_size", "must be at least 1"),
            (
                windows.contains(&self.initial_stream_window),
                "initial_stream_window",
                "must be 1 to 2147483647",
            ),
            (
                connection_windows.contains(&self.initial_connection_window),
                "initial_connection_window",
                "must be 65535 to 2147483647",
            ),
        ];
        for (good, key, problem) in holds {
            if !good {
                return Err(Invalid { key, problem });
            }
        }
        self.times().into_iter().try_for_each(|(key, time)| check_time(key, time))
    }

    fn times(&self) -> [(&'static str, Duration); 8] {
        [
            ("first_request_timeout", self.first_request_timeout),
            ("header_read_timeout", self.header_read_timeout),
            ("idle_timeout", self.idle_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("max_connection_age", self.max_connection_age),
            ("max_connection_age_grace", self.max_connection_age_grace),
            ("linger", self.linger),
        ]
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: GRACE }
    }
}

impl Shutdown {
    /// # Errors
    /// The grace is out of its bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        check_time("grace", self.grace)
    }
}

fn check_time(key: &'static str, time: Duration) -> Result<(), Invalid> {
    if time.is_zero() || time > MAX_TIME {
        return Err(Invalid { key, problem: "must be above 0 and at most a year" });
    }
    Ok(())
}
