//! The bounds of the API, in one place.

use std::time::Duration;

/// A prebuild may run at most this long.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// What upstream takes where none is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The official schema alone asks for at least this much.
pub const STRICTER_MIN_TIMEOUT: Duration = Duration::from_secs(300);
/// Instances of one pool.
pub const MIN_POOL_SIZE: i32 = 0;
pub const MAX_POOL_SIZE: i32 = 20;
/// The official schema alone asks for `max_size` and `desired_size` of at least this.
pub const STRICTER_MIN_POOL_SIZE: i32 = 1;
/// Items of one page; 0 stands for the default.
pub const MAX_PAGE_SIZE: i32 = 100;
/// What upstream takes where none is said.
pub const DEFAULT_PAGE_SIZE: i32 = 25;
/// Ids in one filter.
pub const MAX_FILTER_IDS: usize = 25;
pub const MAX_FILTER_PHASES: usize = 10;
pub const MAX_FILTER_TRIGGERS: usize = 5;
