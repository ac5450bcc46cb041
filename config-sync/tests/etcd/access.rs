//! Users, passwords and certificates.

use std::path::{Path, PathBuf};

use config_sync::source::etcd::{EtcdOptions, Login, Store, TlsFiles};
use etcd_client::{Client, ConnectOptions};

use crate::direct::runtime;
use crate::heard::{Follower, PREFIX, options};
use crate::support::authority::Authority;
use crate::support::etcd::{Etcd, ServerTls};

/// A variable that cargo sets for every test; its value is the password.
const PASSWORD_ENV: &str = "CARGO_MANIFEST_DIR";

fn login(user: &str, variable: &str) -> Option<Login> {
    Some(Login {
        user: user.into(),
        password_env: variable.into(),
    })
}

/// Why connecting fails, or that it does not.
fn outcome(options: &EtcdOptions) -> Result<usize, String> {
    runtime().block_on(async {
        let store = Store::connect(options).await;
        let mut store = store.map_err(|error| error.to_string())?;
        let listing = store.list().await.map_err(|error| error.to_string())?;
        Ok(listing.rows.len())
    })
}

#[test]
fn a_user_is_let_in_with_the_password_of_the_environment_only() {
    let mut etcd = Etcd::start();
    etcd.put("/sluice/models/a", "1");
    let password = std::env::var(PASSWORD_ENV).unwrap();
    let setup: [&[&str]; 8] = [
        &["user", "add", &format!("root:{password}")],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
        &[
            "role",
            "grant-permission",
            "reader",
            "--prefix=true",
            "read",
            "/sluice/",
        ],
        &["user", "add", &format!("gateway:{password}")],
        &["user", "grant-role", "gateway", "reader"],
        &["user", "add", &format!("stranger:{password}")],
        &["auth", "enable"],
    ];
    for step in setup {
        etcd.ctl(step);
    }
    let with = |login| {
        let mut options = options(&[etcd.addr()], PREFIX);
        options.login = login;
        options
    };
    assert_eq!(outcome(&with(login("gateway", PASSWORD_ENV))), Ok(1));
    let refused = [
        (None, "user name is empty"),
        (login("stranger", PASSWORD_ENV), "permission denied"),
        (login("gateway", "CARGO_PKG_NAME"), "authentication failed"),
        (login("nobody", PASSWORD_ENV), "authentication failed"),
        (
            login("gateway", "SLUICE_NO_SUCH_VARIABLE"),
            "etcd.password_env",
        ),
    ];
    for (who, want) in refused {
        let why = outcome(&with(who.clone())).unwrap_err();
        assert!(why.contains(want), "{who:?}: {why}");
        assert!(!why.contains(&password), "{why}");
    }
    let mut elsewhere = with(login("gateway", PASSWORD_ENV));
    elsewhere.prefix = "/sluice2".into();
    let why = outcome(&elsewhere).unwrap_err();
    assert!(why.contains("permission denied"), "{why}");

    let options = with(login("gateway", PASSWORD_ENV));
    let follower = Follower::start(options.clone());
    follower.confirmed_again();
    // A member forgets its tokens when it restarts.
    etcd.restart();
    let admin = format!("--user=root:{password}");
    etcd.ctl(&[&admin, "put", "/sluice/models/b", "2"]);
    follower.until("both rows", |heard| (heard.rows.len() == 2).then_some(()));
}

#[test]
fn a_token_that_is_no_longer_valid_is_replaced() {
    let etcd = Etcd::start();
    let password = std::env::var(PASSWORD_ENV).unwrap();
    etcd.ctl(&["user", "add", &format!("root:{password}")]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    let mut options = options(&[etcd.addr()], PREFIX);
    options.login = login("root", PASSWORD_ENV);
    runtime().block_on(async {
        let mut store = Store::connect(&options).await.unwrap();
        // A password that is set again takes the tokens with it.
        let how = ConnectOptions::new().with_user("root", &*password);
        let client = Client::connect([etcd.addr().to_string()], Some(how)).await;
        let mut client = client.unwrap();
        client
            .user_change_password("root", &*password)
            .await
            .unwrap();
        assert!(client.get("/", None).await.is_err());
        assert!(store.list().await.unwrap().rows.is_empty());
        assert!(
            store
                .put_if_unchanged("/sluice/models/a", 0, b"1")
                .await
                .unwrap()
        );
    });
}

/// A server with a certificate of `ca` for `names`, one row in its store.
fn tls_server(ca: &Authority, names: &[&str], mutual: bool) -> Etcd {
    let etcd = Etcd::start_tls(&ServerTls {
        cert: ca.server(names),
        client_authority: mutual.then(|| ca.root()),
    });
    etcd.put("/sluice/models/a", "1");
    etcd
}

fn tls_options(etcd: &Etcd, tls: TlsFiles) -> EtcdOptions {
    let mut options = options(&[etcd.addr()], PREFIX);
    options.endpoints[0].https = true;
    options.tls = tls;
    options
}

fn trusting(root: Option<&Path>) -> TlsFiles {
    TlsFiles {
        ca_cert_file: root.map(Path::to_owned),
        ..TlsFiles::default()
    }
}

#[test]
fn a_server_must_prove_its_name_to_an_authority_that_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ours");
    let other = Authority::new(dir.path(), "other");
    let by_address = tls_server(&ca, &["127.0.0.1"], false);
    let by_name = tls_server(&ca, &["etcd.example"], false);
    let named = |name: &str| TlsFiles {
        domain_name: Some(name.into()),
        ..trusting(Some(&ca.root()))
    };
    let mut plain = tls_options(&by_address, TlsFiles::default());
    plain.endpoints[0].https = false;
    let cases = [
        (
            "address",
            tls_options(&by_address, trusting(Some(&ca.root()))),
            Ok(1),
        ),
        ("name", tls_options(&by_name, named("etcd.example")), Ok(1)),
        (
            "other name",
            tls_options(&by_name, named("x.example")),
            Err("not valid for"),
        ),
        (
            "no name",
            tls_options(&by_name, trusting(Some(&ca.root()))),
            Err("not valid for"),
        ),
        (
            "other authority",
            tls_options(&by_address, trusting(Some(&other.root()))),
            Err("certificate"),
        ),
        (
            "the platform's",
            tls_options(&by_address, trusting(None)),
            Err("UnknownIssuer"),
        ),
        (
            "no file",
            tls_options(&by_address, trusting(Some(&dir.path().join("none")))),
            Err("etcd.tls.ca_cert_file"),
        ),
        ("no TLS", plain, Err("")),
    ];
    for (what, options, want) in cases {
        match (outcome(&options), want) {
            (Ok(rows), Ok(want)) => assert_eq!(rows, want, "{what}"),
            (Err(why), Err(want)) => assert!(why.contains(want), "{what}: {why}"),
            (got, _) => panic!("{what}: {got:?}"),
        }
    }
}

#[test]
fn a_client_shows_its_certificate_where_the_server_wants_one() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ours");
    let other = Authority::new(dir.path(), "other");
    let etcd = tls_server(&ca, &["127.0.0.1"], true);
    let with = |identity: Option<(PathBuf, PathBuf)>| {
        let tls = TlsFiles {
            identity,
            ..trusting(Some(&ca.root()))
        };
        tls_options(&etcd, tls)
    };
    assert_eq!(outcome(&with(Some(ca.client()))), Ok(1));
    for refused in [None, Some(other.client())] {
        let why = outcome(&with(refused)).unwrap_err();
        assert!(!why.is_empty());
    }
    // The key of another certificate.
    let mixed = Some((ca.client().0, other.client().1));
    outcome(&with(mixed)).unwrap_err();
}

#[test]
fn tls_files_are_read_again_at_each_connect() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ours");
    let other = Authority::new(dir.path(), "other");
    let etcd = tls_server(&ca, &["127.0.0.1"], false);
    let root = dir.path().join("root.pem");
    std::fs::copy(other.root(), &root).unwrap();
    let follower = Follower::start(tls_options(&etcd, trusting(Some(&root))));
    follower.until("refusals", |heard| {
        (heard.losses().len() >= 2).then_some(())
    });
    assert_eq!(follower.lock().listings(), 0);
    std::fs::copy(ca.root(), &root).unwrap();
    follower.resync();
    follower.listed_after(0);
    // What is wrong in the files later is said, by their names.
    std::fs::write(&root, "").unwrap();
    follower.resync();
    follower.until("a refusal", |heard| {
        let mut losses = heard.losses().into_iter();
        losses
            .find(|why| why.contains("etcd.tls.ca_cert_file"))
            .map(drop)
    });
    assert_eq!(follower.lock().rows.len(), 1);
}
