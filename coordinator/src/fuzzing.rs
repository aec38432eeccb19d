//! What the fuzz target runs, and the test that replays its corpus: arbitrary bytes in place of a value in the store. A broken
//! promise is a panic.

use catchment_proto::cluster::v1::ScopeState;
use prost::Message as _;

use crate::scope::content_hash;
use crate::validate;

/// A scope as the store holds it, whose hash may be right or not. What is taken has one form only.
pub fn stored_scope(bytes: &[u8]) {
    let Ok(mut message) = ScopeState::decode(bytes) else { return };
    let Some(id) = message.key.as_ref().and_then(|key| validate::scope_id(key).ok()) else { return };
    let _ = validate::stored_scope(&id, bytes);
    message.content_hash = 0;
    message.content_hash = content_hash(&message.encode_to_vec());
    if let Ok(scope) = validate::stored_scope(&id, &message.encode_to_vec()) {
        let stored = scope.encode_stored();
        let again = validate::stored_scope(&id, &stored).expect("what is stored can be read");
        assert_eq!(again, scope);
    }
}
