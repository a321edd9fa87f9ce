//! G6: drops are never silent, and never loud.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{NOTE, OnNode, number};
use gorums_core::{Configuration, Overflow, QueueLimits};
use tokio::time::{Instant, sleep};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines since the last look.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains("queue full, dropped")).map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn one_line_in_each_window_while_dropping_and_none_otherwise() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let configuration = Configuration::builder()
        .nodes(["10.0.0.1:1"])
        .connector(|_: Arc<str>| -> futures_util::future::BoxFuture<'static, _> {
            Box::pin(std::future::pending())
        })
        .connect_timeout(Duration::from_secs(3600))
        .queue_limits(QueueLimits { messages: 1, bytes: 1 << 10 })
        .connect_lazy()
        .unwrap();
    let node = configuration.node(1).unwrap();
    let drop_one = || {
        let call = node.unicast(&NOTE, number(1)).timeout(Duration::from_secs(3600));
        call.overflow(Overflow::DropNewest).send().unwrap();
    };
    drop_one(); // finds room
    sleep(Duration::from_secs(100)).await;
    assert!(log.lines().is_empty(), "nothing was dropped");
    drop_one();
    assert_eq!(log.lines().len(), 1, "at once");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(95) {
        drop_one();
        sleep(Duration::from_millis(10)).await;
    }
    let while_dropping = log.lines();
    assert_eq!(while_dropping.len(), 3, "{while_dropping:?}");
    sleep(Duration::from_secs(300)).await;
    let rest = log.lines();
    assert_eq!(rest.len(), 1, "the drops of the last window: {rest:?}");
    let total = node.stats().queue.dropped;
    assert!(rest[0].contains(&format!("total={total}")) && rest[0].contains("node=1"), "{rest:?}");
    drop_one();
    assert_eq!(log.lines().len(), 1, "dropping again");
    configuration.abort().await;
}
