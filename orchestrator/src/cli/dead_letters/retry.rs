//! `wallaroo-orch dead-letters retry`.
//!
//! A message is sent as its client sent it, and runs through every step again. Its letter is removed once the receiver's kernel
//! has the message. If the command dies between the two, the letter stays, and the next retry sends the message a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::selection::{Numbers, Selection};
use super::{DeadLettersError, LetterFile, Line};
use crate::cli::send::{Address, Connection, Marking, SendError, WireFraming, seconds};
use crate::cli::terminal;
use crate::dead_letter::file::Damage;
use crate::dead_letter::{DeadLetter, PayloadCodec, SourceFraming};
use crate::stream_protocol;

/// Bytes gathered for one write.
const BUFFER: usize = 1 << 16;

/// Arguments of `wallaroo-orch dead-letters retry`.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The file given to `run --dead-letters`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Numbers in `list`, or ranges of them [default: all]
    #[arg(value_name = "N|N-M")]
    numbers: Vec<Numbers>,
    /// Where to send [default: the address of each letter's source]
    #[arg(long, value_name = "HOST:PORT")]
    to: Option<Address>,
    /// How messages are delimited on the wire [default: the framing of each letter's source, else u32]
    #[arg(long, value_enum)]
    framing: Option<WireFraming>,
    /// Seconds to keep trying to connect
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    connect_timeout: f64,
}

/// Why a letter is not sent.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Damaged(Damage),
    #[error("its payload is not a message as it was read but a value for step {step:?}, which no source accepts")]
    Value { step: String },
    #[error("it has no payload: its source generates its messages")]
    Nothing,
    #[error("its source uses another framing than u32 or newline: choose one with --framing")]
    Framing,
    #[error("a newline in its payload would end the message early")]
    Newline,
}

/// Where a letter goes, and how.
type Target = (Address, Marking);

pub(super) fn retry(args: &RetryArgs) -> Result<(), DeadLettersError> {
    let file = LetterFile::edit(&args.file)?;
    // Letters that cannot be sent are reported before anything is sent.
    let plan = plan(args, &file)?;
    let mut sent = BTreeSet::new();
    let within = Duration::from_secs_f64(args.connect_timeout);
    let outcome: Result<(), DeadLettersError> = plan.targets.iter().try_for_each(|(target, numbers)| {
        send(&file, target, within, numbers)?;
        sent.extend(numbers);
        Ok(())
    });
    // Done also after a failure: messages that arrived before it must not be sent again.
    file.remove(&sent).map_err(|source| DeadLettersError::NotRemoved { sent: sent.len(), source })?;
    outcome?;
    match plan.refused {
        0 => Ok(()),
        kept => Err(DeadLettersError::Kept { kept, asked: kept + sent.len() }),
    }
}

#[derive(Debug, Default)]
struct Plan {
    targets: BTreeMap<Target, BTreeSet<u64>>,
    refused: usize,
}

/// Decides where each letter goes, and prints which are refused.
fn plan(args: &RetryArgs, file: &LetterFile) -> Result<Plan, DeadLettersError> {
    let mut plan = Plan::default();
    let mut refused = Vec::new();
    let mut selection = Selection::new(&args.numbers);
    for line in file.lines()? {
        let Line { number, content } = line?;
        if !selection.takes(number) {
            continue;
        }
        let marking =
            content.map_err(Refusal::Damaged).and_then(|letter| Ok((marking(&letter, args.framing)?, letter)));
        match marking {
            Ok((marking, letter)) => {
                let address = address(number, *letter, args.to.as_ref())?;
                plan.targets.entry((address, marking)).or_default().insert(number);
            }
            Err(refusal) => refused.push((number, refusal)),
        }
    }
    selection.check(file)?;
    plan.refused = refused.len();
    for (number, refusal) in refused {
        terminal::note(format_args!("letter {number} is kept: {refusal}"));
    }
    Ok(plan)
}

fn marking(letter: &DeadLetter, asked: Option<WireFraming>) -> Result<Marking, Refusal> {
    if letter.payload_codec != PayloadCodec::Frame {
        return Err(Refusal::Value { step: letter.step.clone() });
    }
    // A letter of a generator has no connection; an empty frame has one.
    if letter.payload.is_empty() && letter.connection.is_none() {
        return Err(Refusal::Nothing);
    }
    let framing = match (asked, letter.source_framing) {
        (Some(asked), _) => asked,
        (None, Some(SourceFraming::U32) | None) => WireFraming::U32,
        (None, Some(SourceFraming::Newline)) => WireFraming::Newline,
        (None, Some(SourceFraming::Stream)) => return Ok(Marking::Stream),
        (None, Some(SourceFraming::Other)) => return Err(Refusal::Framing),
    };
    match framing {
        WireFraming::Newline if letter.payload.contains(&b'\n') => Err(Refusal::Newline),
        framing => Ok(Marking::Framed(framing)),
    }
}

fn address(number: u64, letter: DeadLetter, asked: Option<&Address>) -> Result<Address, DeadLettersError> {
    match (asked, letter.source_address) {
        (Some(asked), _) => Ok(asked.clone()),
        (None, Some(address)) => {
            address.parse().map_err(|reason| DeadLettersError::BadAddress { number, address, reason })
        }
        (None, None) => Err(DeadLettersError::NoAddress { number, source_name: letter.source }),
    }
}

/// Sends letters in the file's order on one connection.
fn send(
    file: &LetterFile,
    (to, marking): &Target,
    within: Duration,
    numbers: &BTreeSet<u64>,
) -> Result<(), DeadLettersError> {
    let undelivered = |error: SendError| DeadLettersError::Send(error);
    let mut connection = Connection::open(to, within).map_err(undelivered)?;
    let mut encoded = match marking {
        Marking::Framed(_) => Vec::new(),
        // Behind the messages of earlier retries.
        Marking::Stream => stream_protocol::hello("dead-letters retry"),
    };
    let (mut gathered, mut written) = (0, 0);
    for line in file.lines()? {
        // The lines that were read before are unchanged: a file is only appended to.
        let Line { number, content: Ok(letter) } = line? else { continue };
        if !numbers.contains(&number) {
            continue;
        }
        marking.append(&letter.payload, &mut encoded);
        gathered += 1;
        if encoded.len() >= BUFFER {
            connection.write(&encoded, written).map_err(undelivered)?;
            encoded.clear();
            written += std::mem::take(&mut gathered);
        }
    }
    connection.write(&encoded, written).map_err(undelivered)?;
    connection.finish(written + gathered).map_err(undelivered)?;
    terminal::note(format_args!("sent {} messages to {to}", written + gathered));
    Ok(())
}
