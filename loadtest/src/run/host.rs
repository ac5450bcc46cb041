//! The machine and the settings of a measurement, to go with its figures. [cold]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// Kernel, processor, command line, commit and time.
pub(super) fn describe() -> Value {
    let uname = rustix::system::uname();
    json!({
        "kernel": format!(
            "{} {}",
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy()
        ),
        "machine": uname.machine().to_string_lossy(),
        "cpu_model": cpu_model(),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "command": command_line(std::env::args()),
        "commit": commit(),
        "version": env!("CARGO_PKG_VERSION"),
        "unix_ms": crate::clock::unix_millis(),
    })
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The arguments, with the bearer keys of targets left out.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let shown = arguments.map(|argument| {
        let parts = argument
            .split(',')
            .map(|part| match part.starts_with("key=") {
                true => "key=***",
                false => part,
            });
        let masked = parts.collect::<Vec<_>>().join(",");
        match masked.to_ascii_lowercase().starts_with("authorization:") {
            true => "authorization: ***".to_owned(),
            false => masked,
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The commit of the working directory, if it is a checkout.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_get_into_a_report() {
        let arguments = [
            "run",
            "--target",
            "a=http://h:1,key=sk-secret,pid=1",
            "Authorization: x",
        ];
        let line = command_line(arguments.iter().map(|&argument| argument.to_owned()));
        assert_eq!(
            line,
            "run --target a=http://h:1,key=***,pid=1 authorization: ***"
        );
    }

    #[test]
    fn a_description_names_kernel_and_processors() {
        let host = describe();
        assert!(host["kernel"].as_str().unwrap().starts_with("Linux "));
        assert!(host["cpus"].as_u64().unwrap() > 0);
    }
}
