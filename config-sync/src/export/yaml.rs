//! A tree of plain values to YAML that reads as the same tree. [pure]

use zeroize::Zeroizing;

use crate::document::{Document, parse_yaml};

/// Writes `root`, and what to tell the operator where the text is not read as `root` again. That a
/// text is not read at all, for its depth or size, is found where the file is checked.
pub(super) fn write(root: &Document) -> (Zeroizing<String>, Option<&'static str>) {
    let options = serde_saphyr::ser_options! {
        // Folded and literal blocks would make line ends and blanks at them hard to see.
        prefer_block_scalars: false,
    };
    let Ok(text) = serde_saphyr::to_string_with_options(root.value(), options) else {
        let problem = "the documents cannot be written as YAML";
        return (Zeroizing::default(), Some(problem));
    };
    let text = Zeroizing::new(text);
    let differs = parse_yaml(&text).is_ok_and(|read| read.value() != root.value());
    let problem = "the documents are read differently from YAML";
    (text, differs.then_some(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Value;
    use proptest::prelude::*;
    use serde_json::json;

    /// Texts that YAML readers have taken for something else.
    const NASTY: [&str; 62] = [
        "",
        " ",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "true",
        "False",
        "null",
        "Null",
        "~",
        "0123",
        "0o17",
        "0x1F",
        "1e5",
        "1E+5",
        ".5",
        "5.",
        "-1",
        "+1",
        "1_000",
        ".inf",
        "-.INF",
        ".nan",
        "2030-01-01",
        "2030-01-01T00:00:00Z",
        "12:30:45",
        "1:2",
        "a: b",
        "a:",
        ": a",
        "#a",
        "a #b",
        "- a",
        "-",
        "? a",
        "[a",
        "]",
        "{a: b}",
        "a, b",
        "&a",
        "*a",
        "!a",
        "!!str a",
        "|",
        ">",
        "%a",
        "@a",
        "`a`",
        "'a'",
        "\"a\"",
        "a\\b",
        "---",
        "...",
        "<<",
        "=",
        "line\nline",
        "line \n\nline\n",
        "\ttab\t",
        "\u{feff}bom",
    ];
    const NASTIER: [&str; 12] = [
        "a\rb",
        "a\r\nb",
        "\r",
        "\n",
        " lead",
        "trail ",
        "trail\n",
        "é \u{1f600} \u{2028}\u{85}",
        "\u{0}",
        "\u{7f}\u{1b}[0m",
        "\u{e000}\u{fffd}\u{10ffff}",
        "$${X} ${Y}",
    ];

    #[test]
    fn nasty_texts_are_read_as_they_were() {
        let texts = NASTY.iter().chain(&NASTIER);
        let long = "word ".repeat(60) + "end";
        for text in texts.copied().chain([long.as_str()]) {
            let root = json!({"text": text, "list": [text, {"in": text}], "map": {text: text}});
            let (written, problem) = write(&root.clone().into());
            assert_eq!(problem, None, "{text:?}");
            let read = parse_yaml(&written).unwrap();
            assert_eq!(read.value(), &root, "{text:?}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            ".{0,12}",
            "[ -~]{0,8}",
            "[\\r\\n\\t :#'\"\\\\-]{0,6}",
            prop::sample::select(NASTY.to_vec()).prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            let map = prop::collection::vec((text.clone(), inner.clone()), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(Value::from),
                map
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_tree_is_read_as_it_was(value in any_value()) {
            let root = json!({"root": value});
            let (written, problem) = write(&root.clone().into());
            prop_assert_eq!(problem, None, "{}", root);
            prop_assert!(parse_yaml(&written).is_ok(), "{root}");
        }
    }
}
