//! The gateway as a whole: started in process from a config, called over real sockets, in front of a scripted
//! upstream or the sandbox. One file per behaviour.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod drain;
mod dry_run;
#[cfg(test)]
mod guardrails;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod health;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod log_urls;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod pool_race;
#[cfg(test)]
mod protocols;
#[cfg(test)]
mod rates;
#[cfg(test)]
mod records;
#[cfg(test)]
mod reflection;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tenancy;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upstream_tokens;
