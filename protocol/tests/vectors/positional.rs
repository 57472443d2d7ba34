//! Decoded messages as the positional arrays they came from, in the vectors' JSON.

use serde_json::{Value, json};
use wallaroo_protocol::{
    Batch, CutResult, Failure, FromWorker, Group, Measured, Measurement, Output, OutputData, SnapshotPart, StagePlan,
    StateEntry, Timing, ToWorker,
};

use crate::neutral;

const PROTOCOL: u32 = 1;

pub(crate) fn to_worker(message: &ToWorker) -> Value {
    match message {
        ToWorker::Hello(hello) => json!([1, PROTOCOL, hello.version, hello.capabilities, hello.max_body]),
        ToWorker::Load(load) => json!([2, load.application, load.args, load.slot, load.generation]),
        ToWorker::Plan(stages) => {
            let stage =
                |stage: &StagePlan| json!([stage.stage, stage.input.as_str(), stage.root, stage.outlets, stage.pool]);
            json!([3, stages.iter().map(stage).collect::<Vec<_>>()])
        }
        ToWorker::Batch(Batch { batch, stage, discard, careful, skip, times, input }) => {
            let flags = u8::from(*discard) + 2 * u8::from(*careful);
            let skip = skip.iter().flat_map(|skip| [skip.origin, skip.value]).collect::<Vec<_>>();
            let times = times.iter().flat_map(|(count, time)| [json!(count), json!(time)]).collect::<Vec<_>>();
            json!([4, batch, stage, flags, skip, times, neutral::value(input)])
        }
        ToWorker::Restore(state) => json!([5, entries(state)]),
        ToWorker::Snapshot { request, max_keys } => json!([6, request, max_keys]),
        ToWorker::Stop => json!([8]),
        ToWorker::SnapshotKeys { request, keys } => {
            json!([9, request, keys.iter().map(|key| neutral::value(key)).collect::<Vec<_>>()])
        }
        ToWorker::Forget(states) => {
            let states = states.iter().flat_map(|state| [json!(*state.table), neutral::value(&state.key)]);
            json!([10, states.collect::<Vec<_>>()])
        }
        ToWorker::DoNotSave(keys) => {
            json!([12, keys.iter().map(|key| neutral::value(key)).collect::<Vec<_>>()])
        }
        ToWorker::DoNotLoad(keys) => {
            json!([13, keys.iter().map(|key| neutral::value(key)).collect::<Vec<_>>()])
        }
        ToWorker::TryRestore { request, entries: state } => json!([11, request, entries(state)]),
    }
}

pub(crate) fn from_worker(message: &FromWorker) -> Value {
    match message {
        FromWorker::Hello(hello) => json!([
            33,
            PROTOCOL,
            hello.version,
            hello.capabilities,
            hello.implementation,
            hello.python,
            hello.executable,
            hello.pid,
            hello.pickle_protocol
        ]),
        FromWorker::Refused(refused) => {
            json!([34, refused.kind.as_str(), refused.message, refused.hint, refused.traceback])
        }
        FromWorker::Topology(map) => json!([35, neutral::value(map)]),
        FromWorker::Ready => json!([36]),
        FromWorker::Result(result) => json!([
            37,
            result.batch,
            result.more,
            result.elapsed.as_nanos() as u64,
            result.outputs.iter().flat_map(output).collect::<Vec<_>>(),
            result.failures.iter().map(failure).collect::<Vec<_>>(),
            result.ended.map_or(json!(false), |values| json!(values)),
            result.timing.as_ref().map(timing),
            result.slow
        ]),
        FromWorker::CutResult(result) => cut_result(result),
        FromWorker::SnapshotPart(part) => snapshot_part(part),
        FromWorker::Tried { request, problem } => json!([40, request, problem]),
        FromWorker::Measured(measurements) => {
            json!([41, measurements.iter().flat_map(measurement).collect::<Vec<_>>()])
        }
    }
}

fn measurement(measurement: &Measurement) -> [Value; 7] {
    let Measurement { name, description, step, value } = measurement;
    let (kind, number, bounds, counts) = match value {
        Measured::Counter(number) => ("counter", number, Vec::new(), Vec::new()),
        Measured::Gauge(number) => ("gauge", number, Vec::new(), Vec::new()),
        Measured::Histogram { bounds, counts, sum } => ("histogram", sum, bounds.clone(), counts.clone()),
    };
    [json!(name), json!(description), json!(step), json!(kind), json!(number), json!(bounds), json!(counts)]
}

fn timing(timing: &Timing) -> Value {
    let timers = timing.timers.iter().flat_map(|timer| [neutral::value(&timer.key), json!(timer.deadline)]);
    json!([timing.time, timing.late, timers.collect::<Vec<_>>()])
}

fn output(output: &Output) -> [Value; 3] {
    let (kind, data) = match &output.data {
        OutputData::Groups(groups) => (0, groups.iter().flat_map(group).collect::<Vec<_>>()),
        OutputData::Messages(messages) => (1, messages.iter().map(neutral::bytes).collect()),
    };
    [json!(output.outlet), json!(kind), json!(data)]
}

fn group(group: &Group) -> [Value; 4] {
    assert_eq!(group.key(), group.key_bytes());
    [neutral::value(group.key()), json!(group.count), json!(group.codec()), neutral::bytes(&group.values())]
}

fn failure(failure: &Failure) -> Value {
    json!([
        failure.node,
        failure.origin,
        failure.key.as_deref().map(neutral::value),
        failure.exception,
        failure.message,
        failure.traceback,
        failure.value,
        neutral::bytes(&failure.payload),
        failure.codec
    ])
}

fn cut_result(result: &CutResult) -> Value {
    let frames = result.frames.iter().flat_map(|(start, end)| [*start, *end]).collect::<Vec<_>>();
    let error = result.error.as_ref().map(|error| json!([error.exception, error.message, error.traceback]));
    json!([38, result.batch, result.elapsed.as_nanos() as u64, frames, result.consumed, result.need, error])
}

fn snapshot_part(part: &SnapshotPart) -> Value {
    let failures = part
        .failures
        .iter()
        .flat_map(|failure| [json!(failure.table.as_ref()), neutral::value(&failure.key), json!(failure.message)]);
    json!([39, part.request, part.more, entries(&part.entries), failures.collect::<Vec<_>>(), part.oldest_dirty])
}

fn entries(entries: &[StateEntry]) -> Value {
    let flat = entries
        .iter()
        .flat_map(|entry| [json!(entry.table.as_ref()), neutral::value(&entry.key), neutral::bytes(&entry.state)]);
    flat.collect::<Vec<_>>().into()
}
