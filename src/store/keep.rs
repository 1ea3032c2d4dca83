//! Keeps a good connection to the store: makes one, tries it, watches it, and makes another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Fault, Shared, Store, key, link::Link};
use crate::call::OrgId;

/// A passing trouble must not last longer for the calls than it is.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How late it is seen that the store is there again; what each replica may do meanwhile is its part of the limit.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that was good for so long was good.
const STEADY: Duration = Duration::from_secs(5);
/// How often the store is tried while nobody uses it, so that readiness and metrics tell the truth.
const LOOK: Duration = Duration::from_secs(1);
/// Whose key is tried before any org had trouble. No org has this name: ids have no slash.
const NOBODY: &str = "/";
/// The key that is written to try it.
const TRIAL: &str = "trial";

/// Never ends.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match open(&shared).await {
            Ok(link) => {
                let link = Arc::new(link);
                let since = Instant::now();
                shared.gain(link.clone());
                watch(&shared, &link).await;
                if since.elapsed() >= STEADY {
                    pause = FIRST_PAUSE;
                }
            }
            Err(fault) => {
                shared.metrics.limit_store_failed(fault.kind());
                shared.trouble().fault = Some(fault);
                tracing::debug!(kind = fault.kind(), "the store of limits is still not to be had: {fault}");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn open(shared: &Shared) -> Result<Link, Fault> {
    let link = Link::connect(&shared.server).await?;
    let tried = trial_key(shared);
    // The first time a server may have to learn the script, and a connection to that server of the cluster be made.
    link.try_out(&tried, Store::PATIENCE * 4).await?;
    link.try_out(&tried, Store::WITHIN).await?;
    Ok(link)
}

/// Until the connection is not good any more.
async fn watch(shared: &Shared, link: &Arc<Link>) {
    loop {
        tokio::select! {
            () = shared.lost.notified() => {}
            () = tokio::time::sleep(LOOK) => {
                if let Err(fault) = link.try_out(&trial_key(shared), Store::WITHIN).await {
                    shared.lose(link, fault, None);
                }
            }
        }
        let is_good = shared.link.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, link));
        if !is_good {
            return;
        }
    }
}

fn trial_key(shared: &Shared) -> String {
    let org = shared.trouble().org.clone();
    key(&org.unwrap_or_else(|| OrgId::from(NOBODY)), TRIAL)
}
