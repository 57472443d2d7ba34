//! States that workers do not survive: saving or loading them runs user code, and that may crash or hang. The marker names the
//! state, so that no message is blamed. A state is known by its encoded `[table, key]`, as the marker has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::key;

use crate::death::{DeathCause, KillReason};

/// Deaths at one state until it is not tried again; one more if what killed the workers may strike others.
const DEATHS: u32 = 2;

/// Deaths that are further apart have nothing to do with each other, if what caused them may strike others.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct FatalStates {
    /// States that are not tried again.
    states: BTreeSet<Bytes>,
    /// Those among them that are new.
    new: Vec<Bytes>,
    /// Deaths at other states.
    suspects: BTreeMap<Bytes, Suspect>,
}

/// How often workers have died at one state, and when the last did.
#[derive(Debug, Default)]
struct Suspect {
    deaths: u32,
    last: Duration,
}

impl FatalStates {
    /// Takes in that a worker died or hung at a state. Returns whether that is not tried again.
    pub(super) fn note(&mut self, state: &Bytes, cause: &DeathCause, now: Duration) -> bool {
        if state.is_empty() {
            // Too long for the marker: nobody could be told which it is.
            return false;
        }
        let suspect = self.suspects.entry(state.clone()).or_default();
        if cause.may_strike_others() && now.saturating_sub(suspect.last) > FORGOTTEN_AFTER {
            suspect.deaths = 0;
        }
        (suspect.deaths, suspect.last) = (suspect.deaths + 1, now);
        let deaths = suspect.deaths;
        // A hang is not tried again: that would cost a whole timeout to learn nothing.
        let hung = matches!(cause, DeathCause::Killed(KillReason::Timeout(_)));
        let is_fatal = hung || deaths >= DEATHS + u32::from(cause.may_strike_others());
        if is_fatal {
            self.suspects.remove(state);
            self.states.insert(state.clone());
            self.new.push(state.clone());
        }
        is_fatal
    }

    /// Has a state not be tried again.
    pub(super) fn insert(&mut self, state: Bytes) {
        self.states.insert(state);
    }

    /// Takes the verdicts that have been passed since this was last asked.
    pub(super) fn take_new(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.new)
    }

    /// How many are not tried again.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// The states that are not tried again.
    pub(super) fn states(&self) -> Vec<Bytes> {
        self.states.iter().cloned().collect()
    }
}

/// A state for people.
pub(super) fn display(state: &Bytes) -> String {
    match table_and_key(state) {
        Some((table, key)) => format!("the state of key {} in table {table:?}", key::display(&key)),
        None => format!("the state of key {}", key::display(state)),
    }
}

/// Takes an encoded `[table, key]` apart.
fn table_and_key(state: &Bytes) -> Option<(&str, Bytes)> {
    let (begin, length) = match *state.as_ref() {
        [0x92, short @ 0xa0..=0xbf, ..] => (2, usize::from(short & 0x1f)),
        [0x92, 0xd9, length, ..] => (3, usize::from(length)),
        [0x92, 0xda, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    let table = std::str::from_utf8(state.get(begin..begin + length)?).ok()?;
    Some((table, state.slice(begin + length..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_shown_with_its_table() {
        let state = Bytes::from_static(b"\x92\xa6totals\xa2k7");
        assert_eq!(display(&state), r#"the state of key 'k7' in table "totals""#);
        assert_eq!(display(&Bytes::from_static(b"\xa2k7")), "the state of key 'k7'");
    }
}
