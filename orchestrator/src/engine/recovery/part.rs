//! The part of a batch that has some of its keys.

use wallaroo_protocol::{Skip, input, key};

use crate::engine::batch::{Batch, Origin, Suspicion};
use crate::engine::routing::Routing;
use crate::engine::routing::router::PartitionId;

/// The part of a keyed batch whose keys are to be kept; `None` if that is nothing. A batch that is kept whole is returned as it is.
pub(super) fn part_of(
    mut batch: Batch,
    routing: &Routing,
    is_kept: impl Fn(PartitionId, &[u8]) -> bool,
) -> Option<Batch> {
    let keyspace = routing.keyspace(batch.stage)?;
    let is_kept = |key: &[u8]| is_kept(routing.partition(keyspace, key), key);
    if matches!(batch.origin, Origin::Generate) {
        return is_kept(&key::nil()).then_some(batch);
    }
    let groups = input::parse_groups(&batch.input).ok()?;
    let mut kept = Vec::with_capacity(groups.len());
    let mut kept_groups = vec![false; groups.len()];
    let mut skip = Vec::new();
    let mut letters = Vec::new();
    for (index, group) in (0..).zip(&groups) {
        if !is_kept(group.key()) {
            continue;
        }
        let moved = |skipped: &Skip| Skip { origin: kept.len() as u32, value: skipped.value };
        skip.extend(batch.skip.iter().filter(|skipped| skipped.origin == index).map(moved));
        let theirs = batch.letters.extract_if(.., |(message, _)| message.origin == index);
        letters.extend(theirs.map(|(message, letter)| (moved(&message), letter)));
        kept.push(group.clone());
        kept_groups[index as usize] = true;
    }
    if kept.is_empty() {
        return None;
    }
    if kept.len() == groups.len() {
        batch.letters = letters;
    } else {
        batch.input = input::groups(&kept);
        batch.messages = kept.iter().map(|group| group.count).sum();
        (batch.skip, batch.letters) = (skip, letters);
        batch.times = batch.times.only(|index| kept_groups[index]);
        batch.suspicion = Suspicion::default();
        (batch.hung, batch.probe, batch.proven) = (Vec::new(), false, false);
    }
    Some(batch)
}
