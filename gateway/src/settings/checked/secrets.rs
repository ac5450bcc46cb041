//! Keys that open sealed values. [boot]

use std::path::PathBuf;

use config_sync::tree::Fields;

use crate::settings::field::path;

/// Where the keys of `$enc:` values are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SecretsSettings {
    /// `secrets.keyring_file`: the data keys. Default none: sealed values are refused.
    pub keyring_file: Option<PathBuf>,
    /// `secrets.master_key_files`: id and file of the keys that the ring's own keys may be wrapped
    /// with, each written `ID=PATH`. Default none.
    pub master_key_files: Vec<(Box<str>, PathBuf)>,
}

/// Reads `secrets`.
pub(super) fn secrets(root: &Fields<'_>) -> SecretsSettings {
    let block = root.take_block("secrets");
    let keyring_file = path(&block, "keyring_file");
    let list = block.take_strings("master_key_files").unwrap_or_default();
    let mut master_key_files = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        match entry.split_once('=') {
            Some((id, path)) if !id.is_empty() && !path.is_empty() => {
                master_key_files.push((id.into(), path.into()));
            }
            _ => block.problem(&format!("master_key_files[{index}]"), "must be `ID=PATH`"),
        }
    }
    block.finish();
    SecretsSettings {
        keyring_file,
        master_key_files,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::field::reading::read;
    use serde_json::json;

    #[test]
    fn master_keys_are_named() {
        let doc = json!({"secrets": {"keyring_file": "/k", "master_key_files":
            ["mk1=/run/mk1", "mk2=/a=b", "=x", "mk3", "mk3="]}});
        let read = read(&doc, &[], |root, _, _| secrets(root));
        let want = ["mk1=/run/mk1", "mk2=/a=b"].map(|entry| {
            let (id, path) = entry.split_once('=').unwrap();
            (Box::from(id), PathBuf::from(path))
        });
        assert_eq!(read.got.master_key_files, want);
        assert_eq!(read.got.keyring_file, Some("/k".into()));
        let said = |index| format!("secrets.master_key_files[{index}]: must be `ID=PATH`");
        assert_eq!(read.problems, [2, 3, 4].map(said));
    }
}
