//! The files followed while the gateway serves.
//!
//! Files are written one after the other, and not at once: what is seen counts only if two looks agree, and only if
//! certificate and key belong together. Anything else leaves the last good pair in use.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task, time,
};

use super::{
    Tls,
    pair::{Files, Sight},
};

/// What the looks so far have shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    last: Sight,
    /// What was last taken, or refused.
    judged: Sight,
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is time.
    Due,
    /// Somebody says that they are written, and wants to hear what becomes of them.
    Asked,
}

impl Tls {
    /// Looks at the files every `reload_interval`, and at SIGHUP at once. The signal is caught from now on: before that
    /// it would end the process. Never ends by itself; a Tokio runtime must be running.
    pub fn follow(self) -> impl Future<Output = ()> + Send + use<> {
        let asked = signal(SignalKind::hangup()).ok();
        self.look_again(asked)
    }

    async fn look_again(self, mut asked: Option<Signal>) {
        let mut due = time::interval(self.0.config.reload_interval);
        // After a look that took long, no others at once to make up for it.
        due.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut seen = Seen::first(&self);
        loop {
            let look = tokio::select! {
                _ = due.tick() => Look::Due,
                () = received(&mut asked) => Look::Asked,
            };
            let tls = self.clone();
            // A disk may be slow, and an RSA key takes a while to check.
            seen = task::spawn_blocking(move || seen.look(&tls, look)).await.unwrap_or(seen);
        }
    }
}

impl Seen {
    pub(super) fn first(tls: &Tls) -> Self {
        Self { last: tls.0.first, judged: tls.0.first }
    }

    /// Looks once, and takes or refuses what is new.
    pub(super) fn look(self, tls: &Tls, look: Look) -> Self {
        let files = Files::read(&tls.0.config);
        let sight = Sight::of(&files);
        let is_new = sight == self.last && sight != self.judged;
        if look == Look::Due && !is_new {
            return Self { last: sight, ..self };
        }
        let counters = &tls.0.counters;
        match files.and_then(|files| files.pair(&tls.0.config)) {
            Ok(pair) => {
                tls.0.current.send_replace(Arc::new(pair));
                counters.taken.fetch_add(1, Relaxed);
                tracing::info!("new connections get the certificate that is now in tls.certificate");
            }
            Err(error) => {
                counters.kept.fetch_add(1, Relaxed);
                tracing::error!(key = error.key, problem = %error, "the last good certificate stays in use");
            }
        }
        Self { last: sight, judged: sight }
    }
}

/// The next signal. Where none can be had, the interval is left.
async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending().await
    }
}
