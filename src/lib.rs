//! prebuild-gateway: the guardrail endpoint in front of the Prebuild API of Gitpod/Ona.
//!
//! The way of a call is written out in [`gateway`]: two stacks of tower layers, one over HTTP, one over decoded calls.
//! This is the map of the rooms. A room imports only from lower levels; `tests/architecture.rs` holds the code to it.
//!
//! | level | rooms |
//! |---|---|
//! | 10 | [`cli`]: one file per command |
//! | 9 | [`app`]: the running process, started in order and drained in the reverse one |
//! | 8 | [`config`]: every room's section, checked whole · [`admin`]: health, readiness, metrics |
//! | 7 | [`server`]: the hardened listener · [`sandbox`]: an upstream in memory, for `dev` and tests |
//! | 6 | [`gateway`]: the way of a call |
//! | 5 | [`front`]: protocols to calls and errors to bytes · [`upstream`]: permitted calls to Connect JSON and back |
//! | 4 | the stages, which never name each other: [`identity`], [`limit`], [`policy`], [`budget`], [`audit`] |
//! | 3 | [`connect`]: the Connect wire format, and the JSON transcoder · [`follow`]: files read again when they change |
//! | 2 | [`call`]: one call, in no protocol · [`stack`]: a stage as a tower layer · [`telemetry`] |
//! | 1 | [`rpc`]: the method table · [`error`] · [`file`]: files that the config names · [`rule`]: what all rules and limits have in common |
//! | 0 | [`proto`]: the generated code |
//!
//! A new RPC is the proto, a row in [`rpc`] and its facts. A new stage is a module and a line in [`gateway`].

pub mod admin;
pub mod app;
pub mod audit;
pub mod budget;
pub mod call;
pub mod cli;
pub mod config;
pub mod connect;
pub mod error;
pub mod file;
pub mod follow;
pub mod front;
pub mod gateway;
pub mod identity;
pub mod limit;
pub mod policy;
pub mod proto;
pub mod rpc;
pub mod rule;
pub mod sandbox;
pub mod server;
pub mod stack;
pub mod store;
pub mod telemetry;
pub mod upstream;
