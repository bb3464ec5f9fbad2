//! What is written is read back as it was, in EDN and in JSON.

use proptest::prelude::*;
use strongroom_jepsen::{
    edn::{read, read_all},
    json::{from_json, to_json},
    value::Value,
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "-?[0-9]{1,4}\\.[0-9]{1,3}M?".prop_map(Value::Decimal),
        any::<char>()
            // A character beyond the first plane that is blank has no name in EDN.
            .prop_filter("named", |c| !(c.is_whitespace() || c.is_control()) || *c < '\u{ffff}')
            .prop_map(Value::Char),
        any::<String>().prop_map(Value::Text),
        "~[:$#~cd]?[a-z]*".prop_map(Value::Text),
        "[a-z][a-z0-9/.-]{0,8}".prop_map(Value::Keyword),
        "s[a-z0-9/.-]{0,8}".prop_map(Value::Symbol),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let many = || prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            many().prop_map(Value::List),
            many().prop_map(Value::Vector),
            many().prop_map(|items| Value::Set(items.into_iter().collect())),
            prop::collection::btree_map(inner.clone(), inner.clone(), 0..5).prop_map(Value::Map),
            ("[a-z]{1,5}", inner.clone())
                .prop_map(|(tag, value)| Value::Tagged(tag, Box::new(value))),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_comes_back_from_edn(value in value()) {
        prop_assert_eq!(read(&value.to_string()).unwrap(), value);
    }

    #[test]
    fn a_value_comes_back_from_json(value in value()) {
        let text = to_json(&value).to_string();
        prop_assert_eq!(from_json(&serde_json::from_str(&text).unwrap()).unwrap(), value);
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _read_or_refused = read_all(&text);
    }

    #[test]
    fn any_text_of_brackets_and_marks_is_read_or_refused(text in "[\\[\\](){}#_\"\\\\:;a1, \n-]{0,40}") {
        let _read_or_refused = read_all(&text);
    }
}
