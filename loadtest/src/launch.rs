//! Starting servers: on a processor of their own, and never outliving the load generator, however that ends. A server
//! is started through this program's hidden `launch` command, which asks the kernel to kill it with its parent
//! (`PR_SET_PDEATHSIG`) and then becomes it: nothing is left behind on Ctrl-C, a panic or a kill.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rand::Rng as _;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const START_MAX: Duration = Duration::from_secs(30);
const LINES_KEPT: usize = 20;
const PORTS_TRIED: usize = 1_000;
/// Those of the load generator's own tests follow, and those of all others from 10,000 on.
const PORTS: Range<u16> = 5_000..9_000;
const STARTS: usize = 5;

/// A server that was started here; it is killed when this is dropped.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// What to start and where.
pub(crate) struct Launch {
    pub(crate) name: &'static str,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) processors: Vec<usize>,
}

impl Server {
    /// Must be called by the main thread: the kernel ends the server with the thread that started it.
    pub(crate) fn start(launch: Launch) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("launch").arg("--parent").arg(std::process::id().to_string());
        for processor in &launch.processors {
            command.arg("--processor").arg(processor.to_string());
        }
        command.arg("--").arg(&launch.program).args(launch.arguments).envs(launch.environment);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", launch.name))?;
        let said = Arc::default();
        if let Some(output) = child.stdout.take() {
            keep_lines(output, &said);
        }
        if let Some(errors) = child.stderr.take() {
            keep_lines(errors, &said);
        }
        Ok(Server { name: launch.name, child, said })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("it has no process id")?;
        kill_process(pid, signal).with_context(|| format!("sending a signal to {}", self.name))
    }

    /// Whether it has ended; an error if it ended badly.
    pub(crate) fn has_ended_well(&mut self) -> anyhow::Result<bool> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => bail!("{}", self.post_mortem().unwrap_or_default()),
            status => Ok(status.is_some()),
        }
    }

    /// How it ended and what it said last, if it has ended.
    pub(crate) fn post_mortem(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        // Its last words may still be on their way through the pipe.
        std::thread::sleep(Duration::from_millis(50));
        Some(format!("{} ended ({status}){}", self.name, self.last_words()))
    }

    /// Waits until `ready` gives something. Fails with the server's own last words when it ends before.
    pub(crate) fn wait_until<T>(&mut self, mut ready: impl FnMut(&[String]) -> Option<T>) -> anyhow::Result<T> {
        let since = Instant::now();
        loop {
            let post_mortem = self.post_mortem();
            let said: Vec<String> = self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            if let Some(found) = ready(&said) {
                return Ok(found);
            }
            if let Some(post_mortem) = post_mortem {
                bail!("{post_mortem}");
            }
            if since.elapsed() > START_MAX {
                bail!("{} was not ready after {} s{}", self.name, START_MAX.as_secs(), self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn last_words(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().fold(String::new(), |text, line| text + "\n  | " + line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The hidden command: becomes `command`, bound to the processors, to die with its parent. Returns only on failure.
pub(crate) fn become_server(parent: i32, processors: &[usize], command: &[OsString]) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Pid::from_raw(parent) {
        bail!("the load generator has ended");
    }
    bind_to(processors)?;
    let (program, arguments) = command.split_first().context("nothing to start")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("can't start {}", program.display()))
}

/// Binds this process to these processors; none means anywhere.
pub(crate) fn bind_to(processors: &[usize]) -> anyhow::Result<()> {
    if processors.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    sched_setaffinity(None, &set).context("binding to a processor")
}

/// The processors this process may use.
pub(crate) fn processors() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
}

/// A port of 127.0.0.1 that was free a moment ago, below those that the kernel gives to outgoing connections, of which one
/// could take it away again.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    (0..PORTS_TRIED)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, rand::rng().random_range(PORTS))))
        .find(|address| TcpListener::bind(address).is_ok())
        .with_context(|| format!("there is no free port between {} and {}", PORTS.start, PORTS.end))
}

/// Starts something on free ports; on others when somebody took one between its choice and its use.
pub(crate) fn on_free_ports<T>(mut start: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 1..STARTS {
        match start() {
            Err(error) if format!("{error:#}").to_lowercase().contains("address already in use") => {}
            outcome => return outcome,
        }
    }
    start()
}

fn keep_lines(output: impl Read + Send + 'static, said: &Arc<Mutex<VecDeque<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_back(line);
            if said.len() > LINES_KEPT {
                said.pop_front();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn this_process_may_use_some_processor() {
        assert!(!processors().is_empty());
        bind_to(&[]).unwrap();
    }

    #[test]
    fn a_free_port_can_be_bound() {
        TcpListener::bind(free_port().unwrap()).unwrap();
    }

    #[test]
    fn only_a_port_that_is_taken_makes_it_start_again() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut starts = 0;
        let outcome = on_free_ports(|| {
            starts += 1;
            if starts < 3 {
                Ok(TcpListener::bind(address).context("listening").map(|_| ())?)
            } else {
                bail!("no program")
            }
        });
        assert_eq!((outcome.unwrap_err().to_string(), starts), ("no program".to_owned(), 3));
        assert!(on_free_ports(|| Ok(TcpListener::bind(address)?)).is_err(), "not for ever");
    }
}
