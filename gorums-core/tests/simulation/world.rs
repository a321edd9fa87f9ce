//! Runs a plan.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use gorums_core::testing::TurmoilIncoming;
use gorums_core::{Server, ServerHandle, ServerStats};
use turmoil::{Builder, Sim};

use crate::client::{self, PORT};
use crate::faults::{Fault, client_name, server_name};
use crate::plan::{HEALED, MS, Plan};
use crate::record::{Event, Record};
use crate::service::Log;

/// What there is to judge after a simulation.
pub struct Outcome {
    pub plan: Arc<Plan>,
    pub events: Vec<(Duration, Event)>,
    /// Why the simulation did not come to its end, if it did not.
    pub error: Option<String>,
    pub panics: Vec<String>,
    /// What servers still had open long after their clients had gone.
    pub left_open: Vec<(u32, ServerStats)>,
}

/// The hosts' clocks move on by this much at a time.
pub const TICK: Duration = Duration::from_millis(2);
/// How long a server waits for a new connection to show itself.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// A program that is not over by then never is.
const LIMIT: Duration = Duration::from_secs(60);

thread_local! {
    /// What panicked in tasks for which nobody waits, too.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub fn run(seed: u64) -> Outcome {
    note_panics();
    let plan = Arc::new(Plan::from_seed(seed));
    let record = Record::default();
    let servers = Arc::new(Mutex::new(Vec::new()));
    let mut simulation = build(&plan, &record, &servers);
    let error = advance(&plan, &record, &mut simulation).err();
    // Handlers that were given up finish, and the servers notice what has gone.
    for _ in
        0..(plan.options.keepalive.0 + plan.options.keepalive.1 + 2_000 * MS).as_millis() / TICK.as_millis()
    {
        if error.is_some() {
            break;
        }
        // Errors would be those of hosts that have ended, and they serve for ever.
        let _ = simulation.step();
    }
    let servers: Vec<(u32, ServerHandle)> = std::mem::take(&mut *servers.lock().unwrap());
    let open = servers.iter().map(|(node, handle)| (*node, handle.stats()));
    let left_open = open.filter(|(_, stats)| *stats != ServerStats::default()).collect();
    drop(simulation);
    let panics = PANICS.with(RefCell::take);
    Outcome { plan, events: record.take(), error, panics, left_open }
}

fn build(plan: &Arc<Plan>, record: &Record, servers: &Arc<Mutex<Vec<(u32, ServerHandle)>>>) -> Sim<'static> {
    let mut simulation = Builder::new()
        .rng_seed(plan.seed)
        .enable_random_order()
        .tick_duration(TICK)
        .simulation_duration(LIMIT)
        .max_message_latency(plan.latency)
        .fail_rate(plan.fail_rate)
        .build();
    for node in 1..=plan.servers {
        let (plan, record, servers) = (plan.clone(), record.clone(), servers.clone());
        simulation.host(server_name(node), move || {
            let log = Log { node, record: record.clone() };
            let (keepalive, servers) = (plan.options.keepalive, servers.clone());
            async move {
                let server = Server::builder().add_service(log).keepalive(keepalive.0, keepalive.1);
                let server = server.handshake_timeout(HANDSHAKE);
                let server = server.on(TurmoilIncoming::bind(("0.0.0.0", PORT)).await?);
                servers.lock().unwrap().push((node, server.handle()));
                server.serve().await?;
                Ok(())
            }
        });
    }
    for client in 1..=plan.clients {
        let (plan, record) = (plan.clone(), record.clone());
        simulation.client(client_name(client), async move {
            // By then every server listens, so that whatever goes wrong is due to a fault.
            tokio::time::sleep(2 * TICK).await;
            client::run(&plan, client, record).await
        });
    }
    simulation
}

/// Runs until the clients have finished.
fn advance(plan: &Plan, record: &Record, simulation: &mut Sim<'_>) -> Result<(), String> {
    let mut faults = plan.faults.iter().peekable();
    loop {
        while let Some(timed) = faults.next_if(|timed| timed.at <= simulation.elapsed()) {
            timed.fault.apply(plan, simulation);
            if let Fault::Crash(node) = timed.fault {
                record.add_at(simulation.elapsed(), Event::Crashed(node));
            }
        }
        if simulation.elapsed() >= HEALED {
            simulation.set_fail_rate(0.0);
        }
        if simulation.step().map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.borrow_mut().push(info.to_string()));
            usual(info);
        }));
    });
}
