//! A connection to Redis. Not a client library: it says who it is, and asks one thing at a time.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::address::RedisUrl;
use crate::link::Link;
use crate::resp::{Reply, put_command, reply};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct RedisLink(Link);

impl RedisLink {
    /// Connects, says who it is when the URL does, and asks for a sign of life.
    pub(crate) fn connect(url: &RedisUrl) -> anyhow::Result<RedisLink> {
        let address = url.address;
        let mut link = RedisLink(Link::connect(address, PATIENCE).with_context(|| {
            format!("Redis at {address} can't be reached: start redis-server, or give --redis or --spawn")
        })?);
        if let Some(password) = &url.password {
            let user = url.user.as_deref().unwrap_or("default");
            link.call(&[b"AUTH", user.as_bytes(), password.as_bytes()]).context("Redis refuses the password")?;
        }
        link.call(&[b"PING"]).with_context(|| format!("Redis at {address} is not ready"))?;
        Ok(link)
    }

    pub(crate) fn into_link(self) -> Link {
        self.0
    }

    /// The answer to one command, as text.
    pub(crate) fn call(&mut self, command: &[&[u8]]) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        put_command(&mut bytes, command);
        self.write(&bytes)?;
        loop {
            let answer = match reply(self.bytes()).map_err(anyhow::Error::msg)? {
                Some((Reply::Integer(number), used)) => (number.to_string(), used),
                Some((Reply::Status(text), used)) => (text.to_owned(), used),
                Some((Reply::Text(text), used)) => (String::from_utf8_lossy(text).into_owned(), used),
                Some((Reply::Error(error), _)) => bail!("{error}"),
                None => {
                    self.read(true)?;
                    continue;
                }
            };
            self.take(answer.1);
            return Ok(answer.0);
        }
    }
}

impl Deref for RedisLink {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl DerefMut for RedisLink {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.0
    }
}
