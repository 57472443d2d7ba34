//! How long the engine and the codec take: `cargo bench --bench engine`. The figures are those of this machine at this moment;
//! `cargo test --test instructions` counts what does not depend on it.

mod stream;

use divan::Bencher;
use divan::counter::ItemsCount;

use self::stream::{MESSAGES, Stream};

fn main() {
    divan::main();
}

/// From frames to what the sink has written, a thousand messages at a time: few keys as in word count, and a key of its own
/// for every message.
#[divan::bench(args = [25, 1000])]
fn a_thousand_messages(bencher: Bencher, keys: usize) {
    let mut stream = Stream::new(keys, 1);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| stream.round());
}
