//! Whom a key belongs to, as bound into what it seals. [pure]

use uuid::Uuid;

/// Length of a scope in associated data: its type and its id.
const SCOPE_BYTES: usize = 17;

/// Whom a key belongs to. What is sealed in one scope does not open in another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// One environment, by its UUID.
    Environment([u8; 16]),
    /// One organization, by its UUID.
    Organization([u8; 16]),
    /// The whole installation.
    System,
}

impl Scope {
    /// The scope of rows below `etcd.env_id`: that environment if it is a hyphenated UUID, else system.
    pub fn of_env_id(env_id: &str) -> Self {
        match Uuid::try_parse(env_id) {
            Ok(uuid) if env_id.len() == uuid::fmt::Hyphenated::LENGTH => {
                Self::Environment(uuid.into_bytes())
            }
            _ => Self::System,
        }
    }

    /// Type and id, as associated data has them.
    pub(super) fn bytes(&self) -> [u8; SCOPE_BYTES] {
        let (kind, id) = match self {
            Self::Environment(id) => (1, *id),
            Self::Organization(id) => (2, *id),
            Self::System => (3, [0; 16]),
        };
        let mut bytes = [0; SCOPE_BYTES];
        bytes[0] = kind;
        bytes[1..].copy_from_slice(&id);
        bytes
    }
}

/// Appends `text` with its length before it. `None` past 65,535 bytes.
pub(super) fn push_prefixed(aad: &mut Vec<u8>, text: &str) -> Option<()> {
    let length = u16::try_from(text.len()).ok()?;
    aad.extend_from_slice(&length.to_be_bytes());
    aad.extend_from_slice(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hyphenated_uuid_is_an_environment() {
        let id = [
            0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0xaa, 0x55,
            0x55, 0x55,
        ];
        let cases = [
            (
                "11111111-2222-3333-4444-5555aa555555",
                Scope::Environment(id),
            ),
            (
                "11111111-2222-3333-4444-5555AA555555",
                Scope::Environment(id),
            ),
            ("11111111222233334444555555555555", Scope::System),
            ("{11111111-2222-3333-4444-5555aa555555}", Scope::System),
            ("11111111-2222-3333-4444-5555aa55555g", Scope::System),
            ("staging", Scope::System),
            ("", Scope::System),
        ];
        for (text, want) in cases {
            assert_eq!(Scope::of_env_id(text), want, "{text}");
        }
    }

    #[test]
    fn scopes_of_the_same_id_differ() {
        let all = [
            Scope::Environment([0; 16]),
            Scope::Organization([0; 16]),
            Scope::System,
        ];
        assert_eq!(all.map(|scope| scope.bytes()[0]), [1, 2, 3]);
    }
}
