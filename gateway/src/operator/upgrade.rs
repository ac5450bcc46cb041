//! `sluice upgrade`: asks the running gateway to hand over to a new process, and tells how it went. [boot]
//!
//! Processes are told apart by what `/proc` shows: their name is that of what they do (`boot/upgrade.rs`),
//! their arguments hold the startup file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{OperatorError, because};
use crate::boot::upgrade::{LEAVING, READY_MAX, SERVING};
use crate::cli::UpgradeArgs;

/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the process may take to act on the signal.
const BEGIN_MAX: Duration = Duration::from_secs(5);
/// How much longer than the gateway itself this command waits.
const MARGIN: Duration = Duration::from_secs(5);

/// Asks the process that `args` name, waits for the outcome and prints it on stdout.
///
/// # Errors
///
/// No such process, several, none that may be signalled; or it serves on by itself.
pub fn upgrade(args: &UpgradeArgs) -> Result<(), OperatorError> {
    let old = find(args)?;
    let pid = Pid::from_raw(old).ok_or_else(|| because("pid", "must be above 0"))?;
    if !catches_upgrade(old) {
        return Err(because(&format!("process {old}"), "does not take upgrades"));
    }
    let (before, arguments) = (processes(), arguments(old));
    kill_process(pid, Signal::USR2).map_err(|e| because(&format!("process {old}"), e))?;
    let started = now();
    let mut new = None;
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        let waited = now().saturating_duration_since(started);
        let mut others = processes().into_iter().filter(|pid| !before.contains(pid));
        let heir = others.find(|&pid| self::arguments(pid) == arguments);
        new = heir.or(new);
        match (name(old).as_deref(), new) {
            // One without streams is gone at once.
            (leaving, Some(new)) if leaving != Some(text(SERVING)) && is_serving(new) => {
                let rest = match leaving {
                    Some(_) => "finishes its streams",
                    None => "has ended",
                };
                println!("upgraded: process {new} serves, process {old} {rest}");
                return Ok(());
            }
            (None, _) => return Err(because(&format!("process {old}"), "has ended")),
            (_, Some(_)) if heir.is_none() => return Err(rolled_back(old)),
            (_, None) if waited >= BEGIN_MAX => return Err(rolled_back(old)),
            _ if waited >= READY_MAX + MARGIN => return Err(rolled_back(old)),
            _ => {}
        }
    }
}

fn rolled_back(old: i32) -> OperatorError {
    let what = "no new process took over; this one serves on, and its log says why";
    because(&format!("process {old}"), what)
}

fn find(args: &UpgradeArgs) -> Result<i32, OperatorError> {
    if let Some(pid) = args.pid {
        return Ok(pid);
    }
    if let Some(file) = &args.pid_file {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| because(&file.display().to_string(), error))?;
        let pid = text.trim().parse();
        return pid.map_err(|error| because(&file.display().to_string(), error));
    }
    let config = args.config.as_deref().unwrap_or(Path::new(""));
    let wanted = std::fs::canonicalize(config);
    let wanted = wanted.map_err(|error| because(&config.display().to_string(), error))?;
    // Commands like this one have the name too, and no handler.
    let serving = processes().into_iter();
    let serving = serving.filter(|&pid| is_serving(pid) && catches_upgrade(pid));
    let found: Vec<i32> = serving.filter(|&pid| runs_with(pid, &wanted)).collect();
    match found[..] {
        [pid] => Ok(pid),
        [] => Err(because(
            &config.display().to_string(),
            "no gateway runs with it",
        )),
        _ => {
            let what = format!("several gateways run with it: {found:?}; name one with --pid");
            Err(because(&config.display().to_string(), what))
        }
    }
}

fn processes() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// What a process was started with, the program left out; `None` where it has ended.
fn arguments(pid: i32) -> Option<Vec<u8>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let end = line.iter().position(|&byte| byte == 0)?;
    Some(line[end..].to_vec())
}

/// The name that a process has given itself; `None` where it has ended.
fn name(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let is_zombie = stat.rsplit(')').next()?.trim_start().starts_with('Z');
    (!is_zombie).then(|| name.trim_end().to_owned())
}

fn is_serving(pid: i32) -> bool {
    name(pid).as_deref() == Some(text(SERVING))
}

/// Whether SIGUSR2 would reach a handler: it ends a process that has none.
fn catches_upgrade(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = 1 << (Signal::USR2.as_raw() - 1);
    let name = name(pid);
    name.as_deref() != Some(text(LEAVING)) && mask.is_some_and(|mask| mask & bit != 0)
}

/// Whether the startup file of a process is `wanted`, by its arguments or its environment.
fn runs_with(pid: i32, wanted: &Path) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (arguments, environment) = (read("cmdline"), read("environ"));
    let named = arguments.split(|&byte| byte == 0).skip(1);
    let named = named.map(|word| word.strip_prefix(b"--config=").unwrap_or(word));
    let variables = environment.split(|&byte| byte == 0);
    let variables = variables.filter_map(|pair| pair.strip_prefix(b"SLUICE_CONFIG="));
    let here = PathBuf::from(format!("/proc/{pid}/cwd"));
    let here = std::fs::read_link(here).unwrap_or_default();
    let mut paths = named.chain(variables).filter(|word| !word.is_empty());
    paths.any(|word| {
        let path = here.join(String::from_utf8_lossy(word).as_ref());
        std::fs::canonicalize(path).is_ok_and(|path| path == *wanted)
    })
}

fn text(name: &std::ffi::CStr) -> &str {
    name.to_str().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a command has no worker's clock")]
fn now() -> Instant {
    Instant::now()
}
