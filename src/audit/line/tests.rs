//! The beginning of a line is a format that others read.

use super::{Hash, Place, write};

#[test]
fn a_line_is_as_documented() {
    let mut lines = Vec::new();
    let place = Place { log: "gateway-0", sequence: 7, prev: Hash::default() };
    let leaf = write(place, br#""stage":"gap"}}"#, &mut lines);
    let zeros = "0".repeat(64);
    let version = env!("CARGO_PKG_VERSION");
    let record = format!(
        r#"{{"metadata":{{"sequence":7,"log_name":"gateway-0","log_version":"1","product":{{"name":"prebuild-gateway","vendor_name":"prebuild-gateway","version":"{version}"}},"version":"1.6.0"}},"unmapped":{{"prev":"{zeros}","stage":"gap"}}}}"#
    );
    assert_eq!(leaf, Hash::leaf(record.as_bytes()));
    assert_eq!(String::from_utf8(lines).unwrap(), record + "\n");
}
