//! Tasks that the node can't do without. A panic in one would leave a process that looks alive and delivers nothing, so
//! it ends the process, and whoever runs it starts a new one.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// The exit code of a node that broke (`EX_SOFTWARE` of sysexits.h).
const BROKEN: i32 = 70;

/// Runs `task`; should it panic, the process ends.
pub(crate) fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        // Nothing is used after the panic.
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!(task = name, "a task that the node can't do without has panicked: ending the process");
            std::process::exit(BROKEN);
        }
    });
}
