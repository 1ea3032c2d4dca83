//! Who has which token, and that none is shown.

use super::Credentials;
use crate::call::Token;

fn token(text: &str) -> Token {
    Token::new(text).unwrap()
}

#[test]
fn a_token_is_replaced_for_its_org_alone_and_for_every_clone() {
    let credentials = Credentials::new([("a".into(), token("one")), ("b".into(), token("two"))]);
    let clone = credentials.clone();
    clone.replace(&"a".into(), &token("three"));
    assert_eq!(credentials.get(&"a".into()), Some(token("three")));
    assert_eq!(credentials.get(&"b".into()), Some(token("two")));
    assert_eq!(credentials.get(&"c".into()), None);
}

#[test]
fn who_else_has_a_token_is_known() {
    let all = [("c".into(), token("one")), ("b".into(), token("one")), ("a".into(), token("two"))];
    let credentials = Credentials::new(all);
    assert_eq!(credentials.other_holder(&"c".into(), &token("one")), Some("b".into()));
    assert_eq!(credentials.other_holder(&"a".into(), &token("one")), Some("b".into()));
    assert_eq!(credentials.other_holder(&"a".into(), &token("two")), None);
}

#[test]
fn credentials_are_not_shown() {
    let credentials = Credentials::new([("acme".into(), token("secret"))]);
    let shown = format!("{credentials:?} {:?} {:?}", token("secret"), token("secret").authorization());
    assert!(shown.contains("acme") && !shown.contains("secret"), "{shown}");
}

#[test]
fn a_token_is_one_word_of_bounded_length() {
    let longest = "x".repeat(8 << 10);
    assert_eq!(token(&longest).authorization().to_str().unwrap(), format!("Bearer {longest}"));
    for bad in ["", "two words", "new\nline", "\u{e9}", "tab\t", &format!("{longest}x")] {
        assert!(Token::new(bad).is_err(), "{bad}");
    }
}
