//! `sluice upgrade`.

use super::Generations;
use super::generations::until_ended;
use crate::on_both_engines;
use crate::support::command::sluice;
use crate::support::{Setup, mock};

on_both_engines! {
    fn it_finds_the_gateway_by_its_file_and_tells_the_outcome(engine) {
        let gateway = Generations::start(Setup::new(engine, mock()));
        let config = gateway.dir.path().join("config.json");
        let path = config.to_str().unwrap();
        let old = gateway.newest();
        let ended = sluice(&["upgrade", "--config", path]).well();
        let new = gateway.until_said("serving", 2)["pid"].clone();
        let start = format!("upgraded: process {new} serves, process {old} ");
        assert!(ended.stdout.starts_with(&start), "{}", ended.stdout);
        until_ended(old);
        std::fs::write(&config, "{").unwrap();
        let ended = sluice(&["upgrade", "--config", path]);
        assert_eq!(ended.code, 1, "{}", ended.printed());
        assert!(ended.stderr.contains("no new process took over"), "{}", ended.stderr);
        assert_eq!(gateway.get("/readyz").status, 200);
    }
}

#[test]
fn what_is_no_gateway_is_left_alone() {
    let own = std::process::id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let (pid_file, config) = (dir.path().join("pid"), dir.path().join("config.json"));
    std::fs::write(&pid_file, &own).unwrap();
    std::fs::write(&config, "{}").unwrap();
    let cases = [
        (["--pid", &own], "does not take upgrades"),
        (
            ["--pid-file", pid_file.to_str().unwrap()],
            "does not take upgrades",
        ),
        (["--pid-file", "/nowhere"], "No such file"),
        (
            ["--config", config.to_str().unwrap()],
            "no gateway runs with it",
        ),
    ];
    for (args, want) in cases {
        let ended = sluice(&["upgrade", args[0], args[1]]);
        assert_eq!(ended.code, 1, "{args:?}");
        assert!(ended.stderr.contains(want), "{args:?}: {}", ended.stderr);
    }
}
