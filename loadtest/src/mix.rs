//! Who the clients are: which tenant and which encoding each has, so that both are spread evenly over all of them.

use serde::{Deserialize, Serialize};

use crate::codec::Codec;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mix {
    /// At least one. Clients have them in turn.
    pub(crate) codecs: Vec<Codec>,
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

    /// A client's encoding. Each tenant's clients have them in turn, or a tenant would get one encoding only.
    pub(crate) fn codec_of(&self, client: u32) -> Codec {
        self.codecs[client as usize / self.tenants.len() % self.codecs.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_share_of_clients_of_each_encoding() {
        for tenants in [1, 2, 3, 8] {
            let names = (0..tenants).map(|tenant| format!("acme-{tenant}")).collect();
            let mix = Mix { codecs: vec![Codec::Json, Codec::Msgpack], tenants: names };
            for tenant in 0..tenants {
                for codec in [Codec::Json, Codec::Msgpack] {
                    let share =
                        (0..480).filter(|client| mix.tenant_of(*client) == tenant && mix.codec_of(*client) == codec);
                    assert_eq!(share.count(), 480 / 2 / tenants);
                }
            }
        }
    }
}
