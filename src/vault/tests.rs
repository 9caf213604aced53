//! The envelope and the root against vectors that other implementations made, and against every kind of tampering.

use std::collections::HashSet;

use super::*;
use crate::config::VaultKey;

fn key(id: &str, first: u8) -> VaultKey {
    VaultKey { id: id.into(), key: Secret::new(std::array::from_fn(|i| first.wrapping_add(i as u8))) }
}

fn vault(keys: &[VaultKey]) -> Vault {
    Vault::new(&config::Vault { keys: keys.to_vec() })
}

fn record<'a>(parts: &'a [&'a [u8]]) -> Context<'a> {
    Context { purpose: Purpose::Record, parts }
}

const ALICE: &[&[u8]] = &[b"https://auth.example.com/", b"alice", b"github", b"default"];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_cipher_is_the_aes_256_gcm_of_the_specification() {
    // Test case 16 of "The Galois/Counter Mode of Operation (GCM)", which NIST SP 800-38D refers to.
    let key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").try_into().unwrap();
    let nonce = unhex("cafebabefacedbaddecaf888").try_into().unwrap();
    let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plaintext = unhex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ));
    let expected = unhex(concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b"
    ));
    assert_eq!(aead::seal(&key, &nonce, &aad, &plaintext).unwrap(), expected);
    assert_eq!(aead::open(&key, &nonce, &aad, &expected).unwrap().expose(), &plaintext);
}

// Made with Python's `cryptography` from the table in the module's documentation: key 00..1f, salt a0..af twice, nonces
// 01.. and 02.., data key 40..5f, in the context of ALICE.
const ENVELOPE: &str = concat!(
    "0107323032362d3131005ca0a1a2a3a4a5a6a7a8a9aaabacadaeafa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
    "0101010101010101010101013f97ca148eccd98cc04a493db43df0a08b7f0e81ffd3186a81f4129c2bac78a3",
    "e58bdf8ddc538e1c003275132f171918020202020202020202020202360bf607cf831680d884b286973c9533",
    "11902e61c43eb923a1b55ab776dfae641d022abbb12797082ad11daf8b7e"
);

#[test]
fn an_envelope_of_another_implementation_opens() {
    let opened = vault(&[key("2026-11", 0)]).open(&record(ALICE), &unhex(ENVELOPE)).unwrap();
    assert_eq!(opened.expose(), br#"{"access_token":"gho_example"}"#);
}

#[test]
fn what_was_sealed_opens_in_its_context() {
    let vault = vault(&[key("a", 1)]);
    for plaintext in [&b""[..], b"x", &[7; 100_000]] {
        let sealed = vault.seal(&record(ALICE), plaintext).unwrap();
        assert_eq!(vault.open(&record(ALICE), &sealed).unwrap().expose(), plaintext);
    }
}

#[test]
fn no_sealing_resembles_another_of_the_same_plaintext() {
    let vault = vault(&[key("a", 1)]);
    let heads: HashSet<Vec<u8>> =
        (0..256).map(|_| vault.seal(&record(ALICE), b"same").unwrap()[5..49].to_vec()).collect();
    assert_eq!(heads.len(), 256, "salts and nonces of wrapped keys");
}

#[test]
fn a_flip_of_any_bit_is_noticed() {
    let vault = vault(&[key("2026-11", 0), key("2026-10", 9)]);
    let sealed = unhex(ENVELOPE);
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(vault.open(&record(ALICE), &changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn no_cut_and_no_addition_opens_or_panics() {
    let vault = vault(&[key("2026-11", 0)]);
    let sealed = unhex(ENVELOPE);
    for end in 0..sealed.len() {
        assert!(vault.open(&record(ALICE), &sealed[..end]).is_err(), "{end} bytes");
    }
    assert_eq!(vault.open(&record(ALICE), &[&sealed[..], b"x"].concat()).unwrap_err(), Error::Corrupt);
}

#[test]
fn a_sealed_value_opens_in_no_other_context() {
    let vault = vault(&[key("a", 1)]);
    let sealed = vault.seal(&record(ALICE), b"token").unwrap();
    let others: [&[&[u8]]; 5] = [
        &[b"https://auth.example.com/", b"bob", b"github", b"default"],
        &[b"https://auth.example.com/", b"alice", b"slack", b"default"],
        &[b"https://auth.example.com/", b"alice", b"github", b"work"],
        &[b"https://auth.example.com/", b"alice", b"github"],
        &[b"https://auth.example.com/", b"alice", b"github", b"default", b""],
    ];
    for parts in others {
        assert_eq!(vault.open(&record(parts), &sealed).unwrap_err(), Error::Corrupt);
    }
    for purpose in [Purpose::Root, Purpose::Ticket, Purpose::State, Purpose::Session, Purpose::Event] {
        assert_eq!(vault.open(&Context { purpose, parts: ALICE }, &sealed).unwrap_err(), Error::Corrupt);
    }
}

#[test]
fn the_border_between_parts_counts() {
    let vault = vault(&[key("a", 1)]);
    let sealed = vault.seal(&record(&[b"a", b"bc"]), b"token").unwrap();
    assert_eq!(vault.open(&record(&[b"ab", b"c"]), &sealed).unwrap_err(), Error::Corrupt);
}

#[test]
fn a_wrapped_key_of_another_record_does_not_fit() {
    let vault = vault(&[key("a", 1)]);
    let (one, two) = (vault.seal(&record(ALICE), b"1").unwrap(), vault.seal(&record(ALICE), b"2").unwrap());
    let end = 5 + 92;
    let spliced = [&one[..end], &two[end..]].concat();
    assert_eq!(vault.open(&record(ALICE), &spliced).unwrap_err(), Error::Corrupt);
}

#[test]
fn a_missing_key_is_told_from_damage() {
    let sealed = vault(&[key("old", 1)]).seal(&record(ALICE), b"token").unwrap();
    let error = vault(&[key("new", 2)]).open(&record(ALICE), &sealed).unwrap_err();
    assert_eq!(error, Error::UnknownKey { id: "old".into() });
    // The same id with other bytes is damage: no key is tried that the envelope doesn't name.
    let error = vault(&[key("old", 2), key("x", 1)]).open(&record(ALICE), &sealed).unwrap_err();
    assert_eq!(error, Error::Corrupt);
}

#[test]
fn the_first_key_seals_and_all_open() {
    let old = vault(&[key("old", 1)]);
    let both = vault(&[key("new", 2), key("old", 1)]);
    let sealed = old.seal(&record(ALICE), b"token").unwrap();
    assert_eq!(both.open(&record(ALICE), &sealed).unwrap().expose(), b"token");
    assert_eq!((key_id(&sealed).unwrap(), both.needs_rewrap(&sealed), old.needs_rewrap(&sealed)), ("old", true, false));
    let again = both.seal(&record(ALICE), b"token").unwrap();
    assert_eq!((key_id(&again).unwrap(), both.needs_rewrap(&again)), ("new", false));
}

#[test]
fn plaintext_and_other_versions_are_refused() {
    let vault = vault(&[key("a", 1)]);
    let open = |bytes: &[u8]| vault.open(&record(ALICE), bytes).unwrap_err();
    assert_eq!(open(br#"{"access_token":"gho_plain"}"#), Error::UnsupportedVersion(b'{'));
    assert_eq!(open(&[2, 1, b'a']), Error::UnsupportedVersion(2));
    assert_eq!(open(&[0]), Error::UnsupportedVersion(0));
    assert_eq!(open(b""), Error::Corrupt);
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?} {:?}", vault(&[key("a", b'K')]), Root::from_bytes([b'K'; 32]));
    assert!(!shown.contains("75") && !shown.contains("KK"), "{shown}");
}

mod root {
    use super::*;

    fn root() -> Root {
        Root::from_bytes(std::array::from_fn(|i| 100 + i as u8))
    }

    // Both made with Python's `cryptography`: salt 07.., nonce 01...
    const TEXT: &str = "v1.BwcHBwcHBwcHBwcHBwcHBwEBAQEBAQEBAQEBAb8sCZZhYHSm3xuOSfei9RotY3b-5Q";

    #[test]
    fn a_text_of_another_implementation_opens() {
        assert_eq!(root().open(Purpose::Ticket, TEXT, &[b"github"]).unwrap().expose(), b"hello");
    }

    #[test]
    fn a_blind_name_is_the_same_everywhere() {
        let name = root().blind("owner", &[b"alice"]);
        assert_eq!(name.to_vec(), unhex("373a097d4c1baf526612fa1dd9a474f9"));
    }

    #[test]
    fn blind_names_differ_by_root_label_and_parts() {
        let root = root();
        let names = HashSet::from([
            root.blind("owner", &[b"a", b"bc"]),
            root.blind("owner", &[b"ab", b"c"]),
            root.blind("owner", &[b"abc"]),
            root.blind("record", &[b"a", b"bc"]),
            Root::generate().unwrap().blind("owner", &[b"a", b"bc"]),
        ]);
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_sealed_text_opens_for_its_purpose_and_data_only() {
        let root = root();
        let text = root.seal(Purpose::Ticket, b"alice", &[b"github"]).unwrap();
        assert!(text.starts_with("v1.") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        assert_eq!(root.open(Purpose::Ticket, &text, &[b"github"]).unwrap().expose(), b"alice");
        assert_eq!(root.open(Purpose::State, &text, &[b"github"]).unwrap_err(), Error::Corrupt);
        assert_eq!(root.open(Purpose::Ticket, &text, &[b"slack"]).unwrap_err(), Error::Corrupt);
        assert_eq!(Root::generate().unwrap().open(Purpose::Ticket, &text, &[b"github"]).unwrap_err(), Error::Corrupt);
    }

    #[test]
    fn whatever_is_sealed_opens_and_what_is_too_long_is_refused_at_once() {
        let root = root();
        for length in [0, 16 * 1024, 64 * 1024, 96 * 1024, 98_204, 98_257, 98_258, 98_259, 98_260, 128 * 1024] {
            match root.seal(Purpose::State, &vec![b'x'; length], &[]) {
                Ok(text) => assert_eq!(root.open(Purpose::State, &text, &[]).unwrap().expose().len(), length),
                Err(error) => assert!(error == Error::TooLong && length > 96 * 1024 - 100, "{length}: {error}"),
            }
        }
        assert!(root.seal(Purpose::State, &vec![b'x'; 96 * 1024 - 100], &[]).is_ok());
        assert!(root.seal(Purpose::State, &vec![b'x'; 96 * 1024], &[]).is_err());
    }

    #[test]
    fn a_change_of_any_character_is_noticed() {
        for at in 0..TEXT.len() {
            let mut changed = TEXT.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(root().open(Purpose::Ticket, &changed, &[b"github"]).unwrap_err(), Error::Corrupt, "{at}");
        }
        for other in ["", "v1.", "v2.AAAA", "v1.=", "ä", &format!("v1.{}", "A".repeat(20_000))] {
            assert_eq!(root().open(Purpose::Ticket, other, &[b"github"]).unwrap_err(), Error::Corrupt, "{other:.9}");
        }
    }
}
