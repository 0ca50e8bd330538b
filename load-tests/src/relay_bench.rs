//! The relay's speed, beside what others run and beside what the kernel allows.
//!
//! Every contender ([`contender`]) runs in a process of its own on one core; the generator ([`generator`]) plays clients
//! and what stands behind the relay on another, sends whether or not anything comes back, and counts what was delivered.
//! All take their turns in every round ([`run`]). `relay_bench/method.md` says what each figure means and goes into every
//! record ([`record`]).

pub mod batch;
pub mod child;
pub mod contender;
pub mod generator;
pub mod link;
pub mod memory;
pub mod node;
pub mod payload;
pub mod picture;
pub mod processor;
pub mod record;
pub mod run;
pub mod sample;
pub mod serve;
pub mod sockets;
pub mod summary;
