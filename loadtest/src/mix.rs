//! Who the clients are: which tenant and which dialect each has, so that both are spread evenly over all of them.

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mix {
    /// At least one. Clients have them in turn.
    pub(crate) dialects: Vec<Dialect>,
    /// At least one. Each has channels of the same names.
    pub(crate) tenants: Vec<String>,
}

impl Mix {
    pub(crate) fn tenants(&self) -> u32 {
        u32::try_from(self.tenants.len()).unwrap_or(u32::MAX)
    }

    /// The index of a client's tenant.
    pub(crate) fn tenant_of(&self, client: u32) -> usize {
        client as usize % self.tenants.len()
    }

    /// A client's dialect. Each tenant's clients have them in turn, or a tenant would get one only.
    pub(crate) fn dialect_of(&self, client: u32) -> Dialect {
        self.dialects[client as usize / self.tenants.len() % self.dialects.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    const DIALECTS: [Dialect; 2] = [Dialect::Fanfare(Codec::Json), Dialect::Fanfare(Codec::Msgpack)];

    #[test]
    fn each_tenant_has_its_share_of_clients_of_each_encoding() {
        for tenants in [1, 2, 3, 8] {
            let names = (0..tenants).map(|tenant| format!("acme-{tenant}")).collect();
            let mix = Mix { dialects: DIALECTS.to_vec(), tenants: names };
            for tenant in 0..tenants {
                for dialect in DIALECTS {
                    let share = (0..480)
                        .filter(|client| mix.tenant_of(*client) == tenant && mix.dialect_of(*client) == dialect);
                    assert_eq!(share.count(), 480 / 2 / tenants);
                }
            }
        }
    }
}
