//! The application's own metrics in the text format of Prometheus. Their buckets are filled already, which no recorder takes.

use std::fmt::Write;

use super::report::{MetricReport, MetricValue};

/// The lines of metrics that are sorted by name.
pub(super) fn text(metrics: &[MetricReport]) -> String {
    let mut text = String::new();
    let mut last = None;
    for metric in metrics {
        if last.replace(&metric.name) != Some(&metric.name) {
            let kind = match metric.value {
                MetricValue::Counter { .. } => "counter",
                MetricValue::Gauge { .. } => "gauge",
                MetricValue::Histogram { .. } => "histogram",
            };
            let description = metric.description.replace('\\', r"\\").replace('\n', r"\n");
            // A String takes everything.
            let _ = writeln!(text, "# HELP {0} {description}\n# TYPE {0} {kind}", metric.name);
        }
        append(metric, &mut text);
    }
    text
}

fn append(metric: &MetricReport, text: &mut String) {
    let step = || metric.step.as_ref().map(|step| ("step", step.clone()));
    let mut line = |suffix: &str, more: Vec<(&'static str, String)>, value: String| {
        let labels: Vec<String> = step().into_iter().chain(more).map(|(name, value)| label(name, &value)).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{}{suffix}{labels} {value}", metric.name);
    };
    match &metric.value {
        MetricValue::Counter { value } => line("", Vec::new(), number(*value)),
        MetricValue::Gauge { slots } => {
            for gauge in slots {
                let pool = gauge.pool.iter().map(|pool| ("pool", pool.clone()));
                line("", [("slot", gauge.slot.to_string())].into_iter().chain(pool).collect(), number(gauge.value));
            }
        }
        MetricValue::Histogram { bounds, counts, sum } => {
            let mut below = 0;
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            for (bound, count) in bounds.zip(counts) {
                below += count;
                line("_bucket", vec![("le", number(bound))], below.to_string());
            }
            line("_sum", Vec::new(), number(*sum));
            line("_count", Vec::new(), below.to_string());
        }
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{name}=\"{value}\"")
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::GaugeReport;

    #[test]
    fn names_are_described_once_and_buckets_add_up() {
        let metric = |name: &str, step: Option<&str>, value| MetricReport {
            name: name.to_owned(),
            description: "Of \\ tea\nand cups".to_owned(),
            step: step.map(str::to_owned),
            value,
        };
        let gauge = |slot, pool: Option<&str>, value| GaugeReport { slot, pool: pool.map(str::to_owned), value };
        let histogram = MetricValue::Histogram { bounds: vec![0.5, 1.0], counts: vec![2, 0, 1], sum: 7.25 };
        let metrics = [
            metric("cups", None, MetricValue::Gauge { slots: vec![gauge(0, None, 1.0), gauge(0, Some("p"), -2.5)] }),
            metric("pots_total", Some("a \"b\""), MetricValue::Counter { value: 3.0 }),
            metric("pots_total", Some("c"), MetricValue::Counter { value: 4.5 }),
            metric("size", None, histogram),
        ];
        let expected = r#"# HELP cups Of \\ tea\nand cups
# TYPE cups gauge
cups{slot="0"} 1
cups{slot="0",pool="p"} -2.5
# HELP pots_total Of \\ tea\nand cups
# TYPE pots_total counter
pots_total{step="a \"b\""} 3
pots_total{step="c"} 4.5
# HELP size Of \\ tea\nand cups
# TYPE size histogram
size_bucket{le="0.5"} 2
size_bucket{le="1"} 2
size_bucket{le="+Inf"} 3
size_sum 7.25
size_count 3
"#;
        assert_eq!(text(&metrics), expected);
    }
}
