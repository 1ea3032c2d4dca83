//! Files that are there whole or not at all, whatever stands in their place.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    thread,
};

use super::{create, make_directory, replace};

#[test]
fn a_file_is_replaced_and_what_it_stands_for_is_not() {
    let place = tempfile::tempdir().unwrap();
    let (file, other) = (place.path().join("gateway.example.com"), place.path().join("other"));
    fs::write(&other, "other").unwrap();
    for left in ["a link", "a file", "a draft that is a link"] {
        match left {
            "a link" => symlink(&other, &file).unwrap(),
            "a file" => fs::write(&file, "old").unwrap(),
            _ => symlink(&other, place.path().join(".gateway.example.com.new")).unwrap(),
        }
        replace(&file, left).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), left);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&other).unwrap(), "other", "{left}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("kept");
    for name in ["kept", ".kept.new"] {
        let path = place.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        replace(&file, name).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), name);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn of_many_that_make_a_file_one_does() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("key");
    let made: Vec<_> = (0..8)
        .map(|number| {
            let file = file.clone();
            thread::spawn(move || {
                create(&file, &number.to_string()).unwrap();
                fs::read_to_string(&file).unwrap()
            })
        })
        .collect();
    let seen: Vec<_> = made.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(seen.iter().all(|text| text.len() == 1 && *text == seen[0]), "{seen:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn directories_are_made_as_far_as_they_are_not_there() {
    let place = tempfile::tempdir().unwrap();
    let deep = place.path().join("a/b/c");
    for _ in 0..2 {
        make_directory(&deep).unwrap();
    }
    assert_eq!(fs::metadata(place.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    make_directory(&file).unwrap_err();
    make_directory(&file.join("below")).unwrap_err();
}
