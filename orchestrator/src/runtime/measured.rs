//! What the application's own metrics have measured in all workers since the run began.

use std::collections::BTreeMap;

use wallaroo_protocol::{Measured, Measurement};

use crate::control::report::{GaugeReport, MetricReport, MetricValue};
use crate::ids::SlotId;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Measurements {
    /// By name and step.
    totals: BTreeMap<(String, Option<String>), Total>,
}

#[derive(Debug)]
struct Total {
    description: String,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Counter(f64),
    /// Each slot has its own.
    Gauge(BTreeMap<SlotId, f64>),
    Histogram {
        bounds: Vec<f64>,
        counts: Vec<u64>,
        sum: f64,
    },
}

impl Measurements {
    /// Takes in what the worker in a slot has measured.
    pub(super) fn add(&mut self, slot: SlotId, measurements: Vec<Measurement>) {
        for Measurement { name, description, step, value } in measurements {
            let total = self.totals.entry((name, step)).or_insert_with(|| Total { description, value: begun(&value) });
            add(&mut total.value, slot, value);
        }
    }

    /// All totals, by name and step.
    pub(super) fn report(&self, pool_name: impl Fn(SlotId) -> Option<String>) -> Vec<MetricReport> {
        let report = |((name, step), total): (&(String, Option<String>), &Total)| MetricReport {
            name: name.clone(),
            description: total.description.clone(),
            step: step.clone(),
            value: match &total.value {
                Value::Counter(value) => MetricValue::Counter { value: *value },
                Value::Gauge(slots) => {
                    let slot = |(slot, value): (&SlotId, &f64)| GaugeReport {
                        slot: slot.number,
                        pool: pool_name(*slot),
                        value: *value,
                    };
                    MetricValue::Gauge { slots: slots.iter().map(slot).collect() }
                }
                Value::Histogram { bounds, counts, sum } => {
                    MetricValue::Histogram { bounds: bounds.clone(), counts: counts.clone(), sum: *sum }
                }
            },
        };
        self.totals.iter().map(report).collect()
    }
}

/// The total before anything was measured.
fn begun(value: &Measured) -> Value {
    match value {
        Measured::Counter(_) => Value::Counter(0.0),
        Measured::Gauge(_) => Value::Gauge(BTreeMap::new()),
        Measured::Histogram { bounds, counts, .. } => {
            Value::Histogram { bounds: bounds.clone(), counts: vec![0; counts.len()], sum: 0.0 }
        }
    }
}

fn add(total: &mut Value, slot: SlotId, value: Measured) {
    match (total, value) {
        (Value::Counter(total), Measured::Counter(more)) => *total += more,
        (Value::Gauge(slots), Measured::Gauge(now)) => drop(slots.insert(slot, now)),
        (
            Value::Histogram { bounds, counts, sum },
            Measured::Histogram { bounds: measured, counts: more, sum: more_sum },
        ) if *bounds == measured => {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            *sum += more_sum;
        }
        // Newer code has another metric of that name.
        (total, value) => {
            *total = begun(&value);
            add(total, slot, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: Measured) -> Vec<Measurement> {
        vec![Measurement { name: "tea".to_owned(), description: String::new(), step: None, value }]
    }

    #[test]
    fn workers_add_up_and_newer_code_begins_anew() {
        let mut measurements = Measurements::default();
        let (first, second) = (SlotId::main(0), SlotId::main(1));
        for slot in [first, second] {
            measurements.add(slot, measured(Measured::Counter(2.0)));
        }
        let value = |measurements: &Measurements| format!("{:?}", measurements.report(|_| None)[0].value);
        assert_eq!(value(&measurements), "Counter { value: 4.0 }");
        for counts in [vec![1, 0], vec![2, 5]] {
            measurements.add(first, measured(Measured::Histogram { bounds: vec![0.5], counts, sum: 7.5 }));
        }
        assert_eq!(value(&measurements), "Histogram { bounds: [0.5], counts: [3, 5], sum: 15.0 }");
        for (slot, value) in [(second, 3.0), (first, 1.0), (first, 2.0)] {
            measurements.add(slot, measured(Measured::Gauge(value)));
        }
        let MetricValue::Gauge { slots } = &measurements.report(|_| None)[0].value else { panic!("it is a gauge") };
        assert_eq!(slots.iter().map(|gauge| (gauge.slot, gauge.value)).collect::<Vec<_>>(), [(0, 2.0), (1, 3.0)]);
    }
}
