//! Where markers go, and where none may. [pure]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::route::fixture;

fn marked(body: &str, marker: Marker) -> String {
    let mut out = Vec::new();
    edits(body.as_bytes(), marker).apply(body.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_last_system_block_and_the_last_block_of_the_last_message_are_marked() {
    const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;
    for (body, want) in [
        (
            r#"{"system":"s","messages":[{"role":"user","content":"a"},{"content":"b\n","role":"user"}]}"#,
            r#"{"system":[{"type":"text","text":"s"@}],"messages":[{"role":"user","content":"a"},{"content":[{"type":"text","text":"b\n"@}],"role":"user"}]}"#,
        ),
        (
            r#"{"system":[{"type":"text","text":"a"},{"text":"b","type":"text"}],"messages":[{"content":[{"type":"image","source":{}} ]}]}"#,
            r#"{"system":[{"type":"text","text":"a"},{"text":"b","type":"text"@}],"messages":[{"content":[{"type":"image","source":{}@} ]}]}"#,
        ),
        (
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"x"}]}]}]}"#,
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"x"}]@}]}]}"#,
        ),
    ] {
        assert_eq!(marked(body, FIVE_MINUTES), want.replace('@', MARK));
        let hour = MARK.replace(r#"al""#, r#"al","ttl":"1h""#);
        assert_eq!(marked(body, ONE_HOUR), want.replace('@', &hour));
    }
}

#[test]
fn nothing_is_marked_where_the_caller_has_or_nothing_may_be() {
    for body in [
        r#"{"system":" \n","messages":[{"content":""}]}"#,
        r#"{"system":[],"messages":[{"content":"a"},{"role":"user"}]}"#,
        r#"{"messages":[{"content":[{"type":"text","text":"a"},{"type":"text","text":"\t"}]}]}"#,
        r#"{"messages":[{"content":[{"type":"thinking","thinking":"a"}]}]}"#,
        r#"{"messages":[{"content":[{}]}]}"#,
        r#"{"messages":[{"content":"a"}],"cache_control":{"type":"ephemeral"}}"#,
        r#"{"messages":[{"content":"a"}],"tools":[{"name":"f","cache_control":{"type":"ephemeral"}}]}"#,
        r#"{"messages":[{"content":[{"type":"text","text":"a","cache_control":{}}]},{"content":"b"}]}"#,
        r#"{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"x","cache_control":{}}]}]}]}"#,
        r#"{"system":[{"type":"text","text":"a","cache_control":{}}],"messages":[{"content":"b"}]}"#,
        r#"{"messages":{},"tools":{}}"#,
        "[]",
        "{",
    ] {
        assert_eq!(marked(body, FIVE_MINUTES), body);
    }
    // A word inside a text or a schema is no marker.
    let body = r#"{"messages":[{"content":"cache_control"}],"tools":[{"input_schema":{"cache_control":1}}]}"#;
    assert_ne!(marked(body, FIVE_MINUTES), body);
}

#[test]
fn a_model_says_whether_and_for_how_long() {
    let marker_of = |extra| marker(&fixture::model("m", extra));
    assert!(marker_of(json!({})).is_none());
    assert!(marker_of(json!({"auto_prompt_caching": {"enabled": false}})).is_none());
    let hour = marker_of(json!({"auto_prompt_caching": {"enabled": true, "ttl": "1h"}})).unwrap();
    assert_eq!(hour.member, ONE_HOUR.member);
}

proptest! {
    #[test]
    fn no_bytes_reach_a_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        _ = edits(&body, FIVE_MINUTES);
    }
}
