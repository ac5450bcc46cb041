//! What keeps the counters going: connections, what is owed, slots that are held for long. [cold]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep, timeout};

use super::breaker::{RETRY_AFTER_MAX, RETRY_AFTER_MIN, longer};
use super::connection::reason;
use super::counters::{RedisLimits, first_failure};
use super::owed::End;
use super::script::{Call, END, REFRESH};
use super::servers::CONNECT_LIMIT;
use crate::bridge::shared_limits::{Ending, Taken, TakenLayer};

/// Longest wait for what no request waits for.
const UPKEEP_LIMIT: Duration = Duration::from_secs(1);
/// Members in one call, and calls in one round trip, of upkeep.
const MEMBERS_MAX: usize = 500;
const CALLS_MAX: usize = 64;

impl RedisLimits {
    /// Connects, mends what breaks and says of slots that they are still held, for as long as it is
    /// awaited.
    pub async fn run(&self) {
        let mut wait = Duration::ZERO;
        loop {
            sleep(wait).await;
            match self.mend().await {
                Ok(()) => {}
                Err(why) => {
                    self.breaker.open(&why);
                    wait = longer(wait).max(RETRY_AFTER_MIN);
                    continue;
                }
            }
            let since = Instant::now();
            let mut refresh = interval(self.options.concurrency_ttl / 3);
            loop {
                tokio::select! {
                    () = self.opened.notified() => break,
                    _ = refresh.tick() => self.refresh().await,
                }
            }
            // What breaks again soon, as where one server of several is down, is tried less often.
            wait = match since.elapsed() < RETRY_AFTER_MAX {
                true => longer(wait).max(RETRY_AFTER_MIN),
                false => RETRY_AFTER_MIN,
            };
        }
    }

    /// A new connection that writes in time, and to which all that is owed was told.
    async fn mend(&self) -> Result<(), String> {
        let late = |_| "timed out".to_owned();
        let connection = timeout(CONNECT_LIMIT * 2, self.servers.connect()).await;
        let mut connection = connection.map_err(late)?.map_err(|error| reason(&error))?;
        let probe = format!("{}:{{probe}}:probe", self.prefix);
        // The first use of a connection may take longer than others.
        for limit in [UPKEEP_LIMIT, self.options.timeout] {
            let probed = timeout(limit, connection.probe(&probe)).await;
            probed.map_err(late)?.map_err(|error| reason(&error))?;
        }
        loop {
            let ends = self.owed.take(CALLS_MAX);
            if ends.is_empty() {
                break;
            }
            let apart = connection.is_cluster();
            let calls = ends
                .iter()
                .flat_map(|end| end.calls(apart, |key| self.stem(key)));
            let told = timeout(UPKEEP_LIMIT, connection.run(&END, calls.collect())).await;
            let failed = match told {
                Err(_) => Some("timed out".to_owned()),
                Ok(told) => first_failure(&told),
            };
            if let Some(why) = failed {
                for end in ends {
                    self.owed.push(End {
                        slots_only: true,
                        ..end
                    });
                }
                return Err(why);
            }
        }
        let mut line = self.line();
        line.generation += 1;
        line.connection = Some(connection);
        drop(line);
        self.breaker.close();
        Ok(())
    }

    /// Says of all slots held that they still are, and frees those whose receipt was lost.
    async fn refresh(&self) {
        let Some((generation, connection)) = self.connection() else {
            return;
        };
        let lost = self.take_lost();
        for taken in lost {
            self.tell(End {
                taken,
                ending: Ending::Kept,
                slots_only: true,
            })
            .await;
        }
        let mut calls = self.refreshments();
        while !calls.is_empty() {
            let rest = calls.split_off(calls.len().min(CALLS_MAX));
            let told = self.call(generation, &connection, &REFRESH, calls, UPKEEP_LIMIT);
            if told.await.is_none() {
                return;
            }
            calls = rest;
        }
    }

    fn refreshments(&self) -> Vec<Call> {
        let mut members: HashMap<String, Vec<String>> = HashMap::new();
        for taken in self.held().values() {
            let with_slot = |layer: &&TakenLayer| layer.limits.concurrency.is_some();
            for layer in taken.layers.iter().filter(with_slot) {
                let stem = self.stem(&layer.key);
                members
                    .entry(stem)
                    .or_default()
                    .push(taken.member.to_string());
            }
        }
        let ttl_ms = self.options.concurrency_ttl.as_millis().to_string();
        let mut calls = Vec::new();
        for (stem, members) in members {
            for some in members.chunks(MEMBERS_MAX) {
                let mut call = Call::new([ttl_ms.clone()]);
                call.keys.push(stem.clone());
                call.args.extend_from_slice(some);
                calls.push(call);
            }
        }
        calls
    }

    /// Those that nobody can end any more.
    fn take_lost(&self) -> Vec<Arc<Taken>> {
        let mut held = self.held();
        held.extract_if(|_, taken| Arc::strong_count(taken) == 1)
            .map(|(_, taken)| taken)
            .collect()
    }
}
