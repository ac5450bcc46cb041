//! Where redis is, and how to get a connection to it. [cold]

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode, cmd,
};

use super::connection::Connection;
use super::trust::certificates;
use crate::settings::{RedisSettings, Secret, Topology};

/// Longest wait for one server to accept a connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Why the settings of redis cannot be used. Says nothing of what an address holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServersError {
    /// The value of this key, or one of its list, is no address of redis.
    Address(&'static str),
    /// Nodes of one cluster differ in users, passwords or TLS.
    Nodes,
    /// A file cannot be read.
    File(PathBuf, io::ErrorKind),
    /// The certificates cannot be used.
    Certificates,
}

impl fmt::Display for ServersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(key) => write!(f, "redis.{key}: is no address of redis"),
            Self::Nodes => f.write_str("redis.nodes: must agree in user, password and TLS"),
            Self::File(file, why) => write!(f, "redis.tls: cannot read {}: {why}", file.display()),
            Self::Certificates => f.write_str("redis.tls: the certificates cannot be used"),
        }
    }
}

impl std::error::Error for ServersError {}

/// Everything that connecting takes. Its parts hold secrets and are not shown.
pub(super) struct Servers {
    places: Places,
    tls: Tls,
}

enum Places {
    Single(Client),
    Cluster(Box<ClusterClient>),
    Sentinel(Sentinel),
}

struct Sentinel {
    sentinels: Vec<Client>,
    master_name: Box<str>,
    login: RedisConnectionInfo,
}

struct Tls {
    certificates: TlsCertificates,
    accept_any: bool,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").finish_non_exhaustive()
    }
}

impl Servers {
    /// Reads addresses and files; connects to nothing.
    pub(super) fn new(settings: &RedisSettings, timeout: Duration) -> Result<Self, ServersError> {
        let tls = Tls {
            certificates: certificates(&settings.tls)?,
            accept_any: settings.tls.accept_any_certificate,
        };
        let places = match &settings.topology {
            Topology::Single { url } => {
                let info = parse(url, "url")?;
                let login = with_login(info.redis_settings().clone(), settings);
                Places::Single(tls.client(info.set_redis_settings(login))?)
            }
            Topology::Cluster { nodes } => {
                Places::Cluster(Box::new(cluster(nodes, settings, &tls, timeout)?))
            }
            Topology::Sentinel {
                sentinels,
                master_name,
                database,
            } => {
                let client = |url| tls.client(parse(url, "sentinels")?);
                let login = RedisConnectionInfo::default().set_db(i64::from(*database));
                Places::Sentinel(Sentinel {
                    sentinels: sentinels.iter().map(client).collect::<Result<_, _>>()?,
                    master_name: master_name.clone(),
                    login: with_login(login, settings),
                })
            }
        };
        Ok(Self { places, tls })
    }

    /// A new connection to whoever is in charge now.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        match &self.places {
            Places::Single(client) => connect(client).await,
            Places::Cluster(client) => {
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            Places::Sentinel(sentinel) => self.master(sentinel).await,
        }
    }

    /// Connects to the master that the first sentinel names who answers.
    async fn master(&self, sentinel: &Sentinel) -> RedisResult<Connection> {
        let mut last = None;
        for client in &sentinel.sentinels {
            match self.master_by(client, sentinel).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| (ErrorKind::EmptySentinelList, "no sentinel").into()))
    }

    async fn master_by(&self, client: &Client, sentinel: &Sentinel) -> RedisResult<Connection> {
        let Connection::One(mut asked) = connect(client).await? else {
            return Err((ErrorKind::Client, "a sentinel is no cluster").into());
        };
        let named: Option<(String, u16)> = cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(&*sentinel.master_name)
            .query_async(&mut asked)
            .await?;
        let unknown = || RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no master"));
        let (host, port) = named.ok_or_else(unknown)?;
        // A sentinel that is spoken to in TLS watches over servers that are.
        let address = match client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let info = address.into_connection_info()?;
        let info = info.set_redis_settings(sentinel.login.clone());
        let bad = |_| RedisError::from((ErrorKind::InvalidClientConfig, "certificates"));
        let mut connection = connect(&self.tls.client(info).map_err(bad)?).await?;
        if !connection.is_master().await? {
            return Err(unknown());
        }
        Ok(connection)
    }
}

async fn connect(client: &Client) -> RedisResult<Connection> {
    // Each question has its own limit.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(CONNECT_LIMIT.max(Duration::from_secs(5))));
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    Ok(Connection::One(connection.await?))
}

impl Tls {
    /// A client, in TLS where the address says so.
    fn client(&self, info: ConnectionInfo) -> Result<Client, ServersError> {
        match self.secured(info) {
            info if is_tls(&info) => Client::build_with_tls(info, self.certificates.clone()),
            info => Client::open(info),
        }
        .map_err(|_| ServersError::Certificates)
    }

    /// Whether certificates are verified is for the settings to say, not for an address.
    fn secured(&self, info: ConnectionInfo) -> ConnectionInfo {
        let ConnectionAddr::TcpTls { host, port, .. } = info.addr().clone() else {
            return info;
        };
        info.set_addr(ConnectionAddr::TcpTls {
            host,
            port,
            insecure: self.accept_any,
            tls_params: None,
        })
    }
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn cluster(
    nodes: &[Secret],
    settings: &RedisSettings,
    tls: &Tls,
    timeout: Duration,
) -> Result<ClusterClient, ServersError> {
    let parsed = nodes.iter().map(|node| parse(node, "nodes"));
    let nodes: Vec<ConnectionInfo> = parsed
        .map(|info| info.map(|info| tls.secured(info)))
        .collect::<Result<_, _>>()?;
    let is_secure = nodes.iter().any(is_tls);
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(CONNECT_LIMIT)
        .response_timeout(timeout.max(CONNECT_LIMIT))
        .retries(2)
        .min_retry_wait(5)
        .max_retry_wait(50);
    if is_secure {
        let mode = match tls.accept_any {
            true => TlsMode::Insecure,
            false => TlsMode::Secure,
        };
        builder = builder.tls(mode).certs(tls.certificates.clone());
    }
    if let Some(user) = &settings.username {
        builder = builder.username(user);
    }
    if let Some(password) = &settings.password {
        builder = builder.password(password.expose());
    }
    builder.build().map_err(|_| ServersError::Nodes)
}

/// An address without a scheme is one without TLS.
fn parse(url: &Secret, key: &'static str) -> Result<ConnectionInfo, ServersError> {
    let text = url.expose().trim();
    let parsed = if text.contains("://") {
        text.into_connection_info()
    } else {
        format!("redis://{text}").into_connection_info()
    };
    let is_net = |info: &ConnectionInfo| !matches!(info.addr(), ConnectionAddr::Unix(_));
    let parsed = parsed.ok().filter(is_net);
    parsed.ok_or(ServersError::Address(key))
}

/// What the address says goes first.
fn with_login(mut login: RedisConnectionInfo, settings: &RedisSettings) -> RedisConnectionInfo {
    if let Some(user) = settings
        .username
        .as_ref()
        .filter(|_| login.username().is_none())
    {
        login = login.set_username(&**user);
    }
    if let Some(password) = settings
        .password
        .as_ref()
        .filter(|_| login.password().is_none())
    {
        login = login.set_password(password.expose());
    }
    login
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrustSettings;

    fn settings(topology: Topology) -> RedisSettings {
        RedisSettings {
            topology,
            username: None,
            password: Some(Secret::from("pw".to_owned())),
            tls: TrustSettings::default(),
        }
    }

    fn single(url: &str) -> Result<Servers, ServersError> {
        let url = Secret::from(url.to_owned());
        Servers::new(&settings(Topology::Single { url }), CONNECT_LIMIT)
    }

    #[test]
    fn a_broken_address_is_refused_without_being_shown() {
        let error = single("redis://u:hunter2@host:port").unwrap_err();
        assert_eq!(error.to_string(), "redis.url: is no address of redis");
        assert!(single("redis+unix:///tmp/x").is_err());
        let nodes = ["redis://:a@h", "redis://:b@h"].map(|url| Secret::from(url.to_owned()));
        let mut differing = settings(Topology::Cluster {
            nodes: nodes.into(),
        });
        differing.password = None;
        let error = Servers::new(&differing, CONNECT_LIMIT).unwrap_err();
        assert_eq!(error, ServersError::Nodes);
        let shown = format!("{:?}", single("redis://u:hunter2@host").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_address_does_not_switch_verification_off_and_the_settings_do() {
        let insecure = |servers: Servers| match servers.places {
            Places::Single(client) => match client.get_connection_info().addr() {
                ConnectionAddr::TcpTls { insecure, .. } => *insecure,
                other => panic!("{other:?}"),
            },
            _ => panic!("single"),
        };
        assert!(!insecure(single("rediss://h/#insecure").unwrap()));
        let url = Secret::from("rediss://h".to_owned());
        let mut any = settings(Topology::Single { url });
        any.tls.accept_any_certificate = true;
        assert!(insecure(Servers::new(&any, CONNECT_LIMIT).unwrap()));
    }

    #[test]
    fn the_password_of_the_address_goes_first() {
        for (url, want) in [("redis://h", "pw"), ("redis://:own@h", "own")] {
            let Places::Single(client) = single(url).unwrap().places else {
                panic!("single");
            };
            let login = client.get_connection_info().redis_settings();
            assert_eq!(login.password(), Some(want));
        }
    }
}
