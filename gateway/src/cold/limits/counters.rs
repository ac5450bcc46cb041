//! The counters, as the rest of the cold side sees them. [cold]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::breaker::Breaker;
use super::connection::{Answers, Connection, reason};
use super::owed::{End, Owed};
use super::script::{ADMIT, Call, END, Lua, Verdict, bounded, room};
use super::servers::{Servers, ServersError};
use crate::bridge::shared_limits::{
    Admitted, Ask, Ending, LayerAsk, Outcome, Receipt, RedisDown, Refused, Taken, TakenLayer,
};
use crate::settings::RedisSettings;

/// How limits are counted.
#[derive(Clone, Debug)]
pub struct RedisLimitsOptions {
    /// Part of all keys; may be empty.
    pub env_id: Box<str>,
    /// Age at which a slot that was not heard of is reclaimed.
    pub concurrency_ttl: Duration,
    /// Longest wait for an admission.
    pub timeout: Duration,
}

/// The counters that gateways share. [`RedisLimits::run`] connects, and goes on to mend and refresh.
#[derive(Debug)]
pub struct RedisLimits {
    pub(super) servers: Servers,
    pub(super) options: RedisLimitsOptions,
    pub(super) prefix: Box<str>,
    instance: uuid::Uuid,
    next: AtomicU64,
    pub(super) breaker: Arc<Breaker>,
    line: Mutex<Line>,
    pub(super) opened: Notify,
    /// Requests that hold slots, by member.
    held: Mutex<HashMap<Box<str>, Arc<Taken>>>,
    pub(super) owed: Owed,
}

/// The connection in use, and how many came before it: failures of an earlier one say nothing of it.
#[derive(Default)]
pub(super) struct Line {
    pub(super) generation: u64,
    pub(super) connection: Option<Connection>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl RedisLimits {
    /// Counters on the servers of `settings`; connects to nothing.
    ///
    /// # Errors
    ///
    /// An address or a file cannot be used.
    pub fn new(
        settings: &RedisSettings,
        options: RedisLimitsOptions,
    ) -> Result<Self, ServersError> {
        let prefix = match &*options.env_id {
            "" => "sluice:rl".into(),
            env_id => format!("sluice:rl:{env_id}").into(),
        };
        Ok(Self {
            servers: Servers::new(settings, options.timeout)?,
            options,
            prefix,
            instance: uuid::Uuid::new_v4(),
            next: AtomicU64::new(0),
            breaker: Arc::default(),
            line: Mutex::default(),
            opened: Notify::new(),
            held: Mutex::default(),
            owed: Owed::default(),
        })
    }

    /// Whether redis answers, and how often it did not.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Admits a request by all its layers, or by none.
    ///
    /// To be awaited to its end: what is dropped meanwhile may have been counted.
    ///
    /// # Errors
    ///
    /// Redis does not answer in time, or has not lately. If it counted the request all the same, its
    /// slots are freed once redis answers again.
    pub async fn admit(&self, ask: &Ask) -> Result<Outcome, RedisDown> {
        let (generation, connection) = self.connection().ok_or(RedisDown)?;
        let number = self.next.fetch_add(1, Relaxed);
        let member: Box<str> = format!("{}:{number}", self.instance).into();
        let per_call = match connection.is_cluster() {
            true => 1,
            false => ask.layers.len().max(1),
        };
        let calls = self.admissions(ask, &member, per_call);
        let answers = self.call(generation, &connection, &ADMIT, calls, self.options.timeout);
        let answers = answers.await.unwrap_or_default();
        let verdicts: Vec<Option<Verdict>> = ask
            .layers
            .chunks(per_call)
            .enumerate()
            .map(|(at, layers)| Verdict::read(answers.get(at)?.as_ref().ok()?, layers.len()))
            .collect();
        if let Some(verdicts) = verdicts
            .iter()
            .map(Option::as_ref)
            .collect::<Option<Vec<_>>>()
        {
            return Ok(self.conclude(ask, member, &verdicts, per_call).await);
        }
        self.failed(generation, "an answer cannot be read");
        for (layers, verdict) in ask.layers.chunks(per_call).zip(verdicts) {
            let at_ms = verdict.as_ref().map_or(0, |verdict| verdict.at_ms);
            if verdict
                .as_ref()
                .is_some_and(|verdict| verdict.refused.is_some())
            {
                continue;
            }
            self.owed.push(End {
                taken: Arc::new(taken(
                    ask,
                    &member,
                    layers.iter().map(|layer| (layer, at_ms)),
                )),
                ending: Ending::GivenBack,
                slots_only: verdict.is_none(),
            });
        }
        Err(RedisDown)
    }

    fn admissions(&self, ask: &Ask, member: &str, per_call: usize) -> Vec<Call> {
        let ttl_ms = self.options.concurrency_ttl.as_millis();
        let chunks = ask.layers.chunks(per_call);
        let call = |layers: &[LayerAsk]| {
            let tokens = bounded(ask.tokens);
            let mut call = Call::new([member.to_owned(), tokens.to_string(), ttl_ms.to_string()]);
            for layer in layers {
                call.admit(self.stem(&layer.key), &layer.limits);
            }
            call
        };
        chunks.map(call).collect()
    }

    /// Makes one answer of those of all buckets.
    async fn conclude(
        &self,
        ask: &Ask,
        member: Box<str>,
        verdicts: &[&Verdict],
        per_call: usize,
    ) -> Outcome {
        let refused = verdicts.iter().enumerate().find_map(|(at, verdict)| {
            let (bucket, full) = verdict.refused?;
            Some((at * per_call + bucket, full))
        });
        let times = verdicts
            .iter()
            .flat_map(|verdict| verdict.counts.iter().map(|counts| (verdict.at_ms, counts)));
        let own = refused.is_none().then_some(ask.tokens);
        let rooms = ask
            .layers
            .iter()
            .zip(times)
            .map(|(layer, (at_ms, counts))| room(&layer.limits, counts, at_ms, own))
            .collect();
        // In a cluster some may have counted what another refuses.
        let counted = ask
            .layers
            .chunks(per_call)
            .zip(verdicts)
            .filter(|(_, verdict)| verdict.refused.is_none())
            .flat_map(|(layers, verdict)| layers.iter().map(|layer| (layer, verdict.at_ms)));
        let taken = Arc::new(taken(ask, &member, counted));
        let Some((layer, full)) = refused else {
            if taken.has_slot() {
                self.held().insert(member, Arc::clone(&taken));
            }
            let receipt = Receipt::new(taken);
            return Outcome::Admitted(Admitted { receipt, rooms });
        };
        let end = End {
            taken,
            ending: Ending::GivenBack,
            slots_only: false,
        };
        self.tell(end).await;
        Outcome::Refused(Refused { layer, full, rooms })
    }

    /// Ends a request: frees its slots and corrects its counts. While redis does not answer that is
    /// put off.
    pub async fn end(&self, receipt: Receipt, ending: Ending) {
        let taken = Arc::clone(receipt.taken());
        self.held().remove(&taken.member);
        self.tell(End {
            taken,
            ending,
            slots_only: false,
        })
        .await;
    }

    pub(super) async fn tell(&self, end: End) {
        if !end.matters() {
            return;
        }
        let Some((generation, connection)) = self.connection() else {
            self.owed.push(end);
            return;
        };
        let calls = end.calls(connection.is_cluster(), |key| self.stem(key));
        let limit = self.options.timeout;
        let told = self.call(generation, &connection, &END, calls, limit).await;
        if !all_well(told.as_ref()) {
            // Counts may have been corrected: only what can be done twice is.
            self.owed.push(End {
                slots_only: true,
                ..end
            });
        }
    }

    /// Runs a script; `None` after a failure of the connection, which opens the breaker.
    pub(super) async fn call(
        &self,
        generation: u64,
        connection: &Connection,
        lua: &'static Lua,
        calls: Vec<Call>,
        limit: Duration,
    ) -> Option<Answers> {
        let why = match timeout(limit, connection.run(lua, calls)).await {
            Err(_) => "timed out".to_owned(),
            Ok(answers) => match (first_failure(&answers), answers) {
                (None, Ok(answers)) => return Some(answers),
                (Some(why), Ok(answers)) => {
                    self.failed(generation, &why);
                    return Some(answers);
                }
                (why, Err(_)) => why.unwrap_or_default(),
            },
        };
        self.failed(generation, &why);
        None
    }

    /// Leaves redis alone from now on, if the connection that failed is the one in use.
    fn failed(&self, generation: u64, why: &str) {
        let mut line = self.line();
        if line.generation == generation && line.connection.take().is_some() {
            self.breaker.open(why);
            self.opened.notify_one();
        }
    }

    pub(super) fn connection(&self) -> Option<(u64, Connection)> {
        let line = self.line();
        Some((line.generation, line.connection.clone()?))
    }

    /// What the keys of a bucket begin with. A brace at its start would end the part that chooses
    /// the slot before it has begun.
    pub(super) fn stem(&self, bucket: &str) -> String {
        let (escaped, rest) = match bucket.strip_prefix('}') {
            Some(rest) => ("%7D", rest),
            None => ("", bucket),
        };
        format!("{}:{{{escaped}{rest}}}", self.prefix)
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Taken>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken<'a>(ask: &Ask, member: &str, layers: impl Iterator<Item = (&'a LayerAsk, u64)>) -> Taken {
    let layer = |(layer, at_ms): (&LayerAsk, u64)| TakenLayer {
        key: layer.key.clone(),
        limits: layer.limits,
        at_ms,
    };
    Taken {
        member: member.into(),
        tokens: ask.tokens,
        layers: layers.map(layer).collect(),
    }
}

fn all_well(answers: Option<&Answers>) -> bool {
    answers.is_some_and(|answers| answers.iter().all(Result::is_ok))
}

pub(super) fn first_failure(answers: &redis::RedisResult<Answers>) -> Option<String> {
    match answers {
        Err(error) => Some(reason(error)),
        Ok(answers) => answers
            .iter()
            .find_map(|answer| answer.as_ref().err().map(reason)),
    }
}
