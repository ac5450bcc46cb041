//! The `sluice-loadtest` binary: arguments, then one of its commands. [boot]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Scripted LLM upstream and load client.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a scripted OpenAI-shaped upstream.
    Mock(loadtest::mock::MockArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Mock(arguments) => loadtest::mock::main(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}
