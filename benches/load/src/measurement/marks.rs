//! What was used between two moments.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;

use crate::sample::{Sample, ServerFigures};
use crate::servers::Servers;
use crate::setup::Setup;
use crate::statistics::ServerUsage;
use crate::usage::Usage;

/// One moment.
pub(super) struct Marks {
    at: Instant,
    usage: Usage,
    requests: Vec<u64>,
    servers: Vec<ServerUsage>,
}

impl Marks {
    pub(super) async fn take(servers: &Servers) -> Result<Self> {
        let told = servers.usage().await?;
        Ok(Self { at: Instant::now(), usage: Usage::now(), requests: servers.requests(), servers: told })
    }

    /// What was used since an earlier moment, by so many calls. One-way messages are those that have arrived.
    pub(super) fn since(&self, earlier: &Self, setup: &Setup, calls: u64) -> Sample {
        let requests = self.requests_since(earlier);
        let calls = if setup.call.is_one_way() { arrived(setup, &requests) } else { calls };
        let used = self.usage.since(&earlier.usage);
        let per_call = |amount: u64| amount as f64 / calls.max(1) as f64;
        let seconds = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        Sample {
            calls,
            calls_per_s: calls as f64 / seconds.max(f64::MIN_POSITIVE),
            user_us_per_call: per_call(used.user_us),
            system_us_per_call: per_call(used.system_us),
            switches_per_call: per_call(used.switches),
            allocations_per_call: per_call(used.allocations),
            allocated_bytes_per_call: per_call(used.allocated_bytes),
            resident_kib: Usage::resident_kib() as f64,
            servers: self.servers_since(earlier, requests, per_call),
            ..Sample::default()
        }
    }

    fn requests_since(&self, earlier: &Self) -> Vec<u64> {
        if self.servers.is_empty() {
            return self.requests.iter().zip(&earlier.requests).map(|(now, then)| now - then).collect();
        }
        let mut now: Vec<u64> = self.servers.iter().map(|server| server.requests).collect();
        let mut then: Vec<u64> = earlier.servers.iter().map(|server| server.requests).collect();
        // They come in any order. The difference of the sorted ones is at least as small as the smallest of all.
        now.sort_unstable();
        then.sort_unstable();
        now.iter().zip(then).map(|(now, then)| now.saturating_sub(then)).collect()
    }

    fn servers_since(
        &self,
        earlier: &Self,
        mut requests: Vec<u64>,
        per_call: impl Fn(u64) -> f64,
    ) -> Option<ServerFigures> {
        let (now, then) = (by_process(&self.servers), by_process(&earlier.servers));
        if now.is_empty() {
            return None;
        }
        let used = |figure: fn(&ServerUsage) -> u64| {
            let used = |(process, now): (&u64, &&ServerUsage)| {
                figure(now).saturating_sub(then.get(process).map_or(0, |then| figure(then)))
            };
            now.iter().map(used).sum::<u64>()
        };
        requests.sort_unstable();
        Some(ServerFigures {
            processes: now.len(),
            user_us_per_call: per_call(used(|server| server.user_us)),
            system_us_per_call: per_call(used(|server| server.system_us)),
            resident_kib: now.values().map(|server| server.resident_kib as f64).sum(),
            requests,
        })
    }
}

/// How many one-way messages have arrived everywhere they went.
fn arrived(setup: &Setup, requests: &[u64]) -> u64 {
    if setup.call.is_to_one() { requests.iter().copied().max() } else { requests.iter().copied().min() }
        .unwrap_or(0)
}

/// One of the servers of each process.
fn by_process(servers: &[ServerUsage]) -> HashMap<u64, &ServerUsage> {
    servers.iter().map(|server| (server.process, server)).collect()
}
