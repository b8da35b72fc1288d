//! How many connections are open at once, altogether and from one address.

use super::ResetReason;
use model::bundle::CallSettings;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Open connections by the address that they come from.
#[derive(Debug, Default)]
pub(super) struct OpenConnections(Mutex<ConnectionCounts>);

#[derive(Debug, Default)]
struct ConnectionCounts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl OpenConnections {
    /// A place for one more connection from an address.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn place(
        self: &Arc<Self>,
        from: IpAddr,
        limits: &CallSettings,
    ) -> Result<OpenPlace, ResetReason> {
        let mut open = self.0.lock();
        if open.all >= limits.connections_max as usize {
            return Err(ResetReason::TooManyConnections);
        }
        let from = from.to_canonical();
        let of_address = open.by_address.entry(from).or_default();
        if *of_address >= limits.connections_per_address_max as usize {
            return Err(ResetReason::TooManyFromOneAddress);
        }
        *of_address += 1;
        open.all += 1;
        Ok(OpenPlace(self.clone(), from))
    }
}

/// An open connection's place, until it is dropped.
pub(super) struct OpenPlace(Arc<OpenConnections>, IpAddr);

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut open = self.0.0.lock();
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.1) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.1);
            }
        }
    }
}
