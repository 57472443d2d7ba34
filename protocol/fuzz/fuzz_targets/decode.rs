//! Any bytes, taken for everything the protocol decodes. The properties are those of `tests/hostile`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/hostile/exercise.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| {
    exercise::exercise(bytes);
});
