//! What an answer consists of, and which event says what. [pure]

use std::borrow::Cow;

use crate::mock::ask::Ask;
use crate::mock::reply::{json_text, pad};
use crate::mock::script::{Bad, Part, Script};
use crate::mock::wire::number;

/// Bytes of an event that no reader should accept.
const HUGE_EVENT_BYTES: usize = 2 * 1024 * 1024;
/// The content event that `bad=…` spoils.
pub(super) const SPOILED_EVENT: u32 = 1;
/// What signs a thinking part. Its characters are those that careless code would change.
pub(super) const SIGNATURE: &str = "sig+mock/EqQBCkYIARgCKkA\\u00e9\"==";
/// What only the provider can read. As [`SIGNATURE`].
pub(super) const REDACTED: &str = "red+mock/EmwKAhgBEgy3va3p\\u00e9\"==";

/// The parts of one answer, in order. Each of them but redacted ones has [`Plan::per_part`] events.
#[derive(Debug)]
pub(super) struct Plan<'s> {
    script: &'s Script,
    pub(super) parts: Cow<'s, [Part]>,
    per_part: u32,
}

impl<'s> Plan<'s> {
    pub(super) fn of(script: &'s Script, ask: &Ask<'_>) -> Self {
        let shape = &script.shape;
        let mut parts = match (&*shape.parts, shape.tools) {
            ([], true) => Cow::Borrowed(&[Part::Tool][..]),
            ([], false) => Cow::Borrowed(&[Part::Text][..]),
            (parts, _) => Cow::Borrowed(parts),
        };
        if shape.once && ask.brings_result() {
            let kept = parts.iter().copied().filter(|part| *part != Part::Tool);
            parts = kept.collect();
            if parts.is_empty() {
                parts = Cow::Borrowed(&[Part::Text]);
            }
        }
        Self {
            script,
            parts,
            per_part: shape.events,
        }
    }

    /// Content events of the whole stream.
    pub(super) fn events(&self) -> u32 {
        self.per_part.saturating_mul(self.streamed().count() as u32)
    }

    /// The part, by its place in `parts`, that event `seq` belongs to.
    ///
    /// What comes after the last event, as in a firehose, belongs to the last part.
    pub(super) fn part_of(&self, seq: u32) -> usize {
        let nth = seq.checked_div(self.per_part).unwrap_or(0) as usize;
        let mut streamed = self.streamed();
        let found = streamed.nth(nth).or_else(|| self.streamed().last());
        found.map_or(0, |(index, _)| index)
    }

    /// How many tools were called before part `index`.
    pub(super) fn tools_before(&self, index: usize) -> usize {
        let before = self.parts.iter().take(index);
        before.filter(|part| **part == Part::Tool).count()
    }

    pub(super) fn calls_tools(&self) -> bool {
        self.parts.contains(&Part::Tool)
    }

    /// Whether event `seq` begins its part.
    pub(super) fn begins(&self, seq: u32) -> bool {
        seq.checked_rem(self.per_part).unwrap_or(seq) == 0
    }

    /// Appends the text of event `seq`, as the inside of a JSON string.
    pub(super) fn delta(&self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        if !self.is_json(self.part_of(seq)) {
            return self.text(seq, sent_unix_us, out);
        }
        if let Some(args) = self.script.shape.args.as_deref() {
            let nth = seq.checked_rem(self.per_part).unwrap_or(0);
            return json_inside(piece(args, nth, self.per_part), out);
        }
        if self.begins(seq) {
            out.extend_from_slice(br#"{\"s\":\""#);
        }
        self.text(seq, sent_unix_us, out);
        if self.per_part > 0 && self.begins(seq.saturating_add(1)) {
            out.extend_from_slice(br#"\"}"#);
        }
    }

    /// Appends `e<number> <unix microseconds> xxxx`.
    fn text(&self, seq: u32, sent_unix_us: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'e');
        number(u64::from(seq), out);
        out.push(b' ');
        number(sent_unix_us, out);
        let bad = self.script.fault.bad.filter(|_| seq == SPOILED_EVENT);
        let size = match bad {
            Some(Bad::HugeEvent) => HUGE_EVENT_BYTES,
            _ => self.script.shape.size,
        };
        pad(start, size, out);
        if bad == Some(Bad::Utf8) {
            out.extend_from_slice(b"\xff\xfe");
        }
    }

    /// Whether part `index` is JSON rather than text.
    pub(super) fn is_json(&self, index: usize) -> bool {
        match self.parts.get(index) {
            Some(Part::Tool) => true,
            Some(Part::Text) => self.script.shape.json,
            _ => false,
        }
    }

    /// The JSON of a unary answer, where one is asked for.
    pub(super) fn args(&self) -> &str {
        self.script.shape.args.as_deref().unwrap_or("{\"s\":1}")
    }

    pub(super) fn tool_name(&self) -> &str {
        let name = self.script.shape.tool_name.as_deref();
        name.unwrap_or("mock_tool")
    }

    fn streamed(&self) -> impl Iterator<Item = (usize, &Part)> {
        let parts = self.parts.iter().enumerate();
        parts.filter(|(_, part)| **part != Part::Redacted)
    }
}

/// Piece `nth` of `count` about equal ones.
fn piece(text: &str, nth: u32, count: u32) -> &str {
    let count = count.max(1) as usize;
    let cut = |nth: usize| text.floor_char_boundary(text.len() * nth / count);
    let nth = nth as usize;
    text.get(cut(nth)..cut(nth + 1)).unwrap_or("")
}

/// Appends `text` as the inside of a JSON string.
pub(super) fn json_inside(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    json_text(text, out);
    out.remove(start);
    out.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(script: &str) -> String {
        let script: Script = script.parse().unwrap();
        let plan = Plan::of(&script, &Ask::default());
        let mut out = Vec::new();
        for seq in 0..plan.events() {
            plan.delta(seq, 7, &mut out);
            out.push(b'|');
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_are_numbered_through_all_parts() {
        assert_eq!(text("events=2"), "e0 7|e1 7|");
        assert_eq!(
            text("events=2,parts=thinking+redacted+tool+text"),
            r#"e0 7|e1 7|{\"s\":\"e2 7|e3 7\"}|e4 7|e5 7|"#
        );
        assert_eq!(text("events=1,tools=yes"), r#"{\"s\":\"e0 7\"}|"#);
        assert_eq!(text("events=3,parts=redacted"), "");
    }

    #[test]
    fn arguments_are_cut_into_as_many_pieces_as_there_are_events() {
        // {"a":"é"}
        let args = "events=4,args=7b2261223a22c3a9227d";
        assert_eq!(text(&format!("{args},tools=1")), r#"{\"|a\":|\"|é\"}|"#);
        assert_eq!(text(&format!("{args},json=1")), r#"{\"|a\":|\"|é\"}|"#);
    }

    #[test]
    fn a_tool_that_is_called_once_is_not_called_after_its_result() {
        let script: Script = "parts=text+tool,once=yes".parse().unwrap();
        let bodies = [
            (r#"{"messages":[{"role":"user","content":"a"}]}"#, 2),
            (r#"{"messages":[{"role":"tool","content":"a"}]}"#, 1),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
                1,
            ),
            (r#"{"input":[{"type":"function_call_output"}]}"#, 1),
            (r#"{"input":"a"}"#, 2),
        ];
        for (body, want) in bodies {
            let ask = Ask::parse(body.as_bytes()).unwrap();
            assert_eq!(Plan::of(&script, &ask).parts.len(), want, "{body}");
        }
    }
}
