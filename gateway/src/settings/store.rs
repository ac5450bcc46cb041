//! The store of rows and the keys that open it, as the settings name them. [boot]

use config_sync::seal::{Keyring, MasterKey, Sealer};
use config_sync::source::etcd::{Clocks, Endpoint, EtcdOptions, Login, TlsFiles};

use super::{EtcdSettings, SecretsSettings};

/// `ID=KEY` pairs by commas: keys that the ring's own keys may be wrapped with.
const MASTER_KEYS: &str = "SLUICE_MASTER_KEYS";

/// What the source is told.
pub fn etcd_options(settings: &EtcdSettings) -> EtcdOptions {
    let endpoint = |endpoint: &super::EtcdEndpoint| Endpoint {
        https: endpoint.https,
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    let tls = &settings.tls;
    EtcdOptions {
        endpoints: settings.endpoints.iter().map(endpoint).collect(),
        prefix: settings.prefix.clone(),
        login: settings.login.as_ref().map(|login| Login {
            user: login.user.clone(),
            password_env: login.password_env.clone(),
        }),
        dial_timeout: settings.dial_timeout,
        request_timeout: settings.request_timeout,
        tls: TlsFiles {
            ca_cert_file: tls.ca_cert_file.clone(),
            identity: tls
                .identity
                .as_ref()
                .map(|identity| (identity.cert_file.clone(), identity.key_file.clone())),
            domain_name: tls.domain_name.clone(),
        },
        clocks: Clocks::default(),
    }
}

/// The master keys of the settings and of the environment; warnings go to `warn`.
///
/// # Errors
///
/// A sentence that names the key, never its value.
pub fn master_keys(
    settings: &SecretsSettings,
    warn: &mut dyn FnMut(String),
) -> Result<Vec<MasterKey>, String> {
    let mut keys = Vec::new();
    for (id, path) in &settings.master_key_files {
        let (key, warning) = MasterKey::from_file(id, path)?;
        keys.push(key);
        warning.into_iter().for_each(&mut *warn);
    }
    let pairs = std::env::var(MASTER_KEYS).unwrap_or_default();
    for pair in pairs.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (id, text) = pair
            .split_once('=')
            .ok_or_else(|| format!("{MASTER_KEYS} must be `ID=KEY`, several by commas"))?;
        keys.push(MasterKey::parse(id.trim(), text.trim())?);
    }
    Ok(keys)
}

/// What opens the sealed values below `env_id`; `None` without a key ring.
///
/// # Errors
///
/// A sentence that names the file and the field, never a key.
pub fn sealer(
    settings: &SecretsSettings,
    env_id: &str,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Sealer>, String> {
    let Some(path) = &settings.keyring_file else {
        return Ok(None);
    };
    let masters = master_keys(settings, warn)?;
    let (ring, warning) = Keyring::read(path, &masters).map_err(|error| error.to_string())?;
    warning.into_iter().for_each(&mut *warn);
    let sealer = Sealer::new(ring, env_id)?;
    Ok(Some(sealer))
}
