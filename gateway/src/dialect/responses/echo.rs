//! What a response repeats of its request. [pure]

use super::node::{Node, Problem};

/// Members of the request that stand in the response, with what stands there if they are absent.
const ECHOED: [(&str, &str); 12] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// Nothing is kept, and nothing came before.
const OWN: &[u8] = br#","background":false,"previous_response_id":null,"store":false"#;

/// The members, a comma before each, in one line. Not much longer than the request.
pub(super) fn write(request: Node<'_>) -> Result<Box<[u8]>, Problem> {
    let given = request.members(ECHOED.map(|(name, _)| name))?;
    let mut out = OWN.to_vec();
    for ((name, absent), given) in ECHOED.into_iter().zip(given) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        let json = given.map_or(absent.as_bytes(), |given| given.bytes);
        // Inside strings line ends are escaped; those around them would end the event's line.
        out.extend(json.iter().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            byte => *byte,
        }));
    }
    Ok(out.into())
}
