//! Keys as other tools have them.

use base64::Engine as _;
use secrecy::ExposeSecret as _;

use super::{KeyError, Origin, PublicKey, STANDARD, SigningKey, VerifierKey};

/// Made with OpenSSL 3.0: `genpkey -algorithm ed25519`, `pkey -pubout`, and `pkeyutl -sign -rawin` of `hello\n`.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIORKridmi3dPEYGX1qdidxjBHSyBu8coDvRd8tkKAFYD\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAmIkvw82z3j70N9hxEdrnQ0X8YBIsKN2nP8nt3gYp21o=\n\
    -----END PUBLIC KEY-----\n";
const SIGNATURE: &str =
    "VpqbSVnzzbDDTtZ5d/OsslgZ/PUjI9IuvX4MWF/3uL9BH/U8FsislXpX6tlz0ieBjrHgw8cdYLhk6cM9miX8CQ==";

#[test]
fn keys_of_openssl_are_read_and_written() {
    let key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
    assert_eq!(key.to_pem().unwrap().expose_secret(), PRIVATE);
    assert_eq!(PublicKey::from_pem(PUBLIC.as_bytes()), Ok(key.public()));
    assert_eq!(key.public().to_pem(), PUBLIC);
    let signature = STANDARD.decode(SIGNATURE).unwrap();
    assert_eq!(key.sign(b"hello\n").as_ref(), signature);
    assert!(key.public().is_signature(b"hello\n", &signature));
    assert!(!key.public().is_signature(b"hello", &signature));
    assert!(!key.public().is_signature(b"hello\n", &signature[1..]));
}

#[test]
fn a_new_key_is_read_again() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    assert_ne!(key.public(), other.public());
    let again = SigningKey::from_pem(key.to_pem().unwrap().expose_secret().as_bytes()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(format!("{key:?}"), "SigningKey");
}

#[test]
fn what_is_no_key_in_pem() {
    let other = rcgen::KeyPair::generate().unwrap();
    for bad in ["", "garbage", PUBLIC, &other.serialize_pem(), &PRIVATE.replace("IOR", "IO"), &PRIVATE[..70]]
    {
        assert_eq!(SigningKey::from_pem(bad.as_bytes()).err(), Some(KeyError::Private), "{bad}");
    }
    for bad in ["", "garbage", PRIVATE, &other.public_key_pem(), &PUBLIC.replace("AyEA", "BCEA")] {
        assert_eq!(PublicKey::from_pem(bad.as_bytes()).err(), Some(KeyError::Public), "{bad}");
    }
}

#[test]
fn a_verifier_key_names_its_log() {
    let key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap().public();
    let origin: Origin = "audit.example.com/gateway-0".parse().unwrap();
    assert!(origin.is_of("gateway-0"));
    assert!(!origin.is_of("gateway") && !origin.is_of("0") && !origin.is_of("example.com/gateway-0"));
    let verifier = VerifierKey::new(origin.clone(), key);
    let text = verifier.to_string();
    assert_eq!(text.parse(), Ok(verifier.clone()));
    let id = verifier.id();
    let encoded = text.strip_prefix(&format!("audit.example.com/gateway-0+{id}+")).unwrap();
    for (bad, why) in [
        (String::new(), KeyError::Verifier),
        (format!("{origin}+{encoded}"), KeyError::Verifier),
        (format!("+{id}+{encoded}"), KeyError::Verifier),
        (format!("{text} "), KeyError::Verifier),
        (format!("{text}="), KeyError::Verifier),
        (text.replace("+A", "+C"), KeyError::Verifier),
        (text.replacen("gateway-0", "gateway-1", 1), KeyError::Id),
        (text.replacen(&id.to_string(), &id.to_string().to_uppercase().replace('A', "B"), 1), KeyError::Id),
    ] {
        assert_eq!(bad.parse::<VerifierKey>(), Err(why), "{bad}");
    }
}

#[test]
fn what_is_no_origin() {
    for good in ["a", "gateway-0", "audit.example.com/org/gateway-0", &"é".repeat(255)] {
        assert_eq!(good.parse::<Origin>().unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{0}", &"a".repeat(256)] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}
