//! Feeds the decoders bytes that no peer should send: random ones, and vectors with a few things changed. The fuzz target
//! in `fuzz/` does the same without end; this runs on every test run, from a fixed seed.

mod exercise;

use std::path::Path;

use exercise::exercise;
use serde_json::Value;

/// Random bodies, which seldom get past the first bytes.
const RANDOM_BODIES: usize = 50_000;

/// Changed copies of each vector.
const MUTATIONS: usize = 300;

/// Bytes that announce much: lengths, counts, nesting, the byte that is never used.
const TELLING: &[u8] = &[
    0x00, 0x7f, 0x80, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc9, 0xcf, 0xd3, 0xdb, 0xdc, 0xdd,
    0xdf, 0xe0, 0xff,
];

/// Marsaglia's xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 { TELLING[self.below(TELLING.len())] } else { self.next() as u8 }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for _ in 0..RANDOM_BODIES {
        let length = random.below(64);
        let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        accepted += exercise(&bytes);
    }
    assert!(accepted > 0, "no random bytes were accepted by anything: the bytes are too wild to test much");
}

#[test]
fn changed_vectors_never_panic() {
    let vectors = vectors();
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let (mut accepted, mut refused) = (0, 0);
    for vector in &vectors {
        for _ in 0..MUTATIONS {
            let mut bytes = vector.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut bytes, &vectors, &mut random);
            }
            if exercise(&bytes) > 0 { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(
        accepted > 1000 && refused > 1000,
        "{accepted} accepted, {refused} refused: the changes test one side only"
    );
}

#[test]
fn every_beginning_of_a_vector_is_harmless() {
    for vector in vectors() {
        for length in 0..=vector.len() {
            exercise(&vector[..length]);
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, vectors: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.byte()),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        4 if at < bytes.len() => bytes[at] = random.byte(),
        _ => {
            let other = &vectors[random.below(vectors.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
    }
}

/// The `hex` of every vector there is.
fn vectors() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors");
    let mut vectors = Vec::new();
    for file in ["to_worker", "from_worker", "keys", "frames", "invalid"] {
        let text = std::fs::read_to_string(folder.join(file).with_extension("json")).expect(file);
        let entries: Vec<Value> = serde_json::from_str(&text).expect(file);
        vectors.extend(entries.iter().map(|entry| unhex(entry["hex"].as_str().expect("hex"))));
    }
    vectors
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}
