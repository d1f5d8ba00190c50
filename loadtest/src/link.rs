//! A plain connection with deadlines on everything: bytes go out, bytes come in. What they mean is somebody else's matter.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

const READ_BYTES: usize = 256 << 10;

pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Link {
    /// Connects. `patience` is for each step: to connect, and then to read or write anything.
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Link { stream, buffer: vec![0; READ_BYTES], filled: 0 })
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
}
