//! Limits, counted in this process or shared between nodes in Redis, with the same arithmetic.
//!
//! The arithmetic is that of [`voxgate_policy::limits`]; in Redis it runs as a script, so that nodes which ask at once
//! are answered one after the other.

pub mod desk;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Script;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use thiserror::Error;
use voxgate_policy::limits::{Counter, Demand, LARGEST_AMOUNT, Limiter, Place, Reached};

/// What keys in Redis begin with. The braces keep them on one node of a cluster, where a script needs them.
const PREFIX: &str = "{voxgate}:limits:";

/// Longest wait for an answer of Redis: a caller waits for it before the call begins.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why something may not be used.
#[derive(Debug, Error)]
pub enum LimitRefusal {
    /// A limit is reached.
    #[error(transparent)]
    Reached(#[from] Reached),
    /// Redis cannot be asked.
    #[error("the counters shared between nodes are away: {0}")]
    Away(#[from] redis::RedisError),
}

/// Where limits are counted.
pub enum SharedLimits {
    /// In this process, for one node.
    Here(Mutex<Limiter>),
    /// In Redis, for all nodes.
    Redis(RedisLimits),
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "SharedLimits::Here",
            Self::Redis(_) => "SharedLimits::Redis",
        })
    }
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self::Here(Mutex::default())
    }
}

impl SharedLimits {
    /// Uses all of it, or nothing. `now_us`: microseconds since 1970.
    ///
    /// # Errors
    /// [`LimitRefusal`].
    pub async fn take(&self, now_us: u64, demands: &[Demand]) -> Result<(), LimitRefusal> {
        match self {
            Self::Here(limiter) => Ok(lock(limiter).take(now_us, demands)?),
            Self::Redis(redis) => redis.take(now_us, demands, false).await,
        }
    }

    /// Notes what was used already.
    ///
    /// # Errors
    /// [`LimitRefusal::Away`].
    pub async fn charge(&self, now_us: u64, demands: &[Demand]) -> Result<(), LimitRefusal> {
        match self {
            Self::Here(limiter) => {
                lock(limiter).charge(now_us, demands);
                Ok(())
            }
            Self::Redis(redis) => redis.take(now_us, demands, true).await,
        }
    }

    /// Takes a place of each, or none, until the lease ends.
    ///
    /// # Errors
    /// [`LimitRefusal`].
    pub async fn hold(
        &self,
        now_us: u64,
        session: &str,
        places: &[Place],
        lease: Duration,
    ) -> Result<(), LimitRefusal> {
        match self {
            Self::Here(limiter) => Ok(lock(limiter).hold(now_us, session, places, lease)?),
            Self::Redis(redis) => redis.hold(now_us, session, places, lease, false).await,
        }
    }

    /// Renews the places of a running session, whether or not there is room.
    ///
    /// # Errors
    /// [`LimitRefusal::Away`]: the session goes on, and tries again.
    pub async fn renew(
        &self,
        now_us: u64,
        session: &str,
        places: &[Place],
        lease: Duration,
    ) -> Result<(), LimitRefusal> {
        match self {
            Self::Here(limiter) => {
                lock(limiter).renew(now_us, session, places, lease);
                Ok(())
            }
            Self::Redis(redis) => redis.hold(now_us, session, places, lease, true).await,
        }
    }

    /// Gives places back.
    ///
    /// # Errors
    /// [`LimitRefusal::Away`]: the lease ends by itself.
    pub async fn release(&self, session: &str, places: &[Place]) -> Result<(), LimitRefusal> {
        match self {
            Self::Here(limiter) => {
                lock(limiter).release(session, places);
                Ok(())
            }
            Self::Redis(redis) => redis.release(session, places).await,
        }
    }

    /// Sessions that hold a place.
    ///
    /// # Errors
    /// [`LimitRefusal::Away`].
    pub async fn held(&self, now_us: u64, counter: &str) -> Result<u64, LimitRefusal> {
        match self {
            Self::Here(limiter) => Ok(lock(limiter).held(now_us, counter)),
            Self::Redis(redis) => redis.held(now_us, counter).await,
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic between two counters leaves each of them whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counters in Redis.
pub struct RedisLimits {
    connection: ConnectionManager,
    take: Script,
    hold: Script,
}

impl fmt::Debug for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLimits(..)")
    }
}

impl RedisLimits {
    /// Names a server by its `redis://` URL. It is connected to when it is first asked, and again whenever it was away.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn new(url: &str) -> Result<Self, redis::RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?;
        let (take, hold) = (Script::new(include_str!("limits/take.lua")), include_str!("limits/hold.lua"));
        Ok(Self { connection, take, hold: Script::new(hold) })
    }

    async fn take(&self, now_us: u64, demands: &[Demand], is_used: bool) -> Result<(), LimitRefusal> {
        let mut call = self.take.prepare_invoke();
        call.arg(now_us).arg(u8::from(is_used));
        for Demand { counter, rate, amount } in demands {
            // More is as much as never fits, and the numbers stay within the script's.
            let amount =
                if is_used { *amount.min(&LARGEST_AMOUNT) } else { *amount.min(&(LARGEST_AMOUNT + 1)) };
            call.key(named(counter)).arg(rate.amount()).arg(rate.window_us()).arg(amount);
        }
        let answer: Vec<i64> = call.invoke_async(&mut self.connection.clone()).await?;
        match answer.as_slice() {
            [place, wait_us, ..] => {
                let counter = nth(demands.iter().map(|demand| &demand.counter), *place);
                let retry_after = u64::try_from(*wait_us).ok().map(Duration::from_micros);
                Err(Reached { counter, retry_after }.into())
            }
            _ => Ok(()),
        }
    }

    async fn hold(
        &self,
        now_us: u64,
        session: &str,
        places: &[Place],
        lease: Duration,
        renews: bool,
    ) -> Result<(), LimitRefusal> {
        let ends_us = now_us.saturating_add(lease.as_micros() as u64);
        let mut call = self.hold.prepare_invoke();
        call.arg(now_us)
            .arg(session)
            .arg(ends_us)
            .arg(u8::from(renews))
            .arg(lease.as_millis() as u64 + 1_000);
        for Place { counter, most } in places {
            call.key(named(counter)).arg(*most);
        }
        match call.invoke_async::<i64>(&mut self.connection.clone()).await? {
            0 => Ok(()),
            place => {
                let counter = nth(places.iter().map(|place| &place.counter), place);
                Err(Reached { counter, retry_after: None }.into())
            }
        }
    }

    async fn release(&self, session: &str, places: &[Place]) -> Result<(), LimitRefusal> {
        let mut pipeline = redis::pipe();
        for place in places {
            pipeline.zrem(named(&place.counter), session).ignore();
        }
        let () = pipeline.query_async(&mut self.connection.clone()).await?;
        Ok(())
    }

    async fn held(&self, now_us: u64, counter: &str) -> Result<u64, LimitRefusal> {
        let mut count = redis::cmd("ZCOUNT");
        count.arg(named(counter)).arg(format!("({now_us}")).arg("+inf");
        Ok(count.query_async(&mut self.connection.clone()).await?)
    }
}

fn named(counter: &str) -> String {
    format!("{PREFIX}{counter}")
}

/// The counter a script names by its place, the first being 1.
fn nth<'a>(mut counters: impl Iterator<Item = &'a Counter>, place: i64) -> Counter {
    let index = usize::try_from(place - 1).unwrap_or(0);
    counters.nth(index).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
