//! The `sluice` binary: arguments, then boot, check or validate. [boot]

use std::path::Path;
use std::process::ExitCode;

use gateway::cli::{self, Command};
use gateway::operator::{self, OperatorError};
use gateway::{boot, settings};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Validate {
            resources,
            store,
            format,
        } => told(operator::validate_file(&resources, &store, format)),
        Command::ValidateStore { store, format } => told(operator::validate(&store, format)),
        Command::Export(args) => told(operator::export(&args)),
        Command::Seal(args) => told(operator::seal(&args).map(|()| true)),
        Command::Unseal(args) => told(operator::unseal(&args).map(|()| true)),
        Command::Upgrade(args) => told(operator::upgrade(&args).map(|()| true)),
        Command::Rotate(args) => told(operator::rotate(&args).map(|()| true)),
        Command::Doctor(args) => match operator::doctor(&args) {
            Err(error) => {
                eprintln!("Error: {error}");
                ExitCode::from(cli::EXIT_NOT_RUN)
            }
            outcome => told(outcome),
        },
        Command::Healthcheck(args) => told(operator::healthcheck(&args).map(|()| true)),
        Command::Entrypoint { config } => entrypoint(&config),
    }
}

/// Exit 0 where all is well; problems were printed, errors are printed here.
fn told(outcome: Result<bool, OperatorError>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(cli::EXIT_FAILURE),
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::from(cli::EXIT_FAILURE)
        }
    }
}

fn run(config: &Path) -> ExitCode {
    match boot::run(config) {
        // Not a return from `main`: worker threads still run, and are left as they are.
        Ok(clean) => std::process::exit(if clean { 0 } else { 1 }),
        Err(error) => {
            eprintln!("Error: {error}");
            std::process::exit(i32::from(cli::EXIT_FAILURE));
        }
    }
}

/// Serves with the startup file at its place in an image.
fn entrypoint(config: &Path) -> ExitCode {
    if config.is_file() {
        return run(config);
    }
    eprintln!(
        "Error: no startup file at {}: mount one there, or set SLUICE_CONFIG_PATH",
        config.display()
    );
    ExitCode::from(cli::EXIT_NO_CONFIG)
}

fn check(config: &Path) -> ExitCode {
    let checked = settings::load(config, settings::process_env())
        .map_err(|error| error.to_string())
        .and_then(|(settings, mut warnings)| {
            let mut warn = |warning| warnings.push(warning);
            settings::store::sealer(&settings.secrets, &settings.env_id, &mut warn)?;
            Ok(warnings)
        });
    match checked {
        Ok(warnings) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            println!("OK: {}", config.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(cli::EXIT_FAILURE)
        }
    }
}
