use proptest::prelude::*;

use super::*;

const VECTOR: &str = "$enc:AQEAAAAAAAEAAQIDBAUGBwgJCgs0aftvoJa2vV0bUK0aKXC29vU-4slC2Q";
const PLACE: Place<'static> = Place {
    kind: "provider_keys",
    object: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    pointer: "/api_key",
};

fn scope() -> Scope {
    Scope::of_env_id("11111111-2222-3333-4444-555555555555")
}

/// Of one key, 00 to 1f.
fn ring() -> Keyring {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    Keyring::parse(&format!(r#"{{"keys":[{{"id":1,"key":"{key}"}}]}}"#), &[]).unwrap()
}

fn sealed(place: &Place<'_>, plaintext: &[u8]) -> String {
    let ring = ring();
    let (id, key) = ring.sealing_key();
    seal(id, key, &scope(), place, plaintext).unwrap()
}

/// An envelope of these bytes.
fn text_of(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn bytes_of(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap()
}

#[test]
fn the_published_vector_is_met_both_ways() {
    let ring = ring();
    let nonce = std::array::from_fn(|at| at as u8);
    let (id, key) = ring.sealing_key();
    let text = seal_with_nonce(id, key, &scope(), &PLACE, b"sk-test", &nonce).unwrap();
    assert_eq!(text, VECTOR);
    assert_eq!(
        **open(&ring, &scope(), &PLACE, VECTOR).unwrap(),
        *b"sk-test"
    );
    assert_eq!(key_id(VECTOR), Ok(1));
}

#[test]
fn no_bit_of_an_envelope_can_be_changed() {
    let ring = ring();
    let bytes = bytes_of(VECTOR);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let error = open(&ring, &scope(), &PLACE, &text_of(&changed)).unwrap_err();
            let expected = match at {
                0 => OpenError::Version(changed[0]),
                1 => OpenError::Algorithm(changed[1]),
                2 | 3 => OpenError::Flags,
                4..8 => OpenError::UnknownKey(key_id(&text_of(&changed)).unwrap()),
                _ => OpenError::Tag,
            };
            assert_eq!(error, expected, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn no_character_of_an_envelope_can_be_changed_added_or_cut() {
    let ring = ring();
    for at in 0..VECTOR.len() {
        let mut changed = VECTOR.as_bytes().to_vec();
        changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(open(&ring, &scope(), &PLACE, &changed).is_err(), "at {at}");
        let cut = &VECTOR[..at];
        assert!(open(&ring, &scope(), &PLACE, cut).is_err(), "cut {at}");
    }
    for tail in ["A", "AA", "AAA", "AAAA", "=", "\n", " ", "é"] {
        let longer = format!("{VECTOR}{tail}");
        assert!(open(&ring, &scope(), &PLACE, &longer).is_err(), "{tail:?}");
    }
}

#[test]
fn an_envelope_opens_only_where_it_was_sealed_for() {
    let ring = ring();
    let other = |change: fn(&mut Place<'static>)| {
        let mut place = PLACE;
        change(&mut place);
        place
    };
    let moved = [
        (scope(), other(|place| place.kind = "guardrails")),
        (scope(), other(|place| place.object = "bbbb")),
        (scope(), other(|place| place.pointer = "/secret")),
        // The lengths keep a border between the parts.
        (
            scope(),
            Place {
                kind: "provider_keysa",
                object: &PLACE.object[1..],
                ..PLACE
            },
        ),
        (Scope::System, PLACE),
        (Scope::Environment([0; 16]), PLACE),
        (Scope::Organization([0x11; 16]), PLACE),
    ];
    for (scope, place) in moved {
        let error = open(&ring, &scope, &place, VECTOR).unwrap_err();
        assert_eq!(error, OpenError::Tag, "{scope:?} {place:?}");
    }
    let Scope::Environment(id) = scope() else {
        panic!("a UUID is an environment");
    };
    let error = open(&ring, &Scope::Organization(id), &PLACE, VECTOR).unwrap_err();
    assert_eq!(error, OpenError::Tag);
}

#[test]
fn every_cause_is_told_apart() {
    let ring = ring();
    let long = "x".repeat(65_536);
    let too_long = Place {
        object: &long,
        ..PLACE
    };
    let cases = [
        ("sk-test", PLACE, OpenError::NotSealed),
        ("", PLACE, OpenError::NotSealed),
        ("$enc", PLACE, OpenError::NotSealed),
        ("$enc:", PLACE, OpenError::TooShort),
        ("$enc:!canary", PLACE, OpenError::NotBase64Url),
        ("$enc:AQEAAAAAAAE=", PLACE, OpenError::NotBase64Url),
        ("$enc:AQEAAAAAAAEAAQIDBAUG", PLACE, OpenError::TooShort),
        (VECTOR, too_long, OpenError::PlaceTooLong),
    ];
    for (text, place, want) in cases {
        let error = open(&ring, &scope(), &place, text).unwrap_err();
        assert_eq!(error, want, "{text}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let (id, key) = ring.sealing_key();
    let error = seal(id, key, &scope(), &too_long, b"").unwrap_err();
    assert_eq!(error, SealError::PlaceTooLong);
}

#[test]
fn the_key_id_is_read_without_a_key() {
    let cases = [
        ("$enc:AQEAAP____8", Err(OpenError::TooShort)),
        ("$enc:AQEAAP____8A", Ok(u32::MAX)),
        ("$enc:AQEAAP____8A!", Ok(u32::MAX)),
        ("$enc:AQEAAP____é", Err(OpenError::NotBase64Url)),
        ("$enc:AgEAAAAAAAEA", Err(OpenError::Version(2))),
        ("$enc:AQIAAAAAAAEA", Err(OpenError::Algorithm(2))),
        ("$enc:AQEBAAAAAAEA", Err(OpenError::Flags)),
        ("plain", Err(OpenError::NotSealed)),
    ];
    for (text, want) in cases {
        assert_eq!(key_id(text), want, "{text}");
    }
}

#[test]
fn the_same_value_is_never_sealed_the_same_way_twice() {
    assert_ne!(sealed(&PLACE, b"sk-test"), sealed(&PLACE, b"sk-test"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens_again(
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
        object in ".{0,40}",
        pointer in "(/[a-z~01]{1,8}){1,3}",
    ) {
        let place = Place { kind: "models", object: &object, pointer: &pointer };
        let text = sealed(&place, &plaintext);
        let opened = open(&ring(), &scope(), &place, &text).unwrap();
        prop_assert_eq!(&**opened, &*plaintext);
    }

    #[test]
    fn no_text_makes_it_panic(tail in ".{0,80}") {
        for text in [format!("{PREFIX}{tail}"), format!("{PREFIX}AQEAAAAAAAEA{tail}"), tail] {
            prop_assert!(open(&ring(), &scope(), &PLACE, &text).is_err());
            let _ = key_id(&text);
        }
    }
}
