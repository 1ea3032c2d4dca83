//! A gateway in a process of its own, that is there to be killed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) const KEY: &str = "pgw_crash-key";
pub(crate) const ORGANIZATION: &str = "3f1c0d6e-9f57-4a4e-8a51-0d1f3c1f2a11";
const PROGRAM: &str = env!("CARGO_BIN_EXE_prebuild-gateway");
const PATIENCE: Duration = Duration::from_secs(30);

/// What it runs with.
pub(crate) struct Setting {
    pub(crate) upstream: SocketAddr,
    pub(crate) audit: PathBuf,
    /// Where the config is.
    pub(crate) directory: PathBuf,
    /// What it is run by.
    pub(crate) under: Vec<String>,
    /// Where the log is shipped to, as the config has it.
    pub(crate) ship: String,
}

/// Ends with the test.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it serves.
    pub(crate) began_in: Duration,
    lines: Receiver<String>,
}

impl Setting {
    pub(crate) fn new(upstream: SocketAddr, audit: &Path, directory: &Path) -> Self {
        Self {
            upstream,
            audit: audit.to_owned(),
            directory: directory.to_owned(),
            under: Vec::new(),
            ship: String::new(),
        }
    }

    pub(crate) fn start(&self) -> Gateway {
        let at = |name: &str| self.directory.join(name);
        let rate = "{ per_second = 1000000, burst = 1000000 }";
        write(&at("policy.toml"), &format!("rates.org.all = {rate}\nlimits.in_flight = 100000\n"), 0o644);
        let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        let config = format!(
            "listen = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\npolicy = {{ file = '{}' }}\n\
             deadline = {{ default = '10s', max = '10s' }}\n\
             audit = {{ directory = '{}', instance = 'gateway-0', ship = [{}] }}\n\
             [upstream]\nbase_url = 'http://{}/api'\n\
             [limits]\nin_flight = 8192\n\
             [[identity.api_keys]]\nid = 'ci'\nsubject = 'ci'\norg = 'acme'\nsha256 = '{hash}'\n\
             [[orgs]]\nid = 'acme'\ncredential = {{ env = 'TOKEN' }}\nupstream_organization_id = '{ORGANIZATION}'\n",
            at("policy.toml").display(),
            self.audit.display(),
            self.ship,
            self.upstream,
        );
        write(&at("gateway.toml"), &config, 0o600);
        let mut words = self.under.iter().map(String::as_str).chain([PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["serve", "--config"]).arg(at("gateway.toml")).env("TOKEN", "acme-token");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // To the end: nobody else reads it.
        thread::spawn(move || told.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let address = loop {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            if let Some(address) = line["gateway"].as_str().or(line["fields"]["gateway"].as_str()) {
                break address.parse().unwrap();
            }
        };
        Gateway { child, address, began_in: begun.elapsed(), lines }
    }
}

impl Gateway {
    /// It does nothing any more, though it is there.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// `kill -9`
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and all that it says until it has ended.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
        self.lines.try_iter().collect()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name]).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}
