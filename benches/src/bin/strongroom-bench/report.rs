//! Figures with their names and units, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};

/// Figures in the order in which they are shown.
#[derive(Default)]
pub(crate) struct Figures(Vec<(String, Value, &'static str)>);

impl Figures {
    /// A figure; its unit is the end of its name in JSON.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: impl Into<Value>,
        unit: &'static str,
    ) {
        self.0.push((name.into(), value.into(), unit));
    }

    /// A figure with some digits after the point.
    pub(crate) fn round(
        &mut self,
        name: impl Into<String>,
        value: f64,
        digits: i32,
        unit: &'static str,
    ) {
        let scale = 10f64.powi(digits);
        self.add(name, (value * scale).round() / scale, unit);
    }

    /// A time in milliseconds.
    pub(crate) fn ms(&mut self, name: impl Into<String>, time: Duration) {
        self.round(name, time.as_secs_f64() * 1000.0, 1, "ms");
    }

    /// Bytes, shown in MiB.
    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
    pub(crate) fn mib(&mut self, name: impl Into<String>, bytes: u64) {
        self.round(name, bytes as f64 / f64::from(1 << 20), 1, "MiB");
    }

    /// All of them as one object.
    pub(crate) fn to_json(&self) -> Value {
        let figures: Map<_, _> = self
            .0
            .iter()
            .map(|(name, value, unit)| (name.clone(), json!({ "value": value, "unit": unit })))
            .collect();
        Value::Object(figures)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value, unit) in &self.0 {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            writeln!(f, "{name:<44} {value:>14} {unit}")?;
        }
        Ok(())
    }
}
