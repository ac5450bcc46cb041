//! The store as an operator's command uses it: read all, replace one row. [cold]

use super::client::Connection;
use super::error::StoreError;
use super::options::EtcdOptions;
use crate::source::store::Listing;

/// A connection to whichever member answered first, for as long as a command runs.
pub struct Store<'o> {
    connection: Connection<'o>,
    page_rows: u32,
}

impl<'o> Store<'o> {
    /// Tries each endpoint once, in order.
    ///
    /// # Errors
    ///
    /// That of the last endpoint; [`StoreError::Options`] at once, since no endpoint would help.
    pub async fn connect(options: &'o EtcdOptions) -> Result<Self, StoreError> {
        let mut last = StoreError::Options("etcd.endpoints: is empty".to_owned());
        for endpoint in &options.endpoints {
            match Connection::open(options, endpoint).await {
                Ok(connection) => {
                    let page_rows = options.clocks.page_rows.max(1);
                    return Ok(Self {
                        connection,
                        page_rows,
                    });
                }
                Err(error @ StoreError::Options(_)) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Every row below the prefix, at one revision.
    ///
    /// # Errors
    ///
    /// As of any request; [`StoreError::StoreTooLarge`] beyond 1,000,000 rows or 1 GiB of values.
    pub async fn list(&mut self) -> Result<Listing, StoreError> {
        let (_, listing) = self.connection.list(&mut self.page_rows).await?;
        Ok(listing)
    }

    /// Writes `value` at the whole `key`, unless the row has changed since `mod_revision`; 0 stands
    /// for a row that is not there. A lease on the row stays. `false`: it has changed, and nothing
    /// was written.
    ///
    /// # Errors
    ///
    /// As of any request; after [`StoreError::TimedOut`] the value may have been written.
    pub async fn put_if_unchanged(
        &mut self,
        key: &str,
        mod_revision: i64,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let put = self.connection.put_if_unchanged(key, mod_revision, value);
        put.await
    }
}
