//! The command line of `sluice`. [boot]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Exit code after a boot or serve error, or after a check that found problems.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a usage error; [`parse`] exits with it by itself.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of `doctor` where its checks could not run.
pub const EXIT_NOT_RUN: u8 = 2;
/// Exit code of `entrypoint` without its startup file: `EX_USAGE` of `sysexits.h`.
pub const EXIT_NO_CONFIG: u8 = 64;

/// Where an image has its startup file, unless `SLUICE_CONFIG_PATH` says otherwise.
const IMAGE_CONFIG: &str = "/etc/sluice/config.yaml";

const EXAMPLES: &str = "\
Examples:
  sluice --config /etc/sluice/config.yaml
      Run the gateway. SIGHUP reloads, SIGUSR2 upgrades in place, SIGTERM drains and stops.
  SLUICE_PROXY__ADDR=0.0.0.0:3000 sluice -c config.yaml
      Override a key: SLUICE_, then its path in upper case, `__` between the parts.
  sluice check --config config.yaml
      List everything wrong with a startup file; bind nothing.
  sluice validate --resources resources.yaml --format json
      List everything wrong with a resources file, for a program to read.
  sluice validate --config config.yaml --etcd http://10.0.0.5:2379
      List every row of a store that the gateway would refuse or understand in part.
  sluice export --etcd http://10.0.0.5:2379 -o resources.yaml
      Write a store's rows as a resources file; credentials become ${VARIABLES}.
  sluice rotate --keyring-file ring.json --new-key
      Make a key ring, or add a newer key to one.
  sluice seal --keyring-file ring.json --config config.yaml
      Seal every credential in the store of a startup file, in place.
  sluice doctor --config config.yaml
      Look at this host, its limits and the files of a startup file: what will hurt, and what mends it.
  sluice healthcheck --config config.yaml
      Ask the gateway of a startup file on this host whether it lives.
  sluice upgrade --config config.yaml
      Have the gateway that runs with this file hand over to the binary now in its place.

Exit codes: 0 done, 1 error or problems found, 2 wrong usage, or a doctor that could not look;
64 no startup file (entrypoint).";

/// What was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Serve until told to stop.
    Run {
        /// The startup file.
        config: PathBuf,
    },
    /// Check a startup file: exit 0 or 1.
    Check {
        /// The startup file.
        config: PathBuf,
    },
    /// Check a resources file, with the caller's environment and nothing else: exit 0 or 1.
    Validate {
        /// The resources file.
        resources: PathBuf,
        /// The key ring of its sealed values, and their environment.
        store: StoreArgs,
        /// How the outcome is written.
        format: Format,
    },
    /// Check the rows of a store: exit 0 or 1.
    ValidateStore {
        /// Where the rows are.
        store: StoreArgs,
        /// How the outcome is written.
        format: Format,
    },
    /// Write the rows of a store as a resources file.
    Export(ExportArgs),
    /// Seal credentials.
    Seal(SealArgs),
    /// Open sealed credentials.
    Unseal(SealArgs),
    /// Add a key to a ring, or seal a store's credentials anew under the newest one.
    Rotate(RotateArgs),
    /// Have a running gateway hand over to a new process: exit 0 once that serves.
    Upgrade(UpgradeArgs),
    /// Look for what will hurt: exit 0, 1, or 2 where the checks could not run.
    Doctor(DoctorArgs),
    /// Ask a running gateway whether it lives: exit 0 or 1.
    Healthcheck(HealthcheckArgs),
    /// Serve as an image does: exit 64 without the startup file.
    Entrypoint {
        /// The startup file.
        config: PathBuf,
    },
}

/// `sluice doctor`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct DoctorArgs {
    /// Startup file: .yaml, .yml, .toml or .json [default: none, only the host is looked at]
    #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `sluice healthcheck`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct HealthcheckArgs {
    /// Startup file whose gateway runs on this host
    #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG_PATH", default_value = IMAGE_CONFIG)]
    pub config: PathBuf,
    /// Ask whether it serves (/readyz) instead of whether it lives (/livez)
    #[arg(long)]
    pub ready: bool,
}

/// A store of rows, by its addresses or as a startup file names it.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreArgs {
    /// Addresses of etcd, by commas or repeated: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Prefix of the keys [default: that of the startup file, or /sluice]
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Environment below the prefix [default: that of the startup file, or none]
    #[arg(long, value_name = "ID")]
    pub env_id: Option<String>,
    /// Startup file whose `etcd` and `secrets` blocks are used: addresses, TLS, user, key ring
    #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Key ring that opens and seals credentials [default: that of the startup file]
    #[arg(long, value_name = "FILE")]
    pub keyring_file: Option<PathBuf>,
}

impl StoreArgs {
    /// Whether a store is named at all.
    pub fn is_named(&self) -> bool {
        !self.etcd.is_empty() || self.config.is_some()
    }
}

/// `sluice export`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// File to write, readable by its owner alone [default: stdout]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Write credentials into the file instead of ${VARIABLES}
    #[arg(long)]
    pub reveal_secrets: bool,
}

/// `sluice seal` and `sluice unseal`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct SealArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// One value from stdin to stdout, for this row: COLLECTION/ID
    #[arg(long, value_name = "COLLECTION/ID", requires = "field")]
    pub row: Option<String>,
    /// The field of the row, as a JSON pointer: /api_key
    #[arg(long, value_name = "POINTER", requires = "row")]
    pub field: Option<String>,
    /// Say what would change; write nothing
    #[arg(long, conflicts_with = "row")]
    pub dry_run: bool,
}

/// `sluice rotate`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct RotateArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Add a newer key to the ring, or make a ring with a first one. Give every gateway the ring before
    /// anything is sealed with the new key
    #[arg(long)]
    pub new_key: bool,
    /// Say what would change; write nothing
    #[arg(long, conflicts_with = "new_key")]
    pub dry_run: bool,
}

/// `sluice upgrade`: which gateway, by exactly one of these or the variable of the first.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct UpgradeArgs {
    /// Startup file that the gateway runs with
    #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Its process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// File that holds the number of its process
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    pub pid_file: Option<PathBuf>,
}

/// How `validate` writes its outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// One sentence on stdout, or the report on stderr.
    #[default]
    Text,
    /// A list of `{scope, path, message}` on stdout; empty when the file is fine.
    Json,
}

/// Reads the arguments of this process.
///
/// Does not return after `--help` and `--version` (exit 0) nor after a usage error (exit 2).
pub fn parse() -> Command {
    try_parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads `args`, of which the first is the name of the program.
///
/// # Errors
///
/// clap's, for wrong usage and for `--help` and `--version`.
pub fn try_parse_from(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Command, clap::Error> {
    let args = Cli::try_parse_from(args)?;
    match args.command {
        Some(Sub::Check { config }) => Ok(Command::Check { config }),
        Some(Sub::Validate {
            resources: Some(resources),
            store,
            format,
        }) => Ok(Command::Validate {
            resources,
            store,
            format,
        }),
        Some(Sub::Validate { store, format, .. }) if store.is_named() => {
            Ok(Command::ValidateStore { store, format })
        }
        Some(Sub::Validate { .. }) => Err(missing(
            "name a file with --resources FILE, or a store with --etcd URLS or --config FILE",
        )),
        Some(Sub::Export(args)) => {
            named(args.store.clone())?;
            Ok(Command::Export(args))
        }
        Some(Sub::Seal(args)) => sealing(args).map(Command::Seal),
        Some(Sub::Unseal(args)) => sealing(args).map(Command::Unseal),
        Some(Sub::Rotate(args)) => {
            if !args.new_key {
                named(args.store.clone())?;
            } else if args.store.keyring_file.is_none() && args.store.config.is_none() {
                return Err(missing(
                    "--new-key needs --keyring-file FILE, or --config FILE that names one",
                ));
            }
            Ok(Command::Rotate(args))
        }
        Some(Sub::Doctor(args)) => Ok(Command::Doctor(args)),
        Some(Sub::Healthcheck(args)) => Ok(Command::Healthcheck(args)),
        Some(Sub::Entrypoint { config }) => Ok(Command::Entrypoint { config }),
        Some(Sub::Upgrade(args)) => {
            if args.config.is_none() && args.pid.is_none() && args.pid_file.is_none() {
                return Err(missing(
                    "name a gateway with --config FILE, --pid PID or --pid-file FILE",
                ));
            }
            Ok(Command::Upgrade(args))
        }
        None => args
            .config
            .map(|config| Command::Run { config })
            .ok_or_else(|| missing("--config FILE is required (or the variable SLUICE_CONFIG)")),
    }
}

fn missing(what: &str) -> clap::Error {
    Cli::command().error(ErrorKind::MissingRequiredArgument, what)
}

fn named(store: StoreArgs) -> Result<StoreArgs, clap::Error> {
    if store.is_named() {
        return Ok(store);
    }
    Err(missing(
        "name a store with --etcd URLS or a startup file with --config FILE",
    ))
}

/// One value needs a key ring alone; a store's values need the store.
fn sealing(args: SealArgs) -> Result<SealArgs, clap::Error> {
    if args.row.is_none() {
        named(args.store.clone())?;
    }
    Ok(args)
}

/// Sluice, an AI gateway: one address in front of every model provider.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = EXAMPLES)]
#[command(subcommand_precedence_over_arg = true)]
struct Cli {
    /// Startup file: .yaml, .yml, .toml or .json
    #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Check a startup file and list every problem; bind nothing
    Check {
        /// Startup file: .yaml, .yml, .toml or .json
        #[arg(short, long, value_name = "FILE", env = "SLUICE_CONFIG")]
        config: PathBuf,
    },
    /// Check a resources file, without any network, or the rows of a store; list every problem
    Validate {
        /// Resources file; `${NAME}` and `key_env` read this environment
        #[arg(short, long, value_name = "FILE", conflicts_with = "etcd")]
        resources: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
        /// How the outcome is written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Write the rows of a store as a resources file
    Export(ExportArgs),
    /// Seal credentials: those of a store in place, or one value from stdin
    Seal(SealArgs),
    /// Open sealed credentials: those of a store in place, or one value from stdin
    Unseal(SealArgs),
    /// Add a key to a ring, or seal a store's credentials anew under the newest key
    Rotate(RotateArgs),
    /// Look at this host and at the files of a startup file: what will hurt, and what mends it
    Doctor(DoctorArgs),
    /// Ask the gateway of a startup file on this host whether it lives
    Healthcheck(HealthcheckArgs),
    /// Run the gateway of an image: its startup file has a fixed place; exit 64 where there is none
    Entrypoint {
        /// Startup file
        #[arg(long, value_name = "FILE", env = "SLUICE_CONFIG_PATH", default_value = IMAGE_CONFIG)]
        config: PathBuf,
    },
    /// Have a running gateway hand over to a new process without failing a request
    Upgrade(UpgradeArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        try_parse_from(line.split_whitespace())
    }

    #[test]
    fn each_form_is_read() {
        let run = Command::Run {
            config: "c.yaml".into(),
        };
        let check = Command::Check {
            config: "c.yaml".into(),
        };
        let validate = |format| Command::Validate {
            resources: "r.yaml".into(),
            store: StoreArgs::default(),
            format,
        };
        let doctor = |config: Option<&str>, json| {
            let config = config.map(PathBuf::from);
            Command::Doctor(DoctorArgs { config, json })
        };
        let health = |config: &str, ready| {
            let config = config.into();
            Command::Healthcheck(HealthcheckArgs { config, ready })
        };
        let cases = [
            ("sluice --config c.yaml", run.clone()),
            ("sluice --config=c.yaml", run.clone()),
            ("sluice -c c.yaml", run),
            ("sluice check --config c.yaml", check.clone()),
            ("sluice check -c c.yaml", check.clone()),
            ("sluice -c other.yaml check -c c.yaml", check),
            ("sluice validate --resources r.yaml", validate(Format::Text)),
            (
                "sluice validate --format text --resources r.yaml",
                validate(Format::Text),
            ),
            (
                "sluice validate --resources r.yaml --format json",
                validate(Format::Json),
            ),
            ("sluice doctor", doctor(None, false)),
            (
                "sluice doctor -c c.yaml --json",
                doctor(Some("c.yaml"), true),
            ),
            ("sluice healthcheck", health(IMAGE_CONFIG, false)),
            (
                "sluice healthcheck -c c.yaml --ready",
                health("c.yaml", true),
            ),
            (
                "sluice entrypoint",
                Command::Entrypoint {
                    config: IMAGE_CONFIG.into(),
                },
            ),
        ];
        for (line, want) in cases {
            assert_eq!(read(line).expect(line), want, "{line}");
        }
    }

    #[test]
    fn a_store_is_named_by_addresses_or_by_a_startup_file() {
        let by_addresses = StoreArgs {
            etcd: vec!["http://a".into(), "https://b:1".into(), "http://c".into()],
            prefix: Some("/aisix".into()),
            ..StoreArgs::default()
        };
        let by_file = StoreArgs {
            config: Some("c.yaml".into()),
            keyring_file: Some("k".into()),
            ..StoreArgs::default()
        };
        let seal = |store, row: Option<&str>| SealArgs {
            store,
            row: row.map(str::to_owned),
            field: row.map(|_| "/api_key".to_owned()),
            dry_run: row.is_none(),
        };
        let ring_alone = StoreArgs {
            keyring_file: Some("k".into()),
            ..StoreArgs::default()
        };
        let cases = [
            (
                "sluice validate --etcd http://a,https://b:1 --etcd http://c --prefix /aisix",
                Command::ValidateStore {
                    store: by_addresses.clone(),
                    format: Format::Text,
                },
            ),
            (
                "sluice export --etcd http://a,https://b:1,http://c --prefix /aisix -o f --reveal-secrets",
                Command::Export(ExportArgs {
                    store: by_addresses,
                    output: Some("f".into()),
                    reveal_secrets: true,
                }),
            ),
            (
                "sluice seal --config c.yaml --keyring-file k --dry-run",
                Command::Seal(seal(by_file, None)),
            ),
            (
                "sluice unseal --keyring-file k --row provider_keys/a --field /api_key",
                Command::Unseal(seal(ring_alone.clone(), Some("provider_keys/a"))),
            ),
            (
                "sluice rotate --keyring-file k --new-key",
                Command::Rotate(RotateArgs {
                    store: ring_alone,
                    new_key: true,
                    dry_run: false,
                }),
            ),
        ];
        for (line, want) in cases {
            assert_eq!(read(line).expect(line), want, "{line}");
        }
    }

    #[test]
    fn a_gateway_is_named_by_its_file_or_its_process() {
        let upgrade = |config: Option<&str>, pid, pid_file: Option<&str>| {
            Command::Upgrade(UpgradeArgs {
                config: config.map(Into::into),
                pid,
                pid_file: pid_file.map(Into::into),
            })
        };
        let cases = [
            (
                "sluice upgrade -c c.yaml",
                upgrade(Some("c.yaml"), None, None),
            ),
            ("sluice upgrade --pid 7", upgrade(None, Some(7), None)),
            (
                "sluice upgrade --pid-file f",
                upgrade(None, None, Some("f")),
            ),
        ];
        for (line, want) in cases {
            assert_eq!(read(line).expect(line), want, "{line}");
        }
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        let lines = [
            "sluice",
            "sluice --config",
            "sluice --confg c.yaml",
            "sluice run -c c.yaml",
            "sluice -c c.yaml extra",
            "sluice check",
            "sluice validate",
            "sluice validate --resources r.yaml --format xml",
            "sluice validate --resources r.yaml --etcd http://a",
            "sluice export",
            "sluice export --prefix /sluice",
            "sluice seal --keyring-file k",
            "sluice seal --keyring-file k --row models/a",
            "sluice seal --keyring-file k --row models/a --field /x --dry-run",
            "sluice rotate --keyring-file k",
            "sluice rotate --new-key",
            "sluice upgrade",
            "sluice upgrade --pid 0",
            "sluice upgrade --pid 7 --pid-file f",
        ];
        for line in lines {
            let error = read(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{line}");
            assert!(error.use_stderr(), "{line}");
        }
    }

    #[test]
    fn help_and_version_go_to_stdout_and_exit_with_0() {
        for line in [
            "sluice --help",
            "sluice -h",
            "sluice --version",
            "sluice check --help",
        ] {
            let error = read(line).expect_err(line);
            assert_eq!(error.exit_code(), 0, "{line}");
            assert!(!error.use_stderr(), "{line}");
        }
        let help = read("sluice --help").expect_err("help").to_string();
        assert!(help.contains("sluice check --config config.yaml"), "{help}");
        let version = read("sluice --version").expect_err("version").to_string();
        assert_eq!(version, format!("sluice {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
