//! A plain connection to Redis with deadlines on everything. Not a client library: bytes go out, bytes come in.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::address::RedisUrl;
use crate::resp::{Reply, put_command, reply};

const PATIENCE: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 256 << 10;

pub(crate) struct RedisLink {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl RedisLink {
    /// Connects, says who it is when the URL does, and asks for a sign of life.
    pub(crate) fn connect(url: &RedisUrl) -> anyhow::Result<RedisLink> {
        let address = url.address;
        let stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(|| {
            format!("Redis at {address} can't be reached: start redis-server, or give --redis or --spawn")
        })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut link = RedisLink { stream, buffer: vec![0; READ_BYTES], filled: 0 };
        if let Some(password) = &url.password {
            let user = url.user.as_deref().unwrap_or("default");
            link.call(&[b"AUTH", user.as_bytes(), password.as_bytes()]).context("Redis refuses the password")?;
        }
        link.call(&[b"PING"]).with_context(|| format!("Redis at {address} is not ready"))?;
        Ok(link)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads what is there, or waits for something when `wait`. 0 bytes: nothing is there.
    pub(crate) fn read(&mut self, wait: bool) -> std::io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        match recv(&self.stream, &mut self.buffer[self.filled..], flags) {
            Ok((0, _)) => Err(ErrorKind::UnexpectedEof.into()),
            Ok((read, _)) => {
                self.filled += read;
                Ok(read)
            }
            Err(Errno::AGAIN) if wait => Err(ErrorKind::TimedOut.into()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// What has been read and not been taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// The first `used` bytes are dealt with.
    pub(crate) fn take(&mut self, used: usize) {
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
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
