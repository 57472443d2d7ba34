//! Properties of every message: what is encoded decodes to the same, and nothing that is cut short or followed by more
//! passes for a message.

mod messages;

use bytes::{BufMut as _, Bytes, BytesMut};
use proptest::prelude::*;
use wallaroo_protocol::{FromWorker, ProtocolError, ToWorker};

fn with_a_byte_more(body: &Bytes) -> Bytes {
    let mut longer = BytesMut::from(&body[..]);
    longer.put_u8(0xc0);
    longer.freeze()
}

fn is_cut_short(error: &ProtocolError) -> bool {
    matches!(error, ProtocolError::Truncated { .. } | ProtocolError::TooManyElements { .. })
}

proptest! {
    #[test]
    fn to_worker(message in messages::to_worker()) {
        let body = message.encode().into_body();
        prop_assert_eq!(ToWorker::decode(body.clone()).unwrap(), message);
        let longer = ToWorker::decode(with_a_byte_more(&body));
        prop_assert!(matches!(longer, Err(ProtocolError::TrailingBytes { count: 1, .. })), "{longer:?}");
        for length in 0..body.len() {
            let error = ToWorker::decode(body.slice(..length)).unwrap_err();
            prop_assert!(is_cut_short(&error), "{} of {} bytes: {}", length, body.len(), error);
        }
        let other_side = FromWorker::decode(body);
        prop_assert!(matches!(other_side, Err(ProtocolError::UnknownType { .. })), "{other_side:?}");
    }

    #[test]
    fn from_worker(message in messages::from_worker()) {
        let body = message.encode().into_body();
        prop_assert_eq!(FromWorker::decode(body.clone()).unwrap(), message);
        let longer = FromWorker::decode(with_a_byte_more(&body));
        prop_assert!(matches!(longer, Err(ProtocolError::TrailingBytes { count: 1, .. })), "{longer:?}");
        for length in 0..body.len() {
            let error = FromWorker::decode(body.slice(..length)).unwrap_err();
            prop_assert!(is_cut_short(&error), "{} of {} bytes: {}", length, body.len(), error);
        }
        let other_side = ToWorker::decode(body);
        prop_assert!(matches!(other_side, Err(ProtocolError::UnknownType { .. })), "{other_side:?}");
    }

    #[test]
    fn a_batch_is_encoded_without_copying_its_input(batch in messages::batch()) {
        let outgoing = batch.encode();
        prop_assert_eq!(outgoing.tail.as_ptr(), batch.input.as_ptr());
        prop_assert_eq!(outgoing.tail, batch.input);
    }
}
