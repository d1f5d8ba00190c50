//! `fanfare serve --dev`: the demo page and tokens for it. It serves loopback only, and checks the Host header, since a
//! page elsewhere could have its name point to 127.0.0.1 (DNS rebinding) and ask for a token.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde_json::json;

use crate::config::{AuthConfig, Config, Hs256Secret};
use crate::mint::{Grant, mint};
use crate::{demo, problem};

/// The tenant of the demo.
pub const TENANT: &str = "acme";

/// How long the demo's tokens are good, in seconds.
const TOKEN_LIFE_S: u64 = 3_600;

/// What the demo page is served with.
pub struct Dev {
    secret: Hs256Secret,
    auth: AuthConfig,
    publish_command: String,
    api: String,
}

impl Dev {
    /// Takes the first secret and the first API key of the configuration. `api`: where the HTTP API listens.
    pub fn new(config: &Config, api: SocketAddr) -> anyhow::Result<Self> {
        let secret = config.auth.hs256_secrets.first().context("--dev signs tokens with an HS256 secret")?;
        let key = config.api_keys.keys.first().context("--dev publishes with an API key")?;
        let api = format!("http://{api}");
        let publish_command = format!(
            "curl -X POST {api}/v1/tenants/{TENANT}/topics/channel:orders/events \\\n  \
             -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \\\n  \
             -d '{{\"type\":\"order.updated\",\"data\":{{\"id\":7}}}}'",
            key.key.expose()
        );
        Ok(Self { secret: secret.clone(), auth: config.auth.clone(), publish_command, api })
    }

    /// Prints what a newcomer needs: the page's address, a command to paste, the secret of tokens. `clients`: where they
    /// connect.
    pub fn announce(&self, clients: SocketAddr) {
        println!("Fanfare is running for development, on this machine only.\n");
        println!("  Open     http://{clients}/\n");
        println!("  Publish  {}\n", self.publish_command.replace('\n', "\n         "));
        println!("  Tokens   are signed with HS256 and the secret {}\n", self.secret.secret.expose());
    }

    /// Whether it serves `path`.
    pub fn has(&self, path: &str) -> bool {
        matches!(path, "/" | "/dev/token" | "/dev/info")
    }

    /// Refuses a request that came by the name of another site; `/ws` of a development node is no exception.
    pub fn refuse_stranger<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let message = "a development node answers to localhost only";
        (!demo::is_loopback_host(host)).then(|| problem::response(StatusCode::FORBIDDEN, "forbidden", message))
    }

    /// Answers a GET.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/dev/token" => {
                let mut response = self.token(request.uri().query().unwrap_or_default());
                open(&mut response, request.headers());
                response
            }
            "/dev/info" => {
                let info = json!({ "publish_command": self.publish_command, "api": self.api, "tenant": TENANT });
                problem::json(StatusCode::OK, &info)
            }
            _ => page(),
        }
    }

    fn token(&self, query: &str) -> Response<Full<Bytes>> {
        let value = |name: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let channels = value("channels").unwrap_or_else(|| "**".to_owned());
        let channels: Vec<String> =
            channels.split(',').map(str::trim).filter(|channel| !channel.is_empty()).map(str::to_owned).collect();
        let tenant = value("tenant").unwrap_or_else(|| TENANT.to_owned());
        let user = value("user").unwrap_or_else(|| "demo".to_owned());
        let grant = Grant {
            tenant: &tenant,
            user: &user,
            channels: &channels,
            // To users and to everyone, too: whoever tries it out should see all kinds of topics.
            publish: &["**".to_owned()],
            methods: &["**".to_owned()],
            subscribe: &[],
            expires_s: TOKEN_LIFE_S,
            id: None,
        };
        let token = mint(&grant, &self.secret, &self.auth);
        match token {
            Ok(token) => problem::json(StatusCode::OK, &json!({ "token": token })),
            Err(error) => problem::response(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
        }
    }
}

/// Lets a page of this machine read `response`: one that a frontend's own development server serves on another port.
fn open<B>(response: &mut Response<B>, asked: &HeaderMap) {
    let answer = response.headers_mut();
    answer.insert(VARY, HeaderValue::from_static("origin"));
    let is_near = |origin: &&HeaderValue| {
        origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).is_some_and(demo::is_loopback_host)
    };
    if let Some(origin) = asked.get(ORIGIN).filter(is_near) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

fn page() -> Response<Full<Bytes>> {
    let (html, policy) = demo::page();
    let mut response = Response::new(Full::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
