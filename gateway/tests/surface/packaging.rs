//! Files of the repository that other programs read: the seccomp profile, the unit, kernel settings, the
//! Dockerfile. Skipped, loudly, where the program that understands them is missing.

use std::path::Path;
use std::process::Command;

use crate::container::REPOSITORY;
use crate::on_both_engines;
use crate::support::gateway::{chat, post};
use crate::support::{Engine, Setup, mock};

/// Loads the profile of its first argument, then runs the rest.
const UNDER_PROFILE: &str = r#"
import ctypes, json, os, sys
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
OPS = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
def action(name, errno): return 0x7fff0000 if name == "SCMP_ACT_ALLOW" else 0x00050000 | errno
profile = json.load(open(sys.argv[1]))
context = ctypes.c_void_p(lib.seccomp_init(action(profile["defaultAction"], profile["defaultErrnoRet"])))
for rule in profile["syscalls"]:
    wanted = rule.get("args", [])
    compares = (Compare * len(wanted))(*[
        Compare(it["index"], OPS[it["op"]], it["value"], it.get("valueTwo", 0)) for it in wanted])
    for name in rule["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            lib.seccomp_rule_add_array(context, action(rule["action"], rule.get("errnoRet", 1)), number,
                len(wanted), compares)
assert lib.seccomp_load(context) == 0
os.execv(sys.argv[2], sys.argv[2:])
"#;

fn under(profile: &Path) -> Vec<String> {
    let profile = profile.to_str().unwrap();
    ["python3", "-c", UNDER_PROFILE, profile]
        .map(String::from)
        .into()
}

fn has_libseccomp() -> bool {
    let script = "import ctypes; ctypes.CDLL('libseccomp.so.2')";
    let found = Command::new("python3").args(["-c", script]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: no libseccomp.so.2 to load the profile with");
    }
    found
}

on_both_engines! {
    fn the_shipped_profile_lets_either_engine_serve(engine) {
        if !has_libseccomp() { return }
        let mut setup = Setup::new(engine, mock());
        setup.wrapper = under(Path::new(&format!("{REPOSITORY}/tuning/container/seccomp.json")));
        let gateway = setup.start();
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
        let mut raw = gateway.connect();
        raw.send(&post("/v1/chat/completions", &chat("script/events=5,gap_ms=1", true)));
        let answer = raw.response();
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        assert_eq!(gateway.logged("serving").unwrap()["io_engine"], engine.name());
    }
}

#[test]
fn the_shipped_profile_without_its_addition_is_what_runtimes_have() {
    if !has_libseccomp() {
        return;
    }
    let text =
        std::fs::read_to_string(format!("{REPOSITORY}/tuning/container/seccomp.json")).unwrap();
    let mut profile: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut taken = 0;
    for rule in profile["syscalls"].as_array_mut().unwrap() {
        let names = rule["names"].as_array_mut().unwrap();
        let before = names.len();
        names.retain(|name| !name.as_str().unwrap().starts_with("io_uring_"));
        taken += before - names.len();
    }
    assert_eq!(taken, 3);
    let dir = tempfile::tempdir().unwrap();
    let without = dir.path().join("without.json");
    std::fs::write(&without, profile.to_string()).unwrap();
    let mut setup = Setup::new(Engine::Epoll, mock()).with("proxy.io_engine", "auto");
    setup.wrapper = under(&without);
    let gateway = setup.start();
    assert_eq!(gateway.logged("serving").unwrap()["io_engine"], "epoll");
}

#[test]
fn the_dockerfile_ends_in_the_image_that_is_tested_here() {
    let text = std::fs::read_to_string(format!("{REPOSITORY}/Dockerfile")).unwrap();
    let (_, last) = text.rsplit_once("\nFROM ").expect("stages");
    let mut lines = last.lines();
    assert_eq!(lines.next(), Some("scratch"));
    for line in [
        "COPY --from=build /image/ /",
        "USER 10001:10001",
        "    CMD [\"/usr/local/bin/sluice\", \"healthcheck\"]",
        "ENTRYPOINT [\"/usr/local/bin/sluice\"]",
        "CMD [\"entrypoint\"]",
    ] {
        assert!(last.lines().any(|found| found == line), "{line}");
    }
    assert!(text.contains("tuning/container/assemble.sh /image /usr/local/bin/sluice"));
}

#[test]
fn the_kernel_knows_every_shipped_setting() {
    let path = format!("{REPOSITORY}/tuning/sysctl.d/60-sluice.conf");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let keys: Vec<&str> = lines
        .map(|line| line.split_once(" = ").expect(line).0)
        .collect();
    assert!(keys.len() > 5, "{keys:?}");
    for key in keys {
        let file = Path::new("/proc/sys").join(key.replace('.', "/"));
        assert!(file.exists(), "{key}");
    }
}

#[test]
fn the_unit_of_systemd_is_understood_line_by_line() {
    let unit =
        std::fs::read_to_string(format!("{REPOSITORY}/tuning/systemd/sluice.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sluice.service");
    // The binary is not in its place here.
    let unit = unit.replace("/usr/local/bin/sluice", env!("CARGO_BIN_EXE_sluice"));
    let verified = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let run = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&path)
            .output();
        run.ok().map(|output| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        })
    };
    let Some((success, said)) = verified(&unit) else {
        eprintln!("SKIPPED: no systemd-analyze");
        return;
    };
    assert!(success && !said.contains("sluice.service"), "{said}");
    let (_, said) = verified(&unit.replace("LimitNOFILE=", "LimitNOFLIES=")).unwrap();
    assert!(said.contains("LimitNOFLIES"), "{said}");
}
