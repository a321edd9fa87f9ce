//! Figures as CSV: one line for each contender and cell.

use anyhow::Result;
use serde::Serialize;

use crate::call_type::CallType;
use crate::contender::Kind;
use crate::plan::Row;
use crate::setup::Scenario;

/// One line.
#[derive(Serialize)]
struct Line {
    scenario: Scenario,
    contender: Kind,
    call: CallType,
    nodes: usize,
    needed: usize,
    request_bytes: usize,
    reply_bytes: usize,
    in_flight: usize,
    pipeline: usize,
    clients: usize,
    rate: Option<u64>,
    workers: usize,
    local_node: bool,
    rounds: usize,
    calls: u64,
    calls_per_s: f64,
    errors: u64,
    missed: u64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    user_us_per_call: f64,
    system_us_per_call: f64,
    switches_per_call: f64,
    allocations_per_call: f64,
    allocated_bytes_per_call: f64,
    resident_kib: f64,
    kib_per_node: f64,
    servers_cpu_us_per_call: Option<f64>,
    servers_resident_kib: Option<f64>,
}

impl From<&Row> for Line {
    fn from(Row { setup, sample, rounds }: &Row) -> Self {
        let servers = sample.servers.as_ref();
        Self {
            scenario: setup.scenario,
            contender: setup.contender,
            call: setup.call,
            nodes: setup.nodes,
            needed: setup.needed,
            request_bytes: setup.request_bytes,
            reply_bytes: setup.reply_bytes,
            in_flight: setup.in_flight,
            pipeline: setup.pipeline,
            clients: setup.clients,
            rate: setup.rate,
            workers: setup.workers,
            local_node: setup.local_node,
            rounds: *rounds,
            calls: sample.calls,
            calls_per_s: sample.calls_per_s,
            errors: sample.errors,
            missed: sample.missed,
            mean_us: sample.latency.mean,
            p50_us: sample.latency.p50,
            p90_us: sample.latency.p90,
            p99_us: sample.latency.p99,
            p999_us: sample.latency.p999,
            max_us: sample.latency.max,
            user_us_per_call: sample.user_us_per_call,
            system_us_per_call: sample.system_us_per_call,
            switches_per_call: sample.switches_per_call,
            allocations_per_call: sample.allocations_per_call,
            allocated_bytes_per_call: sample.allocated_bytes_per_call,
            resident_kib: sample.resident_kib,
            kib_per_node: sample.kib_per_node,
            servers_cpu_us_per_call: servers
                .map(|servers| servers.user_us_per_call + servers.system_us_per_call),
            servers_resident_kib: servers.map(|servers| servers.resident_kib),
        }
    }
}

pub(super) fn csv(rows: &[Row]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(Line::from(row))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
