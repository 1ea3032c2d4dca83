//! Lines that are whole, torn and too long.

use std::{fs, io::Write as _};

use super::{Line, Lines, MAX_RECORD};

#[test]
fn a_file_is_read_line_by_line_while_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"one\n\ntw").unwrap();
    let mut lines = Lines::open(&path).unwrap();
    assert_eq!(lines.next().unwrap(), Line::Record(b"one"));
    assert_eq!(lines.next().unwrap(), Line::Record(b""));
    assert_eq!(lines.next().unwrap(), Line::Torn);
    assert_eq!(lines.next().unwrap(), Line::Torn);
    file.write_all(b"o\nthree\n").unwrap();
    assert_eq!(lines.next().unwrap(), Line::Record(b"two"));
    assert_eq!(lines.bytes(), 9);
    assert_eq!(lines.next().unwrap(), Line::Record(b"three"));
    assert_eq!(lines.next().unwrap(), Line::End);
    file.write_all(b"four\n").unwrap();
    assert_eq!(lines.next().unwrap(), Line::Record(b"four"));
}

#[test]
fn a_line_has_a_longest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let longest = "a".repeat(MAX_RECORD);
    fs::write(&path, format!("{longest}\n{longest}b\n")).unwrap();
    let mut lines = Lines::open(&path).unwrap();
    assert_eq!(lines.next().unwrap(), Line::Record(longest.as_bytes()));
    assert_eq!(lines.next().unwrap(), Line::TooLong);
    fs::write(&path, &longest).unwrap();
    assert_eq!(Lines::open(&path).unwrap().next().unwrap(), Line::Torn);
}
