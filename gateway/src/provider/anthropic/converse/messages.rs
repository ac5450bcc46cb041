//! Turns as the system prompt and messages. [pure]

use super::blocks::{self, Place};
use super::{is_blank, member, string};
use crate::canonical::{Part, Role, Turn};
use crate::rejection::Rejection;

/// Stands between system prompts that become one text.
const BLANK_LINE: &str = "\n\n";

/// Appends `system`, where there is one, and `messages`.
///
/// # Errors
///
/// [`Rejection::InvalidRequest`] for a part that has no counterpart, and where nothing but a system
/// prompt is left.
pub(super) fn write(turns: &[Turn<'_>], out: &mut Vec<u8>) -> Result<(), Rejection> {
    let leading = turns
        .iter()
        .take_while(|turn| turn.role == Role::System)
        .count();
    let (system, rest) = turns.split_at_checked(leading).unwrap_or((turns, &[]));
    if rest.is_empty() {
        let fault = "must hold a message that is not a system prompt";
        return Err(Rejection::field("messages", fault));
    }
    write_system(system, out)?;
    member("messages", out);
    out.push(b'[');
    let mut messages = Messages {
        out,
        open: None,
        blocks: 0,
    };
    for (index, turn) in rest.iter().enumerate() {
        messages.turn(leading + index, turn)?;
    }
    messages.close();
    out.push(b']');
    Ok(())
}

/// Plain texts become one; where a caller has written blocks, blocks they stay.
fn write_system(turns: &[Turn<'_>], out: &mut Vec<u8>) -> Result<(), Rejection> {
    let mut texts = Vec::new();
    let mut is_plain = true;
    for (turn, Turn { parts, .. }) in turns.iter().enumerate() {
        is_plain &= parts.len() <= 1;
        for (part, content) in parts.iter().enumerate() {
            let Part::Text { text, marks } = content else {
                return Err(Place { turn, part }.refuse(content, "has no place in a system prompt"));
            };
            is_plain &= marks.cache_control.is_none() && marks.citations.is_none();
            if !is_blank(text) {
                texts.push((text, marks));
            }
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    member("system", out);
    if is_plain {
        let joined: Vec<&str> = texts.iter().map(|(text, _)| &***text).collect();
        string(&joined.join(BLANK_LINE), out);
        return Ok(());
    }
    for (index, (text, marks)) in texts.into_iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        blocks::text(text, marks, out);
    }
    out.push(b']');
    Ok(())
}

/// The roles that a message can have.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Speaker {
    User,
    Assistant,
}

/// A list of messages being written. Turns in a row of one speaker become one message.
struct Messages<'o> {
    out: &'o mut Vec<u8>,
    /// Whose message is open.
    open: Option<Speaker>,
    /// Blocks in it.
    blocks: usize,
}

impl Messages<'_> {
    fn turn(&mut self, index: usize, turn: &Turn<'_>) -> Result<(), Rejection> {
        self.enter(match turn.role {
            Role::Assistant => Speaker::Assistant,
            // An instruction in the middle is said by the user.
            Role::System | Role::User | Role::Tool => Speaker::User,
        });
        // Thinking comes first, or the upstream refuses the message. Where it does already, the
        // order is the upstream's own.
        let reorder = turn.parts.first().is_some_and(|part| !is_thinking(part));
        for early in [true, false] {
            for (part, content) in turn.parts.iter().enumerate() {
                if (reorder && is_thinking(content)) == early {
                    self.part(Place { turn: index, part }, content)?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, speaker: Speaker) {
        if self.open == Some(speaker) {
            return;
        }
        if self.open.is_some() {
            self.close();
            self.out.push(b',');
        }
        self.out.extend_from_slice(match speaker {
            Speaker::User => br#"{"role":"user","content":["#,
            Speaker::Assistant => br#"{"role":"assistant","content":["#,
        });
        self.open = Some(speaker);
        self.blocks = 0;
    }

    fn part(&mut self, place: Place, part: &Part<'_>) -> Result<(), Rejection> {
        let undo = self.out.len();
        if self.blocks > 0 {
            self.out.push(b',');
        }
        if blocks::write(place, part, self.out)? {
            self.blocks += 1;
        } else {
            self.out.truncate(undo);
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.blocks == 0 {
            self.out.extend_from_slice(br#"{"type":"text","text":""}"#);
        }
        self.out.extend_from_slice(b"]}");
    }
}

fn is_thinking(part: &Part<'_>) -> bool {
    matches!(part, Part::Thinking { .. } | Part::RedactedThinking { .. })
}
