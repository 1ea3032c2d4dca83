//! Nobody has to read what is printed.

use std::process::Stdio;

use crate::{EX_CONFIG, command, text};

/// A pipe whose reader has gone.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    for arguments in [&["keys", "new"][..], &["check", "--schema"]] {
        let output = command(arguments).stdout(unread()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
    let mut wrong = command(&["check", "--config", "/nonexistent"]);
    assert_eq!(wrong.stderr(unread()).status().unwrap().code(), Some(EX_CONFIG));
}
