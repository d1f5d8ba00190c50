//! Stories about `fanfare health`.

use std::net::TcpListener;

use crate::fanfare::{fanfare, start};
use crate::redis_server::free_port;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_node_that_lives_is_healthy_and_one_that_does_not_is_not() {
    let clients = format!("127.0.0.1:{}", free_port());
    let port = free_port();
    let everywhere = format!("0.0.0.0:{port}");
    let variables =
        [("FANFARE_ADMIN_LISTEN", &*everywhere), ("FANFARE_LISTEN", &clients), ("FANFARE_JWT_HS256_SECRET", SECRET)];
    let node = start(&["serve"], &variables);
    node.wait_for_line("serving operators");
    let said = fanfare(&["health"], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with(r#"{"connections":0,"status":"ok","uptime_s":"#), "{}", said.out);

    drop(node);
    let said = fanfare(&["health"], &variables);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let refused = format!("fanfare: the node at 127.0.0.1:{port} is not healthy: Connection refused");
    assert!(said.err.starts_with(&refused), "{}", said.err);
}

#[test]
fn a_node_that_hangs_is_not_waited_for() {
    // Takes connections, and never answers.
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hung.local_addr().unwrap().to_string();
    let said = fanfare(&["health", "--admin-listen", &address], &[]);
    let late = format!("fanfare: the node at {address} has not answered within 2 s: deadline has elapsed\n");
    assert_eq!((said.code, said.err), (1, late));
}
