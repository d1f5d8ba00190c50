//! What the clients' port answers: `/ws`, and with `--dev` the demo page and tokens for it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::dev::Dev;
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::{client_address, problem, upgrade};
use ipnet::IpNet;

/// The clients' port.
pub struct Routes {
    /// Who serves them.
    pub node: Arc<Node>,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The demo, with `--dev`.
    pub dev: Option<Dev>,
}

impl Routes {
    /// Answers one request from `peer`, the next hop whose address is proven.
    ///
    /// Only a WebSocket stays: with any other answer the connection ends, or a few hundred clients that ask for nothing in
    /// particular again and again could hold all the places of those that have yet to connect.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        let mut response = self.route(request, peer).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        if self.dev.is_some()
            && let Some(refusal) = Dev::refuse_stranger(&request)
        {
            return refusal;
        }
        let is_get = request.method() == Method::GET;
        match (request.uri().path(), &self.dev) {
            ("/ws", _) if is_get => {
                let address = client_address::client_address(peer, &self.trusted_proxies, request.headers());
                upgrade::handle(&self.node, &self.origins, request, address).await
            }
            (_, Some(dev)) if is_get && dev.has(request.uri().path()) => dev.answer(&request),
            ("/ws", _) => {
                let mut response = problem::response(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "use GET");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                response
            }
            _ => problem::response(StatusCode::NOT_FOUND, "not_found", "clients connect at /ws"),
        }
    }
}
