use bytes::Bytes;
use wallaroo_protocol::{BatchId, EventTime, Group};

use super::*;
use crate::checkpoint::{JournalEntry, Queued};
use crate::position::FilePosition;
use crate::record::Journaled;
use crate::sink_chunk::SinkChunk;

/// A file whose words are counted in windows.
const BEFORE: &str = "\
source file \"in.txt\" \"lines\" <- []
key_by \"word\" <- [0]
state \"count\" \"count\" <- [1]
window \"window:sum\" Tumbling \"sum\" <- [1]
sink file \"out.txt\" \"out\" <- [2 3]
stage \"lines\" of frames
stage \"word\" of groups \"count\" \"window:sum\"
";

/// A source more, another sink, and the window behind a key of its own.
const NOW: &str = "\
source tcp \"socket\" <- []
source file \"in.txt\" with event times \"lines\" <- []
key_by \"word\" <- [0 1]
state \"count\" \"count\" <- [2]
key_by \"day\" <- [3]
window \"window:sum\" Tumbling \"sum\" <- [4]
sink standard output \"shown\" <- [3]
sink file \"out.txt\" \"out\" <- [5]
stage \"socket\" of frames
stage \"lines\" of frames
stage \"word\" of groups \"count\"
stage \"day\" of groups \"window:sum\"
";

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn state(table: &str, name: &str) -> StoredState {
    StoredState { table: table.into(), key: key(name), state: Some("state".into()) }
}

fn position(offset: u64) -> Position {
    Position::File(FilePosition::default().after(offset))
}

/// What a run with the steps of [`BEFORE`] has left: a file that was read to byte 30, and an open window.
fn left() -> (Checkpoint, Vec<StoredState>) {
    let mut checkpoint = Checkpoint::beginning(BEFORE.to_owned());
    checkpoint.sources[0].position = position(30);
    checkpoint.sources[0].reached = EventTime(5);
    checkpoint.stages[1].watermark = EventTime(4);
    checkpoint.stages[1].timers = vec![(key("tea"), EventTime(9))];
    checkpoint.sinks[0].delivered = 70;
    (checkpoint, vec![state("count", "tea"), state("window:sum", "tea")])
}

fn carried(topology: &str, drop: &[&str]) -> Result<(CarriedOver, Vec<StoredState>), OtherSteps> {
    let (checkpoint, mut states) = left();
    let drop: Vec<String> = drop.iter().map(ToString::to_string).collect();
    let carried = carry_over(checkpoint, &mut states, topology, &drop).map_err(|(reason, _)| reason)?;
    Ok((carried, states))
}

fn refused(topology: &str, drop: &[&str]) -> String {
    carried(topology, drop).expect_err("refused").to_string()
}

#[test]
fn what_has_its_name_goes_on_wherever_it_is() {
    let (CarriedOver { checkpoint, dropped, new_sinks, changes }, states) = carried(NOW, &[]).unwrap();
    assert_eq!(checkpoint.topology, NOW);
    let positions: Vec<&Position> = checkpoint.sources.iter().map(|source| &source.position).collect();
    assert_eq!(positions, [&Position::Unknown, &position(30)]);
    assert_eq!(checkpoint.sources[1].reached, EventTime(5));
    let timers = vec![(key("tea"), EventTime(9))];
    let times: Vec<_> = checkpoint.stages.iter().map(|stage| (stage.watermark, stage.timers.clone())).collect();
    let nothing = (EventTime::BEGINNING, Vec::new());
    let of_words = (EventTime(4), timers);
    assert_eq!(times, [nothing.clone(), nothing, of_words.clone(), of_words]);
    let delivered: Vec<u64> = checkpoint.sinks.iter().map(|sink| sink.delivered).collect();
    assert_eq!((delivered, new_sinks), (vec![0, 70], BTreeSet::from([SinkId(0)])));
    assert_eq!((dropped, states.len()), (Vec::new(), 2));
    assert!(changes.contains("new: source tcp \"socket\""), "{changes}");
}

#[test]
fn what_no_step_takes_over_has_to_be_named() {
    let without =
        NOW.replace("\"count\" \"count\"", "\"tally\" \"tally\"").replace("groups \"count\"", "groups \"tally\"");
    assert_eq!(refused(&without, &[]), "no step goes on with the states of 1 keys in table \"count\"");
    assert_eq!(refused(&without, &["tally"]), refused(&without, &[]));
    let (CarriedOver { dropped, .. }, states) = carried(&without, &["count"]).unwrap();
    assert_eq!(dropped, [StoredState { state: None, ..state("count", "tea") }]);
    assert_eq!(states, [state("window:sum", "tea")]);
    let moved = NOW.replace("in.txt", "other.txt");
    assert!(refused(&moved, &[]).ends_with("the position of source \"lines\" (source file \"in.txt\")"));
    assert_eq!(carried(&moved, &["lines"]).unwrap().0.checkpoint.sources[1].position, Position::Unknown);
}

#[test]
fn a_table_of_other_states_is_another_table() {
    let other = NOW.replace("Tumbling", "Session");
    assert!(refused(&other, &[]).ends_with("the states of 1 keys in table \"window:sum\""));
    assert!(carried(&other, &["window:sum"]).is_ok());
}

#[test]
fn tables_that_are_told_apart_by_number_must_be_the_same_ones() {
    let second = NOW.replace("stage \"day\"", "state \"count-2\" \"count-2\" <- [0]\nstage \"day\"");
    let second = second.replace("groups \"window", "groups \"count-2\" \"window");
    let refusal = refused(&second, &[]);
    assert!(
        refusal.starts_with("\"count\", \"count-2\" are told apart by number alone, and there were 1"),
        "{refusal}"
    );
    assert!(carried(&second.replace("count-2", "year-2"), &[]).is_ok());
    let (mut checkpoint, mut states) = left();
    checkpoint.topology = BEFORE.replace("groups \"count\"", "groups \"count\" \"count-2\"");
    let drop = ["count-2".to_owned()];
    states.push(state("count-2", "tea"));
    assert!(carry_over(checkpoint.clone(), &mut states.clone(), NOW, &[]).is_err());
    assert_eq!(carry_over(checkpoint, &mut states, NOW, &drop).unwrap().dropped.len(), 1);
}

#[test]
fn listed_keys_must_stay() {
    let listed = NOW.replace("key_by \"word\"", "key_by [\"a\"] \"word\"");
    assert_eq!(carried(&listed, &[]).unwrap_err(), OtherSteps::Keys { name: "word".to_owned() });
}

#[test]
fn work_that_is_under_way_is_left_to_the_steps_that_began_it() {
    let group = Group::new(b"\xa1a", 1, 0, b"");
    let mut unsettled = Vec::new();
    let mut leave = |change: &dyn Fn(&mut Checkpoint)| {
        let (mut checkpoint, mut states) = left();
        change(&mut checkpoint);
        let (reason, _) = carry_over(checkpoint, &mut states, NOW, &[]).expect_err("refused");
        unsettled.push(reason.to_string());
    };
    leave(&|checkpoint| checkpoint.stages[1].queue.push(Queued { group: group.clone(), time: None }));
    leave(&|checkpoint| {
        let batch = Journaled { messages: 1, skip: Vec::new(), times: Vec::new(), elapsed: std::time::Duration::ZERO };
        checkpoint.journal.push(JournalEntry { stage: wallaroo_protocol::StageId(1), input: Bytes::new(), batch });
        checkpoint.next_batch = BatchId(2);
    });
    leave(&|checkpoint| checkpoint.sinks[0].chunks.push(SinkChunk { bytes: "ab".into(), lengths: vec![1, 1] }));
    assert_eq!(
        unsettled,
        [
            "1 queued groups are left to the steps that began them",
            "1 batches that no saved state has are left to the steps that began them",
            "2 messages that are not delivered are left to the steps that began them",
        ]
    );
}
