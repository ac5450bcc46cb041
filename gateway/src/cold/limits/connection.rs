//! One connection to redis, whichever way its servers are arranged. [cold]

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd};
use tokio::task::JoinSet;

use super::script::{Call, Lua};

/// Cloned freely; what is asked through the clones is pipelined.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// An answer to each call, in their order.
pub(super) type Answers = Vec<RedisResult<Value>>;

impl Connection {
    /// Whether buckets live on different servers.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs `lua` once per call: in one round trip, or in a cluster in one each, all at once. A
    /// script that redis does not know yet is sent in full, in a second round trip.
    pub(super) async fn run(&self, lua: &'static Lua, calls: Vec<Call>) -> RedisResult<Answers> {
        match self {
            Self::One(connection) => pipelined(connection.clone(), lua, &calls).await,
            Self::Cluster(connection) => Ok(side_by_side(connection, lua, calls).await),
        }
    }

    /// Whether writing works.
    pub(super) async fn probe(&mut self, key: &str) -> RedisResult<()> {
        let mut command = cmd("SET");
        command.arg(key).arg(1).arg("EX").arg(5);
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Whether the server is the master of its replicas.
    pub(super) async fn is_master(&mut self) -> RedisResult<bool> {
        let Self::One(connection) = self else {
            return Ok(true);
        };
        let role: Vec<Value> = cmd("ROLE").query_async(connection).await?;
        Ok(matches!(role.first(), Some(Value::BulkString(name)) if name == b"master"))
    }
}

async fn pipelined(
    mut connection: MultiplexedConnection,
    lua: &'static Lua,
    calls: &[Call],
) -> RedisResult<Answers> {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for call in calls {
        pipeline.add_command(by_hash(lua, call));
    }
    let mut answers: Answers = pipeline
        .ignore_errors()
        .query_async(&mut connection)
        .await?;
    let unknown: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter_map(|(at, answer)| is_unknown(answer).then_some(at))
        .collect();
    if unknown.is_empty() {
        return Ok(answers);
    }
    let mut pipeline = Pipeline::with_capacity(unknown.len());
    for call in unknown.iter().filter_map(|at| calls.get(*at)) {
        pipeline.add_command(in_full(lua, call));
    }
    let second: Answers = pipeline
        .ignore_errors()
        .query_async(&mut connection)
        .await?;
    for (at, answer) in unknown.into_iter().zip(second) {
        if let Some(place) = answers.get_mut(at) {
            *place = answer;
        }
    }
    Ok(answers)
}

async fn side_by_side(
    connection: &ClusterConnection,
    lua: &'static Lua,
    calls: Vec<Call>,
) -> Answers {
    let mut tasks = JoinSet::new();
    let lost = || RedisError::from((ErrorKind::Client, "no answer"));
    let mut answers: Answers = calls.iter().map(|_| Err(lost())).collect();
    for (at, call) in calls.into_iter().enumerate() {
        let mut connection = connection.clone();
        tasks.spawn(async move {
            let mut answer = by_hash(lua, &call).query_async(&mut connection).await;
            if is_unknown(&answer) {
                answer = in_full(lua, &call).query_async(&mut connection).await;
            }
            (at, answer)
        });
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok((at, answer)) = done
            && let Some(place) = answers.get_mut(at)
        {
            *place = answer;
        }
    }
    answers
}

fn by_hash(lua: &Lua, call: &Call) -> Cmd {
    arguments(cmd("EVALSHA"), &lua.hash, call)
}

fn in_full(lua: &Lua, call: &Call) -> Cmd {
    arguments(cmd("EVAL"), lua.text, call)
}

fn arguments(mut command: Cmd, script: &str, call: &Call) -> Cmd {
    command.arg(script).arg(call.keys.len());
    command.arg(&call.keys).arg(&call.args);
    command
}

fn is_unknown(answer: &RedisResult<Value>) -> bool {
    let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
    matches!(answer, Err(error) if error.kind() == no_script)
}

/// What went wrong, without what was asked and where.
pub(super) fn reason(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}
