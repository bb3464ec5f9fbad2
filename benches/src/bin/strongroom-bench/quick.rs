//! The ratios of the design's section 10, in two minutes.

use std::{env, time::Duration};

use clap::Args;
use strongroom_benches::origin::Origin;

use crate::{
    measured::Report,
    section_ten::{self, Slices},
};

#[derive(Args)]
pub(crate) struct Quick {
    /// Seconds for all of it
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    seconds: u64,
    #[command(flatten)]
    slices: Slices,
}

impl Quick {
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        let mut report = Report::new(Origin::find(&env::temp_dir()));
        section_ten::measure(&mut report, &self.slices, Duration::from_secs(self.seconds)).await?;
        Ok(report)
    }
}
