//! What the checks look at: everything that was read of the host, the process and the files. [pure]
//!
//! What could not be read is `None`, and its check says nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::settings::MemorySettings;

/// Everything that was gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Unix seconds.
    pub now: i64,
    pub host: Host,
    pub process: Process,
    pub engine: EngineFacts,
    /// What the startup file says; `None` without one, or where it is refused.
    pub gateway: Option<Gateway>,
    /// Why the startup file is refused: the report of `sluice check`.
    pub refused: Option<String>,
}

/// The machine, as this process sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// `uname -r`.
    pub release: String,
    /// `kernel.io_uring_disabled`: 0 open, 1 privileged, 2 closed.
    pub io_uring_disabled: Option<u64>,
    /// `net.core.somaxconn`, connections.
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`, connections.
    pub syn_backlog: Option<u64>,
    /// `net.ipv4.ip_local_port_range`, first and last.
    pub local_ports: Option<(u64, u64)>,
    /// `net.ipv4.tcp_tw_reuse`: 0 never, 1 always, 2 on loopback.
    pub tw_reuse: Option<u64>,
    /// `net.ipv4.tcp_rmem`: smallest, default, largest, bytes.
    pub receive_buffer: Option<[u64; 3]>,
    /// `net.ipv4.tcp_wmem`: smallest, default, largest, bytes.
    pub send_buffer: Option<[u64; 3]>,
    /// `net.core.netdev_max_backlog`, packets.
    pub device_backlog: Option<u64>,
    /// `vm.max_map_count`, mappings of one process.
    pub max_map_count: Option<u64>,
    /// The chosen word of `/sys/kernel/mm/transparent_hugepage/enabled`.
    pub huge_pages: Option<String>,
    /// `net.ipv4.ip_unprivileged_port_start`.
    pub unprivileged_port_start: Option<u64>,
    /// Network devices with the CPUs that take their interrupts.
    pub devices: Vec<Device>,
    /// Whether the kernel believes its clock to be kept in step by something.
    pub clock_in_step: Option<bool>,
}

/// Interrupts of one network device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Device {
    pub name: String,
    /// How many interrupts it has.
    pub interrupts: usize,
    /// CPUs that take one of them, ascending.
    pub cpus: Vec<usize>,
}

/// What this process may do. The gateway may do the same where it runs as the same user, with the
/// same limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// Effective user.
    pub uid: u32,
    /// `Seccomp` of `/proc/self/status`: 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u64>,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// `RLIMIT_MEMLOCK`, bytes; `None`: unlimited.
    pub memlock: Option<u64>,
    /// Hard limit of `RLIMIT_NOFILE`, to which the gateway raises its own; `None`: unlimited.
    pub open_files: Option<u64>,
    /// CPUs of the affinity mask.
    pub cpus: usize,
    /// CPUs' worth of time that the cgroup grants; `None`: as much as there is.
    pub cpu_quota: Option<f64>,
    /// Memory that the process may have.
    pub memory: Option<MemoryFound>,
    /// Workers that a gateway without `proxy.workers` would start.
    pub usable_cpus: usize,
}

/// What bounds the memory of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MemoryFound {
    /// Bytes.
    pub limit: u64,
    /// Whether a control group has it; else it is what the host has.
    pub is_group: bool,
}

impl Process {
    /// Whether the capability of this number is in effect.
    pub(crate) fn may(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// `CAP_NET_BIND_SERVICE`.
pub(crate) const NET_BIND_SERVICE: u32 = 10;
/// `CAP_IPC_LOCK`.
pub(crate) const IPC_LOCK: u32 = 14;

/// How setting up as many rings as there are workers went, on as many threads, as the gateway does it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineFacts {
    pub wanted: Wanted,
    /// Workers that rings were set up for.
    pub workers: usize,
    /// Entries of each ring; `None`: there are none, the gateway runs on epoll.
    pub entries: Option<u32>,
    /// Why a better rung did not hold.
    pub reason: Option<Denied>,
}

/// Why a ring could not be set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Denied {
    pub cause: Cause,
    /// The system's sentence.
    pub text: String,
}

/// The kernel's answer, as far as it leads to different remedies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    Permission,
    Memory,
    Absent,
    Other,
}

/// `proxy.io_engine`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Wanted {
    #[default]
    Auto,
    IoUring,
    Epoll,
}

/// What the startup file says, as far as checks ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gateway {
    /// Warnings of the settings, sentences.
    pub warnings: Vec<String>,
    pub workers: usize,
    /// Connections of a worker; `None`: no bound.
    pub connections_max: Option<usize>,
    pub memory: MemorySettings,
    /// Largest request body, bytes; `None`: no bound.
    pub body_bytes_max: Option<u64>,
    pub listeners: Vec<Listener>,
    /// Whether one of the keys of the documentation is an admin key.
    pub admin_key_of_an_example: bool,
    pub files: Vec<NamedFile>,
    pub certificates: Vec<Certificate>,
    pub etcd: Option<Etcd>,
    pub resources: Option<Resources>,
    /// Whether a key ring is named, and whether master keys are given for it.
    pub keyring: Option<Keyring>,
}

/// One of the gateway's own listeners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub zone: Zone,
    pub addr: SocketAddr,
    pub tls: ListenerTls,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Zone {
    Proxy,
    Admin,
    Metrics,
}

impl Zone {
    /// The key of its address.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Proxy => "proxy.addr",
            Self::Admin => "admin.addr",
            Self::Metrics => "observability.metrics.prometheus.addr",
        }
    }
}

/// What protects the connections of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ListenerTls {
    Plain,
    /// Encrypted; whoever reaches it may ask.
    Server,
    /// Clients show a certificate, or are refused.
    Mutual,
}

/// A file that the startup file names, or that file itself.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    /// The key that names it.
    pub setting: String,
    pub path: PathBuf,
    pub holds: Holds,
    /// Permission bits and owner; an error is the system's sentence.
    pub found: Result<Mode, String>,
}

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mode {
    /// The nine bits of `rwxrwxrwx`.
    pub bits: u32,
    /// User id of the owner.
    pub owner: u32,
}

/// What becomes of a file in the wrong hands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Holds {
    /// Keys or credentials: nobody but the owner and, to read, the group.
    Secret,
    /// It may name credentials or hold them.
    Settings,
    /// Certificates: everybody may read.
    Public,
}

/// A certificate that is presented, or that others are verified by.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub setting: String,
    pub path: PathBuf,
    /// First and last second of its time, Unix; an error is a sentence.
    pub time: Result<(i64, i64), String>,
}

/// The store of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Etcd {
    /// Addresses without TLS that are not on this host.
    pub plain_remote: Vec<String>,
    /// Whether every address is on this host.
    pub is_local: bool,
    /// Whether user and password are set.
    pub login: bool,
    /// Whether a client certificate is set.
    pub identity: bool,
}

/// The resources file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resources {
    pub path: PathBuf,
    /// Places of credentials that stand in the file as they are: `provider_keys[0].api_key`.
    pub in_the_clear: Vec<String>,
    /// Names of caller keys that an example of the documentation shows.
    pub of_examples: Vec<String>,
    /// Why the file would be refused at boot.
    pub refused: Option<String>,
}

/// What opens sealed values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keyring {
    pub has_master_key: bool,
}
