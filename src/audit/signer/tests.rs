//! Where keys and checkpoints are brought to.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;
use tracing::subscriber::with_default;

use super::{Checkpoint, Config, Hash, KEY, Signer};

fn config(directory: &Path) -> Config {
    Config::at(directory)
}

/// What is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn processes_that_start_at_once_sign_with_one_key() {
    let directory = TempDir::new().unwrap();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let config = config(directory.path());
            thread::spawn(move || Signer::of(&config).unwrap().key.public())
        })
        .collect();
    let keys: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn keys_beside_a_log_stay_there_and_the_newest_is_last() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("gateway-0");
    fs::create_dir(&log).unwrap();
    let mut lines = Vec::new();
    for _ in 0..3 {
        let signer = Signer::of(&config(directory.path())).unwrap().named("gateway-0").unwrap();
        lines.push(signer.verifier_key().to_string());
        for _ in 0..2 {
            signer.publish(&log).unwrap();
            assert!(signer.is_of(&log));
        }
        assert_eq!(fs::read_to_string(log.join("key.pub")).unwrap(), lines.join("\n") + "\n");
        fs::remove_file(directory.path().join(KEY)).unwrap();
    }
    // What is no key there is of no use.
    fs::write(log.join("key.pub"), format!("no key\n{}", lines[0])).unwrap();
    let signer = Signer::of(&config(directory.path())).unwrap().named("gateway-0").unwrap();
    signer.publish(&log).unwrap();
    let expected = format!("{}\n{}\n", lines[0], signer.verifier_key());
    assert_eq!(fs::read_to_string(log.join("key.pub")).unwrap(), expected);
}

/// Of predecessors, successors and logs that are closed beside the own one none writes over another one's.
#[test]
fn each_log_has_a_checkpoint_of_its_own_elsewhere() {
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let kept = elsewhere.path().join("a/b");
    let config = Config { checkpoints: Some(kept.clone()), ..config(directory.path()) };
    let signer = Signer::of(&config).unwrap();
    for log in ["gateway.example.com", "gateway.example.org"] {
        let signer = signer.named(log).unwrap();
        assert!(signer.kept().unwrap().is_none());
        for size in [7, 8] {
            signer.tell(&signer.sign(size, Hash::default()));
            let note = fs::read_to_string(kept.join(log)).unwrap();
            let told = Checkpoint::open(&note, &signer.verifier_key()).unwrap();
            assert_eq!((told.size, told.origin.as_str()), (size, &*format!("prebuild-gateway/{log}")));
            assert_eq!(signer.kept().unwrap().unwrap().checkpoint, told);
        }
    }
    assert_eq!(fs::read_dir(kept).unwrap().count(), 2);
}

#[test]
fn without_a_directory_a_checkpoint_is_a_line_of_the_log() {
    let directory = TempDir::new().unwrap();
    let signer = Signer::of(&config(directory.path())).unwrap().named("gateway-0").unwrap();
    let note = signer.sign(7, Hash::default());
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    with_default(subscriber, || signer.tell(&note));
    let line: serde_json::Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
    assert_eq!(line["fields"]["message"], "audit checkpoint");
    assert_eq!(line["fields"]["checkpoint"], *note);
}
