//! What metrics of the application have measured in a worker.

use crate::{ProtocolError, reader::Reader, writer::Writer};

/// What one metric has measured since the worker last said so.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The metric's name, as Prometheus wants it.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The step in which it was measured, if it was in one.
    pub step: Option<String>,
    /// What was measured.
    pub value: Measured,
}

/// What was measured, by the kind of the metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// By how much it has grown.
    Counter(f64),
    /// What it is now.
    Gauge(f64),
    /// Values that were observed.
    Histogram {
        /// The greatest value of each bucket but the last, rising.
        bounds: Vec<f64>,
        /// How many values were in each bucket: one more than bounds.
        counts: Vec<u64>,
        /// The sum of the values.
        sum: f64,
    },
}

/// Elements of a measurement in a flat array.
const FIELDS: usize = 7;

impl Measurement {
    pub(crate) fn read_all(reader: &mut Reader) -> Result<Vec<Self>, ProtocolError> {
        let count = reader.records(FIELDS, "measurements")?;
        (0..count).map(|_| Self::read(reader)).collect()
    }

    fn read(reader: &mut Reader) -> Result<Self, ProtocolError> {
        let (name, description) = (reader.string("name")?, reader.string("description")?);
        let step = reader.optional_string("step")?;
        let kind = reader.string("kind")?;
        let number = reader.float("number")?;
        let bounds = reader.array("bounds")?;
        let bounds: Vec<f64> = (0..bounds).map(|_| reader.float("bounds")).collect::<Result<_, _>>()?;
        let counts = reader.array("counts")?;
        let counts: Vec<u64> = (0..counts).map(|_| reader.uint("counts")).collect::<Result<_, _>>()?;
        let value = match kind.as_str() {
            "counter" => Measured::Counter(number),
            "gauge" => Measured::Gauge(number),
            "histogram" if counts.len() == bounds.len() + 1 => Measured::Histogram { bounds, counts, sum: number },
            _ => {
                return Err(ProtocolError::UnknownWord {
                    message: "measured",
                    field: "kind",
                    expected: "counter, gauge, histogram with a count more than bounds",
                    found: kind,
                });
            }
        };
        Ok(Self { name, description, step, value })
    }

    pub(crate) fn write_all(measurements: &[Self], writer: &mut Writer) {
        writer.array(measurements.len() * FIELDS);
        for Self { name, description, step, value } in measurements {
            writer.str(name);
            writer.str(description);
            writer.optional_str(step.as_deref());
            let (kind, number, bounds, counts): (_, _, &[f64], &[u64]) = match value {
                Measured::Counter(number) => ("counter", *number, &[], &[]),
                Measured::Gauge(number) => ("gauge", *number, &[], &[]),
                Measured::Histogram { bounds, counts, sum } => ("histogram", *sum, bounds, counts),
            };
            writer.str(kind);
            writer.float(number);
            writer.array(bounds.len());
            for bound in bounds {
                writer.float(*bound);
            }
            writer.array(counts.len());
            for count in counts {
                writer.uint(*count);
            }
        }
    }
}
