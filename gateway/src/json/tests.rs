//! The cursor against serde_json and against arbitrary bytes. [pure]

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn strictly_valid(document: &[u8]) -> bool {
    let mut cursor = Cursor::strict(document);
    std::str::from_utf8(document).is_ok() && cursor.value().is_ok() && cursor.end().is_ok()
}

/// Walks everything with `object` and `array` instead of stepping over it.
fn walk(cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
    match cursor.kind() {
        Kind::Object => cursor.object(|cursor, _| walk(cursor)).map(drop),
        Kind::Array => cursor.array(|cursor, _| walk(cursor)).map(drop),
        _ => cursor.value().map(drop),
    }
}

/// Bytes that look like JSON often enough to reach every branch.
fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u00",
        "\\ud83d",
        "\"a\"",
        "\"a\":",
        "1",
        "-0",
        "01",
        "1.5e+3",
        "1.",
        "true",
        "nul",
        "null",
        " ",
        "\n",
        "\u{1}",
        "é",
        "{\"k\":1}",
        "[]",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((".{0,8}", inner), 0..6).prop_map(|members| members
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic_and_spans_stay_inside(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for mut cursor in [Cursor::strict(&bytes), Cursor::lenient(&bytes)] {
            if let Ok(value) = cursor.clone().value() {
                prop_assert!(value.span.start < value.span.end && value.span.end <= bytes.len());
            }
            let _ = walk(&mut cursor);
            prop_assert!(cursor.offset() <= bytes.len() + 1);
        }
    }

    #[test]
    fn strict_agrees_with_serde_json(bytes in jsonish()) {
        let want = std::str::from_utf8(&bytes)
            .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        prop_assert_eq!(strictly_valid(&bytes), want);
    }

    #[test]
    fn walking_and_stepping_over_agree(bytes in jsonish()) {
        for start in [Cursor::strict(&bytes), Cursor::lenient(&bytes)] {
            let (mut walked, mut stepped) = (start.clone(), start);
            let walk_result = walk(&mut walked).is_ok();
            prop_assert_eq!(walk_result, stepped.value().is_ok());
            if walk_result {
                prop_assert_eq!(walked.offset(), stepped.offset());
            }
        }
    }

    #[test]
    fn valid_documents_pass_in_both_modes(document in document(), pretty in any::<bool>()) {
        let bytes = if pretty {
            serde_json::to_vec_pretty(&document).unwrap()
        } else {
            serde_json::to_vec(&document).unwrap()
        };
        prop_assert!(strictly_valid(&bytes));
        let value = Cursor::lenient(&bytes).value().unwrap();
        prop_assert_eq!(value.span.of(&bytes), &bytes[..]);
    }

    #[test]
    fn cut_objects_never_pass(document in prop::collection::vec(document(), 1..4), at in any::<prop::sample::Index>()) {
        let bytes = serde_json::to_vec(&document).unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(Cursor::lenient(cut).value().is_err());
    }
}

#[test]
fn only_a_strict_cursor_minds_what_structure_does_not_need() {
    for document in [
        r#"{"logprob":NaN}"#,
        r#"[-Infinity]"#,
        r#"[01]"#,
        "[\"a\u{1}b\"]",
        r#"["\q"]"#,
        r#"["\uzzzz"]"#,
        "[1.]",
    ] {
        assert!(!strictly_valid(document.as_bytes()), "{document}");
        let value = Cursor::lenient(document.as_bytes()).value();
        assert_eq!(value.map(|v| v.span.end), Ok(document.len()), "{document}");
    }
    for document in [
        "[1,]", "{,}", "{\"a\"}", "[}", "{]", "\"", "[\"\\", "", "{\"a\":}", "[1 2]",
    ] {
        assert!(
            Cursor::lenient(document.as_bytes()).value().is_err(),
            "{document}"
        );
    }
}

#[test]
fn nesting_is_bounded_however_it_is_walked() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
        for (depth, want) in [(1, true), (128, true), (129, false), (5000, false)] {
            let document = nested(depth);
            assert_eq!(strictly_valid(document.as_bytes()), want, "{depth}");
            assert_eq!(walk(&mut Cursor::strict(document.as_bytes())).is_ok(), want);
        }
    }
}

#[test]
fn what_is_walked_and_what_is_stepped_over_share_the_bound() {
    fn descend(cursor: &mut Cursor<'_>, levels: u32) -> Result<(), JsonError> {
        match levels {
            0 => cursor.skip(),
            _ => cursor
                .array(|cursor, _| descend(cursor, levels - 1))
                .map(drop),
        }
    }
    for (depth, want) in [(128, true), (129, false)] {
        let document = "[".repeat(depth) + &"]".repeat(depth);
        for walked in [0, 1, 60, 127] {
            let got = descend(&mut Cursor::strict(document.as_bytes()), walked);
            assert_eq!(got.is_ok(), want, "{walked} of {depth}");
        }
    }
}

#[test]
fn keys_come_unescaped_with_their_place() {
    let document = br#" { "\u006dodel" : 1 , "b":[2] } "#;
    let mut seen = Vec::new();
    let span = Cursor::strict(document)
        .object(|cursor, key| {
            let after = String::from_utf8_lossy(&document[..key.after]).into_owned();
            seen.push((
                key.name.to_vec(),
                key.span.of(document).to_vec(),
                after,
                key.first,
            ));
            cursor.value().map(drop)
        })
        .unwrap();
    assert_eq!(
        span,
        Span {
            start: 1,
            end: document.len() - 1
        }
    );
    assert_eq!(
        seen,
        [
            (
                b"model".to_vec(),
                br#""\u006dodel""#.to_vec(),
                " {".to_owned(),
                true
            ),
            (
                b"b".to_vec(),
                br#""b""#.to_vec(),
                r#" { "\u006dodel" : 1"#.to_owned(),
                false
            ),
        ]
    );
}
