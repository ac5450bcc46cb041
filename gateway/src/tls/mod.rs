//! TLS of the gateway's own listeners: what they present, ask for and count; what is shown of that
//! towards upstreams. [bridge]
//!
//! ```text
//! files -> Material (one rustls configuration) -+-> TlsListener (swapped whole) -> every handshake
//! rows of `ssls` -> Named (one for each name) --+
//! ```
//!
//! Handshakes themselves run where the connection lives: on a worker, or on the cold side.

mod by_name;
pub(crate) mod certificates;
pub(crate) mod facts;
pub(crate) mod files;
pub mod handshakes;
pub mod listener;
pub(crate) mod material;
pub(crate) mod rows;
pub mod upstream;
