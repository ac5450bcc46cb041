//! The form between protocols: what a caller asks and what a model says, whoever speaks. [pure]
//!
//! Used where caller and upstream speak different protocols. A dialect reads the caller's body into
//! a [`Conversation`] and renders [`Reply`] and [`Delta`]s for the caller; an adapter writes the
//! conversation for its upstream and reads what comes back. So N protocols of callers and M of
//! upstreams are N + M translations. Where both sides speak the same protocol none of this is used:
//! bytes are forwarded as they came.

mod conversation;
mod escaped;
mod reply;
mod stream;

pub use conversation::{
    Conversation, Effort, Format, Marks, Part, Role, Source, Tool, ToolChoice, Turn,
};
pub use escaped::Escaped;
pub use reply::{Block, Finish, Reply};
pub use stream::{Decoder, Delta, Renderer, Translated};
