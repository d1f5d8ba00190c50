//! Which tokens are revoked, as every node is told.

use std::time::Duration;

use fanfare_protocol::Tenant;

use crate::World;
use crate::support::node::Node;

const HOUR: Duration = Duration::from_hours(1);
const MOMENT: Duration = Duration::from_millis(1);

fn tenant(text: &str) -> Tenant {
    Tenant::parse(text).unwrap()
}

async fn revoke(node: &Node, id: &str, of: Option<&str>, ttl: Duration) {
    node.backplane.revoke(id, of.map(tenant).as_ref(), ttl).await.unwrap();
}

/// For tokens of these tenants with this `jti`.
async fn is_revoked(node: &Node, id: &str, tenants: &[&str]) -> Vec<bool> {
    let tenants: Vec<_> = tenants.iter().map(|text| tenant(text)).collect();
    let tokens: Vec<_> = tenants.iter().map(|tenant| (id, tenant)).collect();
    node.backplane.revoked(&tokens).await.unwrap()
}

pub(super) async fn a_token_stays_revoked_whatever_another_tenant_revokes(world: World) {
    let (one, two) = (world.node().await, world.node().await);
    assert_eq!(is_revoked(&two, "1", &["acme", "globex"]).await, [false, false]);
    revoke(&one, "1", Some("acme"), HOUR).await;
    assert_eq!(is_revoked(&two, "1", &["acme", "globex"]).await, [true, false]);
    revoke(&one, "1", Some("globex"), HOUR).await;
    assert_eq!(is_revoked(&two, "1", &["initech", "acme", "globex"]).await, [false, true, true]);
    revoke(&one, "1", None, HOUR).await;
    revoke(&one, "1", Some("acme"), HOUR).await;
    assert_eq!(is_revoked(&two, "1", &["initech", "acme"]).await, [true, true]);
    // A `jti` may look like anything.
    assert_eq!(is_revoked(&two, "acme:revoked:1", &["acme"]).await, [false]);
}

pub(super) async fn to_revoke_again_never_makes_it_shorter(world: World) {
    let node = world.node().await;
    for of in [None, Some("acme")] {
        revoke(&node, "long", of, HOUR).await;
        revoke(&node, "long", of, MOMENT).await;
        revoke(&node, "longer", of, MOMENT).await;
        revoke(&node, "longer", of, HOUR).await;
        revoke(&node, "short", of, MOMENT).await;
        while is_revoked(&node, "short", &["acme"]).await == [true] {
            tokio::time::sleep(MOMENT).await;
        }
        assert_eq!(is_revoked(&node, "long", &["acme"]).await, [true], "{of:?}");
        assert_eq!(is_revoked(&node, "longer", &["acme"]).await, [true], "{of:?}");
    }
}
