//! The command line of `sluice`. [boot]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

/// Exit code after a boot or serve error, or after a check that found problems.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a usage error; [`parse`] exits with it by itself.
pub const EXIT_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  sluice --config /etc/sluice/config.yaml
      Run the gateway. SIGHUP reloads, SIGTERM drains and stops.
  SLUICE_PROXY__ADDR=0.0.0.0:3000 sluice -c config.yaml
      Override a key: SLUICE_, then its path in upper case, `__` between the parts.
  sluice check --config config.yaml
      List everything wrong with a startup file; bind nothing.
  sluice validate --resources resources.yaml --format json
      List everything wrong with a resources file, for a program to read.

Exit codes: 0 done, 1 error or problems found, 2 wrong usage.";

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
        /// How the outcome is written.
        format: Format,
    },
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
    let args = Args::try_parse_from(args)?;
    match args.command {
        Some(Sub::Check { config }) => Ok(Command::Check { config }),
        Some(Sub::Validate { resources, format }) => Ok(Command::Validate { resources, format }),
        None => args
            .config
            .map(|config| Command::Run { config })
            .ok_or_else(|| {
                Args::command().error(
                    ErrorKind::MissingRequiredArgument,
                    "--config FILE is required (or the variable SLUICE_CONFIG)",
                )
            }),
    }
}

/// Sluice, an AI gateway: one address in front of every model provider.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = EXAMPLES)]
#[command(subcommand_precedence_over_arg = true)]
struct Args {
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
    /// Check a resources file and list every problem; no network
    Validate {
        /// Resources file; `${NAME}` and `key_env` read this environment
        #[arg(short, long, value_name = "FILE")]
        resources: PathBuf,
        /// How the outcome is written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
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
            format,
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
            "sluice validate --config c.yaml",
            "sluice validate --resources r.yaml --format xml",
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
        Args::command().debug_assert();
    }
}
