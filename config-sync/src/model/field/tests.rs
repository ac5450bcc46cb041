use super::*;
use crate::tree::Problems;
use serde_json::json;

fn said(read: impl Fn(&Fields<'_>), doc: &Value, unknown: Unknown) -> Vec<String> {
    let problems = Problems::default();
    read(&Fields::new(doc, "", &problems, unknown));
    let problems = problems.into_vec();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_has_one_of_two_spellings() {
    let cases = [
        (json!({"name": "a"}), "a", None),
        (json!({"display_name": "b"}), "b", None),
        (json!({"name": null, "display_name": "b"}), "b", None),
        (json!({}), "", Some("name: is required")),
        (json!({"name": ""}), "", Some("name: must not be empty")),
        (
            json!({"display_name": ""}),
            "",
            Some("display_name: must not be empty"),
        ),
        (
            json!({"display_name": 5}),
            "",
            Some("display_name: must be a string, not a number"),
        ),
        (
            json!({"name": "a", "display_name": "b"}),
            "a",
            Some("name: `name` and its former name `display_name` are mutually exclusive"),
        ),
    ];
    for (doc, want, problem) in cases {
        let problems = Problems::default();
        let fields = Fields::new(&doc, "", &problems, Unknown::Ignored);
        assert_eq!(name(&fields), want, "{doc}");
        fields.finish();
        assert!(problems.ignored().is_empty(), "{doc}");
        let said: Vec<String> = problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(said.first().map(String::as_str), problem, "{doc}");
    }
}

#[test]
fn each_shape_is_read_or_told() {
    let doc = json!({"empty": "", "word": "red", "list": ["a", "", 1], "none": [],
                     "half": 0.5, "much": 1.5, "zero": 0,
                     "statuses": [400, 600, "x"], "map": {}, "text": "t"});
    let problems = Problems::default();
    let fields = Fields::new(&doc, "", &problems, Unknown::Refused);
    assert_eq!(text(&fields, "text").as_deref(), Some("t"));
    assert_eq!(text(&fields, "empty"), None);
    assert_eq!(required_choice(&fields, "word", &[("red", 1)]), Some(1));
    assert_eq!(required_choice(&fields, "absent", &[("red", 1)]), None);
    assert_eq!(number_within(&fields, "half", 0.0, 1.0), Some(0.5));
    assert_eq!(number_within(&fields, "much", 0.0, 1.0), None);
    assert_eq!(timeout_ms(&fields, "zero"), None);
    assert_eq!(statuses(&fields, "statuses", 400..=599), Some(vec![400]));
    assert_eq!(texts(&fields, "list"), ["a".into()]);
    assert!(texts(&fields, "none").is_empty() && required_texts(&fields, "none").is_empty());
    assert!(block(&fields, "map").is_some() && block(&fields, "absent").is_none());
    assert!(required_block(&fields, "text").is_none());
    let said: Vec<String> = problems
        .into_vec()
        .iter()
        .map(ToString::to_string)
        .collect();
    let want = [
        "empty: must not be empty",
        "absent: is required",
        "much: must be 0 to 1",
        "statuses[1]: must be a status of 400 to 599",
        "statuses[2]: must be a status of 400 to 599",
        "list[1]: must not be empty",
        "list[2]: must be a string, not a number",
        "none: must hold at least one entry",
        "text: must be a mapping, not a string",
    ];
    assert_eq!(said, want);
}

#[test]
fn a_loose_set_of_words_is_closed_for_writers_only() {
    let words = [("a", 1), ("b", 2)];
    let doc = json!({"x": "canary", "y": "b", "z": 5});
    let read = |fields: &Fields<'_>| {
        let read = ["x", "y", "z"].map(|key| loose_choice(fields, key, &words, 1));
        assert_eq!(read, [1, 2, 1]);
    };
    assert_eq!(
        said(read, &doc, Unknown::Refused),
        [
            "x: must be one of a, b",
            "z: must be a string, not a number"
        ]
    );
    assert_eq!(
        said(read, &doc, Unknown::Ignored),
        ["z: must be a string, not a number"]
    );
}

#[test]
fn lengths_count_characters() {
    for (text, fits) in [("", false), ("é", true), ("ééé", true), ("éééé", false)] {
        let doc = json!({ "t": text });
        let read = |fields: &Fields<'_>| {
            assert_eq!(
                required_text_within(fields, "t", 1, 3).is_some(),
                fits,
                "{text}"
            );
        };
        assert_eq!(
            said(read, &doc, Unknown::Refused).is_empty(),
            fits,
            "{text}"
        );
    }
}

#[test]
fn path_segments_need_no_encoding() {
    for name in ["a", "invoices-2.x", "é", "a:b@c"] {
        assert!(is_path_segment(name), "{name}");
    }
    for name in ["", "a/b", "a?b", "a#b", "a%20", "a b", "a\u{a0}b", "a\n"] {
        assert!(!is_path_segment(name), "{name:?}");
    }
}
