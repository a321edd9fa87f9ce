use super::*;
use crate::call_type::CallType;
use crate::contender::Counts;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::time::sleep_until;

/// A server that answers after a millisecond, but stalls at one time for a while.
struct Stalling {
    from: Instant,
    until: Instant,
}

const WARM_UP: Duration = Duration::from_millis(50);
const STALL: Duration = Duration::from_millis(250);
const CALLERS: usize = 4;

impl Contender for Stalling {
    async fn serve(_: TcpListener, _: Arc<Counts>) -> Result<()> {
        Ok(())
    }

    async fn connect(connect: &Connect) -> Result<Self> {
        let from = Instant::now() + 2 * WARM_UP;
        // A bound on the queue stands for a stall that does not end.
        let until = from + if connect.queue.bytes.is_some() { 1_000 * STALL } else { STALL };
        Ok(Self { from, until })
    }

    async fn call(&self, _: &Job) -> Result<()> {
        sleep_until((Instant::now() + Duration::from_millis(1)).into()).await;
        if (self.from..self.until).contains(&Instant::now()) {
            sleep_until(self.until.into()).await;
        }
        Ok(())
    }
}

fn measurement(rate: Option<u64>) -> Measurement {
    let setup = Setup {
        scenario: Scenario::Calls,
        contender: Kind::Gorums,
        call: CallType::QuorumMajority,
        nodes: 1,
        needed: 1,
        request_bytes: 0,
        reply_bytes: 0,
        in_flight: CALLERS,
        pipeline: 1,
        clients: 1,
        rate,
        updates: 1,
        workers: 1,
        local_node: false,
    };
    let timing = Timing { warm_up: WARM_UP, duration: 2 * STALL };
    Measurement { setup, timing, environment: Environment::default() }
}

const SHOWS: f64 = 100_000.0;

/// Half of the calls are meant to start while the server stalls, and each of them shows how long it had to wait.
#[test]
fn a_stall_shows_in_the_latencies_of_calls_at_a_rate() {
    let sample = measurement(Some(1_000)).run_as::<Stalling>().unwrap();
    assert!(sample.latency.p90 >= SHOWS, "{:?}", sample.latency);
    assert!(sample.latency.max >= 200_000.0, "{:?}", sample.latency);
    assert_eq!(sample.errors, 0);
}

/// The same stall hits only one call of each caller: this is what hides it.
#[test]
fn a_stall_is_hidden_where_callers_wait_for_it() {
    let sample = measurement(None).run_as::<Stalling>().unwrap();
    assert!(sample.latency.p90 < SHOWS, "{:?}", sample.latency);
    assert!(sample.latency.max >= SHOWS, "{:?}", sample.latency);
}

#[test]
fn calls_that_could_not_even_start_are_not_forgotten() {
    let mut measurement = measurement(Some(1_000));
    measurement.environment.queue.bytes = Some(1);
    let sample = measurement.run_as::<Stalling>().unwrap();
    // The stall begins a tenth into the time, and lasts.
    assert!(sample.missed >= 300, "{}", sample.missed);
    assert!(sample.latency.p50 >= SHOWS, "{:?}", sample.latency);
    assert!(sample.calls < 200, "{}", sample.calls);
}
