//! What is printed to be pasted.

use super::quoted;

#[test]
fn a_word_is_quoted_where_a_shell_would_split_it() {
    for plain in ["/usr/bin/prebuild-gateway", "target/x-1.2/a_b+c"] {
        assert_eq!(quoted(plain), plain);
    }
    assert_eq!(quoted("/my tools/$x"), "'/my tools/$x'");
    assert_eq!(quoted("it's"), r"'it'\''s'");
}
