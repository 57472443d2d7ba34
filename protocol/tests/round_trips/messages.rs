//! Messages of every kind, at random.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use wallaroo_protocol::{
    Batch, BatchId, BatchResult, CutError, CutResult, EventTime, Failure, ForgottenState, FromWorker, Group, InputKind,
    Load, Measured, Measurement, NodeId, OrchestratorHello, Output, OutputData, Refused, RefusedKind, RequestId, Skip,
    SnapshotFailure, SnapshotPart, StageId, StagePlan, StateEntry, Timer, Timing, ToWorker, WorkerHello, input, key,
};

pub(crate) fn to_worker() -> impl Strategy<Value = ToWorker> {
    prop_oneof![
        (text(), vec(text(), 0..3), any::<u64>()).prop_map(|(version, capabilities, max_body)| {
            ToWorker::Hello(OrchestratorHello { version, capabilities, max_body })
        }),
        (text(), vec(text(), 0..20), any::<u32>(), any::<u32>()).prop_map(|(application, args, slot, generation)| {
            ToWorker::Load(Load { application, args, slot, generation })
        }),
        vec(stage(), 0..4).prop_map(ToWorker::Plan),
        batch().prop_map(ToWorker::Batch),
        vec(entry(), 0..20).prop_map(ToWorker::Restore),
        (any::<u64>(), any::<u32>())
            .prop_map(|(request, max_keys)| ToWorker::Snapshot { request: RequestId(request), max_keys }),
        (any::<u64>(), vec(encoded_key(), 0..20))
            .prop_map(|(request, keys)| ToWorker::SnapshotKeys { request: RequestId(request), keys }),
        vec(forgotten(), 0..20).prop_map(ToWorker::Forget),
        vec(encoded_key(), 0..20).prop_map(ToWorker::DoNotSave),
        vec(encoded_key(), 0..20).prop_map(ToWorker::DoNotLoad),
        (any::<u64>(), vec(entry(), 0..20))
            .prop_map(|(request, entries)| ToWorker::TryRestore { request: RequestId(request), entries }),
        Just(ToWorker::Stop),
    ]
}

pub(crate) fn from_worker() -> impl Strategy<Value = FromWorker> {
    prop_oneof![
        worker_hello().prop_map(FromWorker::Hello),
        refused().prop_map(FromWorker::Refused),
        Just(FromWorker::Topology(Bytes::from_static(&[0x81, 0xa1, b'n', 0x92, 0x01, 0xc0]))),
        Just(FromWorker::Ready),
        result().prop_map(FromWorker::Result),
        cut_result().prop_map(FromWorker::CutResult),
        snapshot_part().prop_map(FromWorker::SnapshotPart),
        (any::<u64>(), option::of(text()))
            .prop_map(|(request, problem)| FromWorker::Tried { request: RequestId(request), problem }),
        vec(measurement(), 0..4).prop_map(FromWorker::Measured),
    ]
}

fn measurement() -> impl Strategy<Value = Measurement> {
    let number = -1e300..1e300;
    let histogram = (vec(number.clone(), 0..4), any::<u64>(), number.clone()).prop_map(|(bounds, count, sum)| {
        let counts = vec![count; bounds.len() + 1];
        Measured::Histogram { bounds, counts, sum }
    });
    let value = prop_oneof![number.clone().prop_map(Measured::Counter), number.prop_map(Measured::Gauge), histogram];
    (text(), text(), option::of(text()), value).prop_map(|(name, description, step, value)| Measurement {
        name,
        description,
        step,
        value,
    })
}

pub(crate) fn batch() -> impl Strategy<Value = Batch> {
    let skip = (any::<u32>(), any::<u32>()).prop_map(|(origin, value)| Skip { origin, value });
    let flags = (any::<bool>(), any::<bool>());
    (any::<u64>(), any::<u32>(), flags, vec(skip, 0..4), vec((any::<u32>(), time()), 0..4), batch_input()).prop_map(
        |(batch, stage, (discard, careful), skip, times, input)| Batch {
            batch: BatchId(batch),
            stage: StageId(stage),
            discard,
            careful,
            skip,
            times,
            input,
        },
    )
}

fn time() -> impl Strategy<Value = EventTime> {
    any::<i64>().prop_map(EventTime)
}

fn timing() -> impl Strategy<Value = Timing> {
    let timer = (encoded_key(), option::of(time())).prop_map(|(key, deadline)| Timer { key, deadline });
    (option::of(time()), any::<u32>(), vec(timer, 0..4)).prop_map(|(time, late, timers)| Timing { time, late, timers })
}

fn batch_input() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        vec(vec(any::<u8>(), 0..40), 0..20).prop_map(|frames| input::frames(frames.iter().map(Vec::as_slice))),
        vec(group(), 0..20).prop_map(|groups| input::groups(&groups)),
        any::<u32>().prop_map(input::generate),
        vec(any::<u8>(), 0..300).prop_map(|stream| input::cut(&stream)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn encoded_key() -> impl Strategy<Value = Bytes> {
    let part = || {
        prop_oneof![
            any::<i64>().prop_map(key::from_int),
            text().prop_map(|text| key::from_str(&text)),
            bytes().prop_map(|bytes| key::from_bytes(&bytes)),
        ]
    };
    prop_oneof![part(), vec(part(), 0..4).prop_map(|parts| key::tuple(&parts))]
}

fn group() -> impl Strategy<Value = Group> {
    let key = prop_oneof![4 => encoded_key(), 1 => Just(key::nil())];
    (key, any::<u32>(), any::<u32>(), bytes())
        .prop_map(|(key, count, codec, values)| Group::new(&key, count, codec, &values))
}

fn stage() -> impl Strategy<Value = StagePlan> {
    let input = prop::sample::select(vec![InputKind::Frames, InputKind::Generate, InputKind::Cut, InputKind::Groups]);
    let pool = prop::option::of(prop::sample::select(vec!["", "legacy", "größe"]).prop_map(str::to_owned));
    (any::<u32>(), input, any::<u32>(), vec(any::<u32>(), 0..4), pool).prop_map(
        |(stage, input, root, outlets, pool)| StagePlan {
            stage: StageId(stage),
            input,
            root: NodeId(root),
            outlets: outlets.into_iter().map(NodeId).collect(),
            pool,
        },
    )
}

/// Few tables, so that runs of one table occur.
fn table() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(vec!["", "word totals", "größe"]).prop_map(Arc::from)
}

fn entry() -> impl Strategy<Value = StateEntry> {
    (table(), encoded_key(), bytes()).prop_map(|(table, key, state)| StateEntry { table, key, state })
}

fn forgotten() -> impl Strategy<Value = ForgottenState> {
    (table(), encoded_key()).prop_map(|(table, key)| ForgottenState { table, key })
}

fn worker_hello() -> impl Strategy<Value = WorkerHello> {
    (text(), vec(text(), 0..3), text(), text(), text(), any::<u32>(), any::<u32>()).prop_map(
        |(version, capabilities, implementation, python, executable, pid, pickle_protocol)| WorkerHello {
            version,
            capabilities,
            implementation,
            python,
            executable,
            pid,
            pickle_protocol,
        },
    )
}

fn refused() -> impl Strategy<Value = Refused> {
    let kind = prop::sample::select(vec![
        RefusedKind::Protocol,
        RefusedKind::Import,
        RefusedKind::Setup,
        RefusedKind::Topology,
    ]);
    (kind, text(), option::of(text()), option::of(text())).prop_map(|(kind, message, hint, traceback)| Refused {
        kind,
        message,
        hint,
        traceback,
    })
}

fn output() -> impl Strategy<Value = Output> {
    let data = prop_oneof![
        vec(group(), 0..20).prop_map(OutputData::Groups),
        vec(vec(any::<u8>(), 0..40), 0..20).prop_map(|messages| OutputData::Messages(messages.iter().collect())),
    ];
    (any::<u32>(), data).prop_map(|(outlet, data)| Output { outlet: NodeId(outlet), data })
}

fn failure() -> impl Strategy<Value = Failure> {
    let texts = (text(), text(), text(), text());
    (any::<u32>(), any::<u32>(), option::of(encoded_key()), texts, bytes(), any::<u32>()).prop_map(
        |(node, origin, key, (exception, message, traceback, value), payload, codec)| Failure {
            node: NodeId(node),
            origin,
            key,
            exception,
            message,
            traceback,
            value,
            payload,
            codec,
        },
    )
}

fn result() -> impl Strategy<Value = BatchResult> {
    let flags = (any::<bool>(), option::of(any::<u64>()));
    (
        any::<u64>(),
        flags,
        any::<u64>(),
        vec(output(), 0..4),
        vec(failure(), 0..4),
        option::of(timing()),
        option::of(any::<u32>()),
    )
        .prop_map(|(batch, (more, ended), elapsed, outputs, failures, timing, slow)| BatchResult {
            batch: BatchId(batch),
            more,
            elapsed: Duration::from_nanos(elapsed),
            outputs,
            failures,
            ended,
            timing,
            slow,
        })
}

/// Frames made from distances, so that they ascend.
fn cut_result() -> impl Strategy<Value = CutResult> {
    let error =
        (text(), text(), text()).prop_map(|(exception, message, traceback)| CutError { exception, message, traceback });
    let distances = vec((0..300_u32, 0..70_000_u32), 0..20);
    (any::<u64>(), any::<u64>(), distances, 0..300_u32, any::<u32>(), option::of(error)).prop_map(
        |(batch, elapsed, distances, rest, need, error)| {
            let mut at = 0;
            let frames = distances
                .into_iter()
                .map(|(gap, length)| {
                    let start = at + gap;
                    at = start + length;
                    (start, at)
                })
                .collect();
            let elapsed = Duration::from_nanos(elapsed);
            CutResult { batch: BatchId(batch), elapsed, frames, consumed: at + rest, need, error }
        },
    )
}

fn snapshot_part() -> impl Strategy<Value = SnapshotPart> {
    let failure =
        (table(), encoded_key(), text()).prop_map(|(table, key, message)| SnapshotFailure { table, key, message });
    (any::<u64>(), any::<bool>(), vec(entry(), 0..20), vec(failure, 0..4), option::of(any::<u64>())).prop_map(
        |(request, more, entries, failures, oldest_dirty)| SnapshotPart {
            request: RequestId(request),
            more,
            entries,
            failures,
            oldest_dirty: oldest_dirty.map(BatchId),
        },
    )
}
