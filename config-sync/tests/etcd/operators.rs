//! The store as operators' commands use it.

use std::net::SocketAddr;

use config_sync::source::etcd::{Store, StoreError};

use crate::direct::{Direct, runtime};
use crate::heard::{PREFIX, options};
use crate::support::etcd::Etcd;

#[test]
fn a_row_is_replaced_only_if_nobody_else_did_so_before() {
    let etcd = Etcd::start();
    let mut direct = Direct::connect(etcd.addr());
    let lease = etcd.ctl(&["lease", "grant", "600"]);
    let lease = lease.split(' ').nth(1).unwrap();
    etcd.ctl(&["put", "/sluice/models/leased", "x", "--lease", lease]);
    direct.put("/sluice/models/a", "1");
    direct.put("/sluice2/models/a", "1");
    // The first endpoint is refused.
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let options = options(&[nowhere, etcd.addr()], PREFIX);
    runtime().block_on(async {
        let mut store = Store::connect(&options).await.unwrap();
        let listing = store.list().await.unwrap();
        let keys: Vec<&str> = listing.rows.iter().map(|row| &*row.key).collect();
        assert_eq!(keys, ["/sluice/models/a", "/sluice/models/leased"]);
        let (plain, leased) = (&listing.rows[0], &listing.rows[1]);
        let cases = [
            ("unchanged", &*plain.key, plain.mod_revision, true),
            ("changed by us", &*plain.key, plain.mod_revision, false),
            ("there", &*plain.key, 0, false),
            ("not there", "/sluice/models/new", 0, true),
            ("never there", "/sluice/models/none", 7, false),
            ("leased", &*leased.key, leased.mod_revision, true),
        ];
        for (what, key, revision, want) in cases {
            let put = store.put_if_unchanged(key, revision, b"2");
            assert_eq!(put.await.unwrap(), want, "{what}");
        }
    });
    let content = direct.content(PREFIX);
    assert_eq!(content.len(), 3);
    assert!(content.values().all(|(value, _)| value == b"2"));
    assert!(
        etcd.ctl(&["lease", "timetolive", lease, "--keys"])
            .contains("leased")
    );
}

#[test]
fn a_store_that_nobody_serves_is_an_error_that_says_so() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let options = options(&[nowhere], PREFIX);
    let error = runtime().block_on(Store::connect(&options)).err().unwrap();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}
