//! When a server process is to stop.

use std::future::{Future, pending};
use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Resolves when the process is asked to stop: by SIGINT (Ctrl-C) or SIGTERM. They are caught from the time
/// of the call on.
///
/// # Errors
///
/// Signals cannot be caught.
pub fn requested() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    })
}

/// Resolves when stdin closes, as it does when the process at its other end is gone, however that ended.
pub async fn stdin_closed() {
    let (closed, on_closed) = oneshot::channel();
    // A thread of its own: one of the runtime's would keep the runtime from ending.
    let reader = thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = closed.send(());
    });
    if reader.is_err() || on_closed.await.is_err() {
        pending::<()>().await;
    }
}
