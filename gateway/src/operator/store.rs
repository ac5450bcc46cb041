//! The store that a command's arguments name, opened. [boot]

use std::time::Duration;

use config_sync::seal::Sealer;
use config_sync::source::Listing;
use config_sync::source::etcd::{self, Endpoint, EtcdOptions, Store};

use super::{OperatorError, because};
use crate::cli::StoreArgs;
use crate::settings::{self, SecretsSettings, SourceSettings, store};

/// The prefix of a store where nobody names one.
const PREFIX: &str = "/sluice";
/// Attempts to connect, and the time between two of them.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What the arguments and the startup file they name say together.
pub(super) struct Named {
    pub(super) options: EtcdOptions,
    pub(super) env_id: Box<str>,
    pub(super) secrets: SecretsSettings,
}

impl Named {
    /// Reads the startup file, if one is named; arguments win over it.
    ///
    /// # Errors
    ///
    /// The file's problems, or an address that is none.
    pub(super) fn by(args: &StoreArgs) -> Result<Self, OperatorError> {
        let mut named = match &args.config {
            None => Self {
                options: EtcdOptions::new(Vec::new(), PREFIX),
                env_id: "".into(),
                secrets: SecretsSettings::default(),
            },
            Some(path) => of_file(path, args.etcd.is_empty())?,
        };
        if !args.etcd.is_empty() {
            named.options.endpoints = Vec::new();
            for url in &args.etcd {
                let endpoint = Endpoint::parse(url.trim()).map_err(|e| because("--etcd", e))?;
                named.options.endpoints.push(endpoint);
            }
        }
        if args.prefix.is_some() || args.env_id.is_some() {
            let env_id = args.env_id.as_deref().unwrap_or(&named.env_id);
            let prefix = match &args.prefix {
                Some(prefix) => prefix.trim_end_matches('/'),
                None => without(&named.options.prefix, &named.env_id),
            };
            let whole = match env_id {
                "" => prefix.to_owned(),
                _ => format!("{prefix}/{env_id}"),
            };
            named.env_id = env_id.into();
            named.options.prefix = whole.into();
        }
        if let Some(path) = &args.keyring_file {
            named.secrets.keyring_file = Some(path.clone());
        }
        Ok(named)
    }

    /// What opens sealed values; `None` without a key ring.
    ///
    /// # Errors
    ///
    /// The ring cannot be read, or is that of another environment.
    pub(super) fn sealer(&self) -> Result<Option<Sealer>, OperatorError> {
        store::sealer(&self.secrets, &self.env_id, &mut warn).map_err(OperatorError)
    }

    /// What seals.
    ///
    /// # Errors
    ///
    /// As [`Named::sealer`]; there must be a ring.
    pub(super) fn required_sealer(&self) -> Result<Sealer, OperatorError> {
        self.sealer()?.ok_or_else(|| {
            OperatorError("a key ring is needed: --keyring-file, or secrets.keyring_file".into())
        })
    }

    /// Connects to the first member that answers, in a few attempts.
    ///
    /// # Errors
    ///
    /// That of the last attempt.
    pub(super) async fn connect(&self) -> Result<Store<'_>, OperatorError> {
        let mut attempt = 1;
        loop {
            match Store::connect(&self.options).await {
                Ok(store) => return Ok(store),
                Err(error) if attempt == ATTEMPTS => return Err(because("etcd", error)),
                Err(error) => warn(format!("etcd: {error}; trying again")),
            }
            attempt += 1;
            etcd::pause(PAUSE).await;
        }
    }

    /// Connects and reads every row.
    ///
    /// # Errors
    ///
    /// As [`Named::connect`].
    pub(super) fn list(&self) -> Result<Listing, OperatorError> {
        blocking(async {
            let listing = self.connect().await?.list().await;
            listing.map_err(|error| because("etcd", error))
        })
    }
}

/// Runs `work` to its end.
///
/// # Errors
///
/// Those of `work`, or no event loop could be had.
pub(super) fn blocking<T>(
    work: impl Future<Output = Result<T, OperatorError>>,
) -> Result<T, OperatorError> {
    etcd::block_on(work).unwrap_or_else(|error| Err(because("event loop", error)))
}

/// A line for the operator, beside what the command prints.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed around as a callback"
)]
pub(super) fn warn(message: String) {
    eprintln!("warning: {message}");
}

fn of_file(path: &std::path::Path, needs_etcd: bool) -> Result<Named, OperatorError> {
    let (settings, _) = settings::load(path, settings::process_env())
        .map_err(|error| OperatorError(error.to_string()))?;
    let options = match &settings.source {
        SourceSettings::Etcd(etcd) => store::etcd_options(etcd),
        SourceSettings::File(_) | SourceSettings::Managed(_) if needs_etcd => {
            let message = format!("{}: names no etcd.endpoints", path.display());
            return Err(OperatorError(message));
        }
        SourceSettings::File(_) | SourceSettings::Managed(_) => {
            EtcdOptions::new(Vec::new(), PREFIX)
        }
    };
    Ok(Named {
        options,
        env_id: settings.env_id,
        secrets: settings.secrets,
    })
}

fn without<'p>(prefix: &'p str, env_id: &str) -> &'p str {
    let cut = prefix.strip_suffix(env_id);
    cut.filter(|_| !env_id.is_empty())
        .map_or(prefix, |prefix| prefix.trim_end_matches('/'))
}
