//! Room, where the file system cannot keep it.

use std::io;

use tempfile::TempDir;

use super::{FLOOR, Segment};

/// Then what is left on the disk must be enough, and some beside.
#[test]
fn without_room_that_is_kept_a_floor_is_held() {
    let directory = TempDir::new().unwrap();
    let mut segment = Segment::create(directory.path(), 0).unwrap();
    segment.can_reserve = false;
    segment.reserve(1 << 10).unwrap();
    assert_eq!(segment.reserved, 0, "nothing is kept");
    let disk = rustix::fs::fstatvfs(&segment.file).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    // Others write meanwhile: half of the floor is more than they do.
    for (end, is_room) in [(free - 3 * FLOOR / 2, true), (free - FLOOR / 2, false), (u64::MAX, false)] {
        let reserved = segment.reserve(end).map_err(|error| error.kind());
        assert_eq!(reserved, if is_room { Ok(()) } else { Err(io::ErrorKind::StorageFull) }, "{end}");
    }
    // What is written already needs no room.
    segment.append(&[b'x'; 4096]).unwrap();
    segment.size = free;
    segment.reserve(free + 1).unwrap();
}
