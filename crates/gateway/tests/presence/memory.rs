//! On the memory backplane it is the same, for one node.

use crate::support::Node;
use crate::{BOARD, ask, expect_told, member, set, users};

#[tokio::test]
async fn a_single_node_needs_no_redis() {
    let node = Node::start(&[crate::SHORT]).await;
    let mut ana = member(&node, "ana").await;
    let bo = member(&node, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["ana", "bo"]));
    drop(bo);
    expect_told(&mut ana, "left", "bo").await;
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["ana"]));
}
