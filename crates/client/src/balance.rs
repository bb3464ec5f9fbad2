//! Balancing of calls over the nodes of a cluster, without the typed calls.
//!
//! | part | does |
//! |---|---|
//! | [`Pool`] | the set of nodes: names resolved, nodes probed, one picked for each attempt |
//! | [`Lease`] | one attempt at one node: its connection, and the guard that tells how it ended |
//! | [`Pool::call`] | drives one call: picks, sends, repeats what is safe, hedges, within a deadline |
//! | [`next`] | what may follow a failed attempt, read from its [`Error`](crate::Error) |
//! | [`Outcome`] | what the end of an attempt says of its node |
//! | [`RetryBudget`] | how many attempts may be added to the calls |
//!
//! A node is picked for each attempt, whatever connections there are: of two
//! healthy nodes drawn at random the one with the lower peak-EWMA load, and of
//! two about equal ones the one that was picked longer ago. Each node is probed
//! with a `Check` of the standard health service. What a node answers to calls
//! speaks sooner: one that says that it can't serve is left alone for a moment.
//! Where no node is healthy, all are tried.
//!
//! Whoever forwards bytes, and knows no message, uses [`Pool::call`] with
//! [`tonic::client::Grpc`] on [`Attempt::connection`] and a codec that passes
//! bytes on. [`tower`]'s own balancer serves here for its budget only: its
//! choice is made when a service is ready, which a connection that is dialled
//! on demand always is, and it can't be told to go elsewhere.

mod budget;
mod call;
mod choice;
mod connection;
mod endpoint;
mod health;
mod load;
mod outcome;
mod pool;
mod probe;
mod resolve;

pub use budget::RetryBudget;
pub use call::{Attempt, Plan};
pub use connection::{Connection, ConnectionError};
pub use endpoint::{Lease, Presence};
pub use health::Health;
pub use outcome::Outcome;
pub use pool::{NodeView, Pool, Tried};
pub use resolve::Resolver;

pub use crate::retry::{Next, Repeat, next};
