//! How simulated values, groups and messages are written.

use bytes::Bytes;
use wallaroo_orch::plan::Stage;
use wallaroo_protocol::topology::NodeKind;
use wallaroo_protocol::{Group, Messages, NodeId};

use super::run::Moving;
use crate::pooled::only_source;
use crate::scenario::Scenario;
use crate::windows::Fired;

/// Encodings of groups, as the specification numbers them.
const TIMES: u32 = 16;
const WATERMARKS: u32 = 32;
/// Values in a group that crosses into another pool, at most.
const PIECE: usize = 3;

/// A message as the sink sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) count: u64,
    pub(crate) value: u64,
    pub(crate) key: u64,
}

impl Seen {
    pub(crate) const BYTES: usize = 24;

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value.to_le_bytes());
        bytes[16..].copy_from_slice(&self.key.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self { count: number(0), value: number(8), key: number(16) }
    }
}

pub(crate) fn encode_values(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The values of a frame or a group; bytes that do not fill a value are padding.
pub(crate) fn decode_values(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes"))).collect()
}

/// The values of a group, with the time of each and the watermark before it.
pub(super) fn timed_values(group: &Group, routed_at: Option<i64>) -> Vec<(u64, i64, i64)> {
    let (codec, all) = (group.codec(), group.values());
    let values = decode_values(&group.untimed().1);
    let column = |index: usize| decode_values(&all[index * 8 * values.len()..(index + 1) * 8 * values.len()]);
    let times = if codec & TIMES == 0 { vec![0; values.len()] } else { column(0) };
    let watermarks = if codec & WATERMARKS == 0 { vec![i64::MIN as u64; values.len()] } else { column(1) };
    let routed_at = routed_at.unwrap_or(i64::MIN);
    let row = |index: usize| (values[index], times[index] as i64, routed_at.max(watermarks[index] as i64));
    (0..values.len()).map(row).collect()
}

/// The groups of an outlet: by the key it gives, or, where values cross into another pool, by the key they have, in pieces.
pub(super) fn groups(moving: &[Moving], node: NodeId, stage: &Stage, scenario: &Scenario) -> Vec<Group> {
    let gives_key = matches!(scenario.plan.topology.node(node).kind, NodeKind::KeyBy { .. });
    let mut groups: Vec<(Bytes, Vec<&Moving>)> = Vec::new();
    for moving in moving {
        let key = if gives_key { scenario.key(moving.value, node) } else { moving.key.clone() };
        let piece = |values: &Vec<&Moving>| gives_key || values.len() < PIECE;
        let mut known = if gives_key { groups.iter_mut().collect() } else { Vec::from_iter(groups.last_mut()) };
        match known.iter_mut().find(|(known, values)| *known == key && piece(values)) {
            Some((_, values)) => values.push(moving),
            None => groups.push((key, vec![moving])),
        }
    }
    if groups.is_empty() {
        // As a `collect` whose values have all failed does.
        let key = if gives_key { scenario.key(0, node) } else { wallaroo_protocol::key::nil() };
        groups.push((key, Vec::new()));
    }
    let with_watermarks = !gives_key || only_source(&scenario.plan, node).is_some();
    let group = |(key, moving): (Bytes, Vec<&Moving>)| {
        let column = |of: fn(&&Moving) -> u64| encode_values(&moving.iter().map(of).collect::<Vec<_>>());
        let mut codec = 1;
        let mut bytes = Vec::new();
        if stage.clocked {
            codec |= TIMES;
            bytes.extend(column(|moving| moving.time as u64));
            if with_watermarks {
                codec |= WATERMARKS;
                bytes.extend(column(|moving| moving.watermark as u64));
            }
        }
        bytes.extend(column(|moving| moving.value));
        Group::new(&key, moving.len() as u32, codec, &bytes)
    };
    groups.into_iter().map(group).collect()
}

pub(super) fn messages(moving: &[Moving]) -> Messages {
    if moving.iter().any(|moving| moving.fired.is_some()) {
        let bytes: Vec<u8> = moving.iter().filter_map(|moving| moving.fired).flat_map(Fired::encode).collect();
        let lengths = vec![Fired::BYTES as u32; bytes.len() / Fired::BYTES];
        return Messages { bytes: bytes.into(), lengths };
    }
    let key = |moving: &Moving| wallaroo_protocol::partition_hash(&moving.key);
    let seen = |moving: &Moving| Seen { count: moving.count, value: moving.value, key: key(moving) };
    let bytes: Vec<u8> = moving.iter().flat_map(|moving| seen(moving).encode()).collect();
    Messages { bytes: bytes.into(), lengths: vec![Seen::BYTES as u32; moving.len()] }
}
