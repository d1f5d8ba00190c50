//! A server that answers what a test tells it to, for what a real one of this version never says.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Listens until the process ends. `answer` gets the words of each command and returns the bytes to send; `None` closes
/// the connection.
pub(crate) fn listen(answer: impl Fn(&[String]) -> Option<String> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    format!("redis://:hunter2@{address}")
}

/// The answer to `HELLO` of a server of this kind.
pub(crate) fn hello(version: &str, mode: &str) -> String {
    let fields = [("server", "redis"), ("version", version), ("mode", mode), ("role", "master")];
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let fields = fields.map(|(name, value)| bulk(name) + &bulk(value));
    format!("%{}\r\n{}", fields.len(), fields.concat())
}

fn serve(stream: TcpStream, answer: &dyn Fn(&[String]) -> Option<String>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let words = read_command(&mut reader)?;
        writer.write_all(answer(&words)?.as_bytes()).ok()?;
    }
}

/// Reads an array of bulk strings.
fn read_command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count = read_length(reader)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; read_length(reader)? + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            String::from_utf8(word).ok()
        })
        .collect()
}

/// Reads `*3` or `$12`.
fn read_length(reader: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.get(1..)?.trim_end().parse().ok()
}
