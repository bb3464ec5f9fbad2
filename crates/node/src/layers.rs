//! What every call passes on its way in and out.
//!
//! In this order: bounds on calls and bytes before any work, the request id, the
//! deadline (of receiving the request, too), metrics and the trace; on the way
//! out, statuses that the transport library made by itself are put into the
//! product's own terms, and large answers are counted until they are read.

mod body;
mod bounds;
mod call;
mod status;

pub(crate) use call::{CallInfo, CallLayer, Deadline};
