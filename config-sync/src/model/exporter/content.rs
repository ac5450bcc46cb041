//! How much of prompts and answers leaves the gateway. [pure]

use crate::tree::Fields;

/// Most bytes of one field.
const CONTENT_BYTES_MAX: u32 = 1_048_576;
const CONTENT_BYTES_DEFAULT: u32 = 131_072;

/// What of prompts and answers is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// Nothing. The default.
    MetadataOnly,
    /// Prompts and answers.
    Full {
        /// Most bytes of each field, 1 to 1048576. Default 131072.
        bytes_max: u32,
    },
}

impl Content {
    /// Reads `content_mode` and `content_max_bytes`.
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let modes = [("metadata_only", false), ("full", true)];
        let is_full = fields.take_choice("content_mode", &modes).unwrap_or(false);
        let bytes_max = fields
            .take_u32_in("content_max_bytes", 1, CONTENT_BYTES_MAX)
            .unwrap_or(CONTENT_BYTES_DEFAULT);
        if is_full {
            Self::Full { bytes_max }
        } else {
            Self::MetadataOnly
        }
    }
}
