//! A real server in a directory of its own, on a Unix socket, that keeps nothing on disk.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use prebuild_gateway::store;
use tempfile::TempDir;

/// Names the program; without it, `redis-server` or `valkey-server` on the PATH.
const PROGRAM: &str = "PREBUILD_GATEWAY_REDIS";
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Server {
    child: Child,
    arguments: Vec<String>,
    pub(crate) directory: TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let child = spawn(directory.path(), &arguments);
        let mut server = Self { child, arguments, directory };
        server.await_ready();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// As the config would have it, resolved.
    pub(crate) fn resolved(&self) -> store::Server {
        resolve(&format!("url = \"{}\"", self.url()), None)
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut connection)
    }

    /// What an operator says, and the server has to take.
    pub(crate) fn tell(&self, words: &[&str]) {
        self.ask::<redis::Value>(words).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As before, with nothing in it.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.directory.path(), &self.arguments);
        self.await_ready();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn await_ready(&mut self) {
        let begun = Instant::now();
        while self.ask::<String>(&["PING"]).is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {log}");
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn resolve(section: &str, password: Option<&str>) -> store::Server {
    toml::from_str::<store::Config>(section).unwrap().resolve(password).unwrap()
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("s")
}

fn spawn(directory: &Path, arguments: &[String]) -> Child {
    let (socket, log) = (socket(directory), directory.join("log"));
    let mut command = Command::new(program());
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]);
    command.arg("--unixsocket").arg(socket).arg("--logfile").arg(log).arg("--dir").arg(directory);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn program() -> PathBuf {
    if let Some(program) = env::var_os(PROGRAM) {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let directories =
        || env::split_paths(&path).chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/sbin")]);
    let found = PROGRAMS.iter().flat_map(|program| directories().map(move |at| at.join(program)));
    found.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("these tests need a real server: install redis-server or valkey-server, name one in {PROGRAM}, or run tests/run, which fetches one")
    })
}
