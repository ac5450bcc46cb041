//! The image's files without a container engine: what `assemble.sh` lays out, under `unshare`, a bounding set
//! and `chroot`, as a runtime would start it. Skipped, loudly, where the machine forbids namespaces.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::engine::without_io_uring;
use crate::on_both_engines;
use crate::support::wait_for;

pub(crate) const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What runtimes leave a container by default.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "chown",
    "dac_override",
    "fsetid",
    "fowner",
    "mknod",
    "net_raw",
    "setgid",
    "setuid",
    "setfcap",
    "setpcap",
    "net_bind_service",
    "sys_chroot",
    "kill",
    "audit_write",
];
/// Makes the root read-only, then becomes what follows. Mounts go with the namespace.
const ISOLATE: &str = r#"
set -e
root=$1; shift
ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec "$@"
"#;

/// The files of the image.
struct Image {
    dir: TempDir,
}

impl Image {
    /// `None`, and why on stderr, where this machine does not let a test do what a runtime does.
    fn assemble() -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: only root can assemble an image and enter namespaces");
            return None;
        }
        let isolate = ["--mount", "--net", "ip", "link", "set", "lo", "up"];
        let isolated = Command::new("unshare").args(isolate).output();
        if !isolated
            .as_ref()
            .is_ok_and(|output| output.status.success())
        {
            eprintln!("SKIPPED: no namespaces to be had: {isolated:?}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(format!("{REPOSITORY}/tuning/container/assemble.sh"))
            .arg(dir.path().join("root"))
            .arg(env!("CARGO_BIN_EXE_sluice"))
            .output()
            .expect("the script runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(69) {
            eprintln!("SKIPPED: {stderr}");
            return None;
        }
        // Some file systems hold no capabilities.
        if stderr.contains("Operation not supported") {
            eprintln!(
                "SKIPPED: no file capabilities in {}: {stderr}",
                dir.path().display()
            );
            return None;
        }
        assert!(output.status.success(), "{stderr}");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        Some(Self { dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn configured(self, addr: &str, engine: &str) -> Self {
        let config = format!(
            "proxy: {{addr: '{addr}', workers: 1, pin_cpus: false, io_engine: {engine}}}\n\
             resources_file: /etc/sluice/resources.yaml\n\
             observability:\n  log_format: json\n  metrics: {{prometheus: {{addr: '127.0.0.1:9090'}}}}\n"
        );
        let at = self.root().join("etc/sluice");
        std::fs::write(at.join("config.yaml"), config).unwrap();
        std::fs::write(at.join("resources.yaml"), "_format_version: \"1\"\n").unwrap();
        self
    }

    /// The image's user runs the binary with these arguments; `before` is put before the way there.
    fn start(&self, before: &[String], capabilities: &[&str], args: &[&str]) -> Contained {
        let bounding: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let bounding = format!("--bounding-set=-all,{}", bounding.join(","));
        let mut way = before.to_vec();
        way.extend(["setpriv", &bounding, "--inh-caps=-all"].map(String::from));
        way.extend(["chroot", "--userspec=10001:10001", "--groups="].map(String::from));
        self.run(&way, args)
    }

    /// Runs the binary; `way` leads from this host's root into the image's, which follows as its last
    /// argument.
    fn run(&self, way: &[String], args: &[&str]) -> Contained {
        let root = self.root();
        let child = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", ISOLATE, "sh"])
            .arg(&root)
            .args(way)
            .arg(&root)
            .arg("/usr/local/bin/sluice")
            .args(args)
            .env_remove("SLUICE_CONFIG")
            .env_remove("SLUICE_CONFIG_PATH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.log()).unwrap())
            .spawn()
            .expect("it starts");
        Contained {
            child,
            log: self.log(),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("stderr")
    }
}

/// One process of the image. Killed when dropped.
struct Contained {
    child: Child,
    log: PathBuf,
}

impl Contained {
    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The line `serving`.
    fn serving(&mut self) -> serde_json::Value {
        wait_for("the gateway to serve", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status}: {}", self.stderr());
            }
            self.logged("serving")
        })
    }

    fn logged(&self, message: &str) -> Option<serde_json::Value> {
        let text = self.stderr();
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &serde_json::Value| line["message"] == message)
    }

    fn ended(&mut self) -> Option<i32> {
        wait_for("the process to end", || self.child.try_wait().unwrap()).code()
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(name)
    }

    /// A field of `/proc/PID/status`.
    fn status(&self, field: &str) -> String {
        let text = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.expect(field).trim().to_owned()
    }

    /// The image's health check, beside the process.
    fn health(&self) -> (Option<i32>, String) {
        let output = Command::new("nsenter")
            .args(["--net", "--mount", "--root", "--wd", "--target"])
            .arg(self.child.id().to_string())
            .args(["/usr/local/bin/sluice", "healthcheck"])
            .env_remove("SLUICE_CONFIG_PATH")
            .output()
            .expect("nsenter runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

on_both_engines! {
    fn an_ordinary_user_serves_at_port_80_from_a_read_only_root(engine) {
        let Some(image) = Image::assemble() else { return };
        let image = image.configured("0.0.0.0:80", engine.name());
        let mut contained = image.start(&[], &DEFAULT_CAPABILITIES, &["entrypoint"]);
        let line = contained.serving();
        assert_eq!(line["addr"], "0.0.0.0:80");
        assert_eq!(line["io_engine"], engine.name());
        assert_eq!(contained.health(), (Some(0), "OK: 127.0.0.1:80/livez 200\n".to_owned()));
        let ids = "10001\t10001\t10001\t10001";
        assert_eq!((contained.status("Uid:"), contained.status("Gid:")), (ids.into(), ids.into()));
        // Nothing but CAP_NET_BIND_SERVICE.
        assert_eq!(contained.status("CapEff:"), "0000000000000400");
        let inside = contained.proc("root/etc/passwd");
        let written = std::fs::OpenOptions::new().append(true).open(inside);
        let error = written.expect_err("the root is read-only");
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn without_its_capability_in_reach_the_binary_is_not_executed() {
    let Some(image) = Image::assemble() else {
        return;
    };
    let image = image.configured("0.0.0.0:3000", "auto");
    // What `chroot` itself needs.
    let bare = ["setgid", "setuid", "sys_chroot"];
    let mut contained = image.start(&[], &bare, &["entrypoint"]);
    assert_eq!(contained.ended(), Some(126));
    let stderr = contained.stderr();
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
    let with_one = ["setgid", "setuid", "sys_chroot", "net_bind_service"];
    let mut contained = image.start(&[], &with_one, &["entrypoint"]);
    contained.serving();
}

#[test]
fn without_new_privileges_a_low_port_is_refused_and_a_high_one_served() {
    let Some(image) = Image::assemble() else {
        return;
    };
    let before = ["setpriv".to_owned(), "--no-new-privs".to_owned()];
    let image = image.configured("0.0.0.0:80", "auto");
    let mut contained = image.start(&before, &DEFAULT_CAPABILITIES, &["entrypoint"]);
    assert_eq!(contained.ended(), Some(1));
    let stderr = contained.stderr();
    assert!(
        stderr.contains("Error: proxy.addr 0.0.0.0:80: Permission denied"),
        "{stderr}"
    );
    let image = image.configured("0.0.0.0:3000", "auto");
    let mut contained = image.start(&before, &DEFAULT_CAPABILITIES, &["entrypoint"]);
    contained.serving();
    assert_eq!(contained.status("CapEff:"), "0000000000000000");
}

/// Becomes the image's user with the capability permitted and nothing to be gained any more, as runtimes of
/// Kubernetes do for a restricted Pod that adds NET_BIND_SERVICE.
const PERMITTED: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def prctl(*numbers): assert libc.prctl(*map(ctypes.c_ulong, numbers)) == 0, numbers
os.chroot(sys.argv[1])
os.chdir("/")
prctl(8, 1, 0, 0, 0)
os.setgroups([])
os.setgid(10001)
os.setuid(10001)
header, sets = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1 << 10, 1 << 10, 0, 0, 0, 0)
assert libc.capset(header, sets) == 0, "capset"
prctl(38, 1, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn a_capability_that_is_permitted_already_survives_no_new_privileges() {
    let Some(image) = Image::assemble() else {
        return;
    };
    let image = image.configured("0.0.0.0:80", "auto");
    let way = ["python3", "-c", PERMITTED].map(String::from);
    let mut contained = image.run(&way, &["entrypoint"]);
    assert_eq!(contained.serving()["addr"], "0.0.0.0:80");
    assert_eq!(contained.status("NoNewPrivs:"), "1");
    assert_eq!(contained.status("CapEff:"), "0000000000000400");
}

#[test]
fn where_the_runtime_denies_io_uring_the_image_serves_on_epoll_and_says_so() {
    let Some(image) = Image::assemble() else {
        return;
    };
    let image = image.configured("0.0.0.0:3000", "auto");
    let mut before = without_io_uring();
    // The filter's loader wants a path; this looks the next one up.
    before.push("/usr/bin/env".to_owned());
    let mut contained = image.start(&before, &DEFAULT_CAPABILITIES, &["entrypoint"]);
    assert_eq!(contained.serving()["io_engine"], "epoll");
    let said = "the preferred I/O engine is not to be had here (docs/operations.md, \"io_uring\")";
    assert_eq!(contained.logged(said).expect("a warning")["level"], "WARN");
    assert_eq!(contained.health().0, Some(0));
}

#[test]
fn an_image_without_a_startup_file_ends_with_64() {
    let Some(image) = Image::assemble() else {
        return;
    };
    let mut contained = image.start(&[], &DEFAULT_CAPABILITIES, &["entrypoint"]);
    assert_eq!(contained.ended(), Some(64), "{}", contained.stderr());
}
