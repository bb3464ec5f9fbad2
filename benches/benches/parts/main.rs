//! Parts of the daemon by themselves: what a call costs beside connections,
//! consensus and disk. `cargo bench --workspace --profile dev`; a part by its
//! name behind `--`.

#![allow(clippy::disallowed_methods, reason = "measures time")]

mod apply;
mod blob;
mod context;
mod ledger;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    blob::measure(&mut criterion);
    context::measure(&mut criterion);
    ledger::measure(&mut criterion);
    apply::measure(&mut criterion);
    criterion.final_summary();
}
