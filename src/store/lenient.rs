use redis::{FromRedisValue, ParsingError, Value};

/// An answer with entries of a stream, whatever others have written there. One field name that is no text would make all of the answer
/// unreadable: here the bytes of it that are none are replaced, and it is the name of nothing that we look for.
pub(super) struct Lenient<T>(pub(super) T);

impl<T: FromRedisValue> FromRedisValue for Lenient<T> {
    fn from_redis_value(mut value: Value) -> Result<Self, ParsingError> {
        mend(&mut value);
        T::from_redis_value(value).map(Self)
    }
}

fn mend(value: &mut Value) {
    match value {
        Value::Array(items) => match items.as_mut_slice() {
            // An entry: its id and its fields, names and values in turn.
            [Value::BulkString(_), Value::Array(fields)]
                if fields.iter().all(|field| matches!(field, Value::BulkString(_))) =>
            {
                fields.iter_mut().step_by(2).for_each(mend_name);
            }
            items => items.iter_mut().for_each(mend),
        },
        Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| mend(value)),
        _ => {}
    }
}

fn mend_name(name: &mut Value) {
    if let Value::BulkString(bytes) = name
        && std::str::from_utf8(bytes).is_err()
    {
        *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use redis::streams::{StreamAutoClaimReply, StreamRangeReply, StreamReadReply};

    use super::*;

    #[test]
    fn a_field_name_that_is_no_text_makes_nothing_else_unreadable() {
        let text = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let entry = |id: &[u8], name: &[u8], value: &[u8]| {
            Value::Array(vec![text(id), Value::Array(vec![text(name), text(value)])])
        };
        let entries = || Value::Array(vec![entry(b"1-0", b"\xff", b"\xff"), entry(b"2-0", b"e", b"\xff\n")]);
        let streams = |entries| Value::Array(vec![Value::Array(vec![text(b"log"), entries])]);
        let map = |entries| Value::Map(vec![(text(b"log"), entries)]);
        assert!(StreamRangeReply::from_redis_value(entries()).is_err());

        let Lenient(range) = Lenient::<StreamRangeReply>::from_redis_value(entries()).unwrap();
        let mut all = vec![range.ids];
        for reply in [streams(entries()), map(entries())] {
            let Lenient(read) = Lenient::<StreamReadReply>::from_redis_value(reply).unwrap();
            all.extend(read.keys.into_iter().map(|stream| stream.ids));
        }
        let claimed = Value::Array(vec![text(b"0-0"), entries(), Value::Array(vec![])]);
        let Lenient(claimed) = Lenient::<StreamAutoClaimReply>::from_redis_value(claimed).unwrap();
        all.push(claimed.claimed);
        assert_eq!(all.len(), 4);
        for entries in all {
            let found: Vec<_> = entries.iter().map(|entry| (entry.id.as_str(), entry.map.contains_key("e"))).collect();
            assert_eq!(found, [("1-0", false), ("2-0", true)]);
            // A value stays as it is.
            assert_eq!(entries[1].map["e"], text(b"\xff\n"));
        }
    }
}
