//! Disks that fail: one of its own for a test, in a file on a loop device, or in memory. It takes root.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of its own, until it is dropped.
pub(crate) struct Disk {
    image: Option<PathBuf>,
    at: PathBuf,
}

/// Has the tests that need a disk of their own left out, on machines that forbid it.
const LEAVE_OUT: &str = "PREBUILD_GATEWAY_NO_DISKS";
const IMAGE_BYTES: u64 = 256 << 20;
/// ext4 and xfs: nothing that is not on disk yet gets there, as if the power was cut. The number is `FS_IOC_SHUTDOWN` of
/// linux/fs.h, the value `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`.
const CUT_POWER: &str = "
import fcntl, os, struct, sys
directory = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(directory, 0x8004587D, struct.pack('I', 2))
";

impl Disk {
    /// ext4 in a file, on a loop device. None if it is to be left out.
    pub(crate) fn ext4(directory: &Path) -> Option<Self> {
        let (image, at) = (directory.join("disk.img"), directory.join("disk"));
        File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        std::fs::create_dir(&at).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)).unwrap();
        let disk = Self { image: Some(image), at };
        disk.mount().map_or_else(left_out, |()| Some(())).map(|()| disk)
    }

    /// So many bytes of memory.
    pub(crate) fn tmpfs(directory: &Path, bytes: u64) -> Option<Self> {
        let disk = Self { image: None, at: directory.join("disk") };
        std::fs::create_dir(&disk.at).unwrap();
        let options = format!("size={bytes}");
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk.at));
        mounted.map_or_else(left_out, |()| Some(())).map(|()| disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// From now on nothing gets there.
    pub(crate) fn cut_power(&self) {
        run(Command::new("python3").args(["-c", CUT_POWER]).arg(&self.at)).unwrap();
    }

    /// What the disk has now is what it had when its power was cut.
    pub(crate) fn remount(&mut self) {
        run(Command::new("umount").arg(&self.at)).unwrap();
        self.mount().unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        let Some(image) = &self.image else { return Ok(()) };
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// No test is skipped in silence.
fn left_out(why: String) -> Option<()> {
    assert!(
        std::env::var_os(LEAVE_OUT).is_some(),
        "no disk of its own for this test ({why}): run it as root, or set {LEAVE_OUT}=1 to leave such tests out"
    );
    println!("LEFT OUT ({LEAVE_OUT}): {why}");
    None
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
