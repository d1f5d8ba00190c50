//! How many connections there may be: on the node, of a tenant, of a user, from an address. A place is taken before
//! anything is allocated for a client and given back when its guard is dropped.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use fanfare_protocol::Tenant;
use parking_lot::Mutex;

/// Upper bounds; 0 means no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmissionLimits {
    /// Connections of the whole node.
    pub node: usize,
    /// Connections of one tenant on this node.
    pub tenant: usize,
    /// Connections of one user of one tenant on this node.
    pub user: usize,
    /// Connections from one address.
    pub address: usize,
    /// Connections from one address that have not said who they are.
    pub unauthenticated: usize,
}

/// The limit that refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The setting's name.
    pub setting: &'static str,
    /// Its value.
    pub limit: usize,
}

/// Counts connections against the limits.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    node: usize,
    tenants: HashMap<Tenant, usize>,
    users: HashMap<(Tenant, Box<str>), usize>,
    addresses: HashMap<IpAddr, usize>,
    unauthenticated: HashMap<IpAddr, usize>,
}

/// A connection's place on the node and at its address.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// A place among those that have not said who they are.
#[derive(Debug)]
pub struct PendingPlace {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// A connection's place among its tenant's and its user's.
#[derive(Debug)]
pub struct PrincipalPlace {
    admission: Arc<Admission>,
    tenant: Tenant,
    /// Kept only where users are limited.
    user: Option<Box<str>>,
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A place on the node and at `address`.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, LimitReached> {
        let address = bucket(address);
        let mut counts = self.counts.lock();
        below(counts.node, self.limits.node, "connections_max")?;
        if self.limits.address > 0 {
            take(&mut counts.addresses, address, self.limits.address, "connections_per_address_max")?;
        }
        counts.node += 1;
        Ok(Place { admission: Arc::clone(self), address })
    }

    /// A place among the unauthenticated of `address`.
    pub fn enter_pending(self: &Arc<Self>, address: IpAddr) -> Result<PendingPlace, LimitReached> {
        let address = bucket(address);
        let limit = self.limits.unauthenticated;
        if limit > 0 {
            take(&mut self.counts.lock().unauthenticated, address, limit, "unauthenticated_per_address_max")?;
        }
        Ok(PendingPlace { admission: Arc::clone(self), address })
    }

    /// A place among the connections of `tenant` and of its `user`.
    pub fn enter_principal(self: &Arc<Self>, tenant: &Tenant, user: &str) -> Result<PrincipalPlace, LimitReached> {
        let mut counts = self.counts.lock();
        take(&mut counts.tenants, tenant.clone(), self.limits.tenant, "connections_per_tenant_max")?;
        let mut place = PrincipalPlace { admission: Arc::clone(self), tenant: tenant.clone(), user: None };
        if self.limits.user > 0 {
            let key = (tenant.clone(), Box::from(user));
            if let Err(reached) = take(&mut counts.users, key, self.limits.user, "connections_per_user_max") {
                drop(counts);
                return Err(reached);
            }
            place.user = Some(user.into());
        }
        Ok(place)
    }

    /// Connections of the node.
    pub fn connections(&self) -> usize {
        self.counts.lock().node
    }

    /// Calls `each` with every tenant that has connections and how many.
    pub fn by_tenant(&self, mut each: impl FnMut(&Tenant, usize)) {
        self.counts.lock().tenants.iter().for_each(|(tenant, &count)| each(tenant, count));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.node -= 1;
        if self.admission.limits.address > 0 {
            give_back(&mut counts.addresses, &self.address);
        }
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        if self.admission.limits.unauthenticated > 0 {
            give_back(&mut self.admission.counts.lock().unauthenticated, &self.address);
        }
    }
}

impl Drop for PrincipalPlace {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        give_back(&mut counts.tenants, &self.tenant);
        if let Some(user) = self.user.take() {
            give_back(&mut counts.users, &(self.tenant.clone(), user));
        }
    }
}

impl std::error::Error for LimitReached {}

impl fmt::Display for LimitReached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {} reached", self.setting, self.limit)
    }
}

/// What counts as one address: whoever has an IPv6 address has the 2⁶⁴ others of its network too (RFC 4291 §2.5.4).
fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn below(count: usize, limit: usize, setting: &'static str) -> Result<(), LimitReached> {
    if limit > 0 && count >= limit { Err(LimitReached { setting, limit }) } else { Ok(()) }
}

fn take<K: Hash + Eq>(
    counts: &mut HashMap<K, usize>,
    key: K,
    limit: usize,
    setting: &'static str,
) -> Result<(), LimitReached> {
    below(counts.get(&key).copied().unwrap_or(0), limit, setting)?;
    *counts.entry(key).or_default() += 1;
    Ok(())
}

fn give_back<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    #[test]
    fn each_limit_refuses_by_its_own_name_and_a_dropped_place_is_free_again() {
        let limits = AdmissionLimits { node: 3, tenant: 2, user: 1, address: 2, unauthenticated: 1 };
        let admission = Admission::new(limits);
        let first = admission.enter(ADDRESS).unwrap();
        let _second = admission.enter(ADDRESS).unwrap();
        assert_eq!(admission.enter(ADDRESS).unwrap_err().to_string(), "connections_per_address_max = 2 reached");
        let _other = admission.enter("127.0.0.2".parse().unwrap()).unwrap();
        assert_eq!(admission.enter("127.0.0.3".parse().unwrap()).unwrap_err().setting, "connections_max");
        drop(first);
        assert_eq!(admission.connections(), 2);
        let _again = admission.enter(ADDRESS).unwrap();

        let pending = admission.enter_pending(ADDRESS).unwrap();
        assert_eq!(admission.enter_pending(ADDRESS).unwrap_err().setting, "unauthenticated_per_address_max");
        drop(pending);
        admission.enter_pending(ADDRESS).unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let admission = Admission::new(AdmissionLimits { address: 1, ..AdmissionLimits::default() });
        let _first = admission.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.enter("2001:db8::2".parse().unwrap()).is_err());
        admission.enter("2001:db8:0:1::2".parse().unwrap()).unwrap();
        let _mapped = admission.enter("::ffff:127.0.0.1".parse().unwrap()).unwrap();
        assert!(admission.enter(ADDRESS).is_err());
    }

    #[test]
    fn a_refused_user_takes_no_place_of_the_tenant() {
        let admission = Admission::new(AdmissionLimits { tenant: 2, user: 1, ..AdmissionLimits::default() });
        let _ann = admission.enter_principal(&tenant("acme"), "ann").unwrap();
        assert_eq!(admission.enter_principal(&tenant("acme"), "ann").unwrap_err().setting, "connections_per_user_max");
        let _bob = admission.enter_principal(&tenant("acme"), "bob").unwrap();
        assert_eq!(
            admission.enter_principal(&tenant("acme"), "eve").unwrap_err().setting,
            "connections_per_tenant_max"
        );
        let _elsewhere = admission.enter_principal(&tenant("globex"), "ann").unwrap();
        let mut counts = Vec::new();
        admission.by_tenant(|tenant, count| counts.push((tenant.as_str().to_owned(), count)));
        counts.sort();
        assert_eq!(counts, [("acme".to_owned(), 2), ("globex".to_owned(), 1)]);
    }
}
