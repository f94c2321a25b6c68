//! Reads the wanted values of a JSON object: those of a few keys, possibly nested, without building the rest.
//!
//! Strings without escapes are borrowed from the line. Values of other keys are only checked, with bounded memory and
//! without recursion, so that neither their number nor their depth matters.

mod entry;
mod path;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smallvec::{SmallVec, smallvec};

use super::key_path::KeyPath;
use super::value::Value;
use entry::Entry;
use path::{Found, Open, Step};

/// The values of an object; those of an id, a label and two texts need no allocation.
pub(super) type Values<'de> = SmallVec<[Value<'de>; 4]>;

/// The wanted values of an object.
#[derive(Debug)]
pub(super) struct Wanted {
    paths: Vec<KeyPath>,
    /// All paths at the outermost object.
    open: Vec<Open>,
    /// Memory that is reused for every object.
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    readings: Vec<Option<u32>>,
    steps: Vec<Step>,
}

impl Wanted {
    pub(super) fn new(paths: Vec<KeyPath>) -> Self {
        let open = (0..paths.len()).map(|slot| Open { slot, at: 0, dots: 0, reading: 0 }).collect();
        Self { paths, open, scratch: Scratch::default() }
    }

    /// Reads the values of an object, in the order of the paths.
    ///
    /// # Errors
    /// If the text is not a JSON object.
    pub(super) fn read<'de>(&mut self, text: &'de str) -> serde_json::Result<Values<'de>> {
        let Self { paths, open, scratch: Scratch { readings, steps } } = self;
        readings.clear();
        readings.resize(paths.len(), None);
        let mut values: Values = smallvec![Value::Missing; paths.len()];
        let found = Found { values: &mut values, readings };
        let mut json = serde_json::Deserializer::from_str(text);
        steps.clear();
        json.deserialize_map(Object { paths, open, found, steps })?;
        json.end()?;
        Ok(values)
    }
}

/// An object that some paths lead into.
struct Object<'p, 'f, 'de> {
    paths: &'p [KeyPath],
    open: &'p [Open],
    found: Found<'f, 'de>,
    /// Memory for the steps of a key.
    steps: &'f mut Vec<Step>,
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { paths, open, mut found, steps } = self;
        while map.next_key_seed(Key { paths, open, steps })?.is_some() {
            if steps.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Inner { paths, steps, found: found.reborrow() })?;
                steps.clear();
            }
        }
        Ok(())
    }
}

/// A key of an object: the steps that it takes along the open paths.
struct Key<'a> {
    paths: &'a [KeyPath],
    open: &'a [Open],
    steps: &'a mut Vec<Step>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.steps.extend(self.open.iter().filter_map(|open| open.follow(key, self.paths)));
        Ok(())
    }
}

/// The value of a key that some paths end at or pass through.
struct Inner<'p, 'f, 'de> {
    paths: &'p [KeyPath],
    steps: &'p [Step],
    found: Found<'f, 'de>,
}

impl<'de> Inner<'_, '_, 'de> {
    /// Stores a value that is not an object.
    fn store(&mut self, value: Value<'de>) {
        let mut value = Some(value);
        let mut ends = self.steps.iter().filter(|step| matches!(step, Step::Here(_))).count();
        for step in self.steps {
            match *step {
                Step::Here(open) => {
                    ends -= 1;
                    // The last path takes the value itself.
                    let value = if ends == 0 { value.take() } else { value.clone() };
                    self.found.store(open, value.unwrap_or_default());
                }
                Step::Inside(open) => self.found.forget(open),
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Inner<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(mut self, text: &'de str) -> Result<(), E> {
        self.store(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.store(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.store(Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.store(Value::Whole(value.into()));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.store(Value::Whole(value.into()));
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.store(Value::Real(value));
        Ok(())
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.store(Value::Missing);
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut list: S) -> Result<(), S::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Entry)? {
            values.push(value);
            if values.len() > Value::MOST_LABELS {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                self.store(Value::Other);
                return Ok(());
            }
        }
        self.store(Value::List(values));
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(mut self, map: M) -> Result<(), M::Error> {
        // An object is not used, but it replaces the value of an earlier key with the same name.
        self.store(Value::Other);
        let Self { paths, steps, found } = self;
        let inside = |step: &Step| match *step {
            Step::Inside(open) => Some(open),
            Step::Here(_) => None,
        };
        let open: Vec<Open> = steps.iter().filter_map(inside).collect();
        Object { paths, open: &open, found, steps: &mut Vec::new() }.visit_map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json};

    fn wanted(paths: &[&str]) -> Wanted {
        Wanted::new(paths.iter().map(|path| path.parse().unwrap()).collect())
    }

    fn check(text: &str, path: &str, expected: Value) {
        assert_eq!(wanted(&[path]).read(text).unwrap()[..], [expected], "{text} {path}");
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    #[test]
    fn values_of_every_kind() {
        check(r#"{"a": "x", "b": [1, {"c": null}]}"#, "a", text("x"));
        check(r#"{"a": "x\u00e9\n"}"#, "a", text("xé\n"));
        check(r#"{"\u0061": 3}"#, "a", Value::Whole(3));
        check(r#"{"a": -9223372036854775808}"#, "a", Value::Whole(i64::MIN.into()));
        check(r#"{"a": 18446744073709551615}"#, "a", Value::Whole(u64::MAX.into()));
        check(r#"{"a": 3.5}"#, "a", Value::Real(3.5));
        check(r#"{"a": true}"#, "a", Value::Bool(true));
        for missing in [r#"{}"#, r#"{"a": null}"#, r#"{"A": 1}"#] {
            check(missing, "a", Value::Missing);
        }
        check(r#"{"a": {"b": 1}}"#, "a", Value::Other);
        let list = vec![text("x"), Value::Whole(2), Value::Missing, Value::Other, Value::Other, Value::Bool(false)];
        check(r#"{"a": ["x", 2, null, ["y"], {"z": 1}, false]}"#, "a", Value::List(list));
    }

    #[test]
    fn a_key_with_a_dot_has_precedence() {
        for order in [r#"{"m.t": "1", "m": {"t": "2"}}"#, r#"{"m": {"t": "2"}, "m.t": "1"}"#] {
            check(order, "m.t", text("1"));
        }
        check(r#"{"m.t": null, "m": {"t": "2"}}"#, "m.t", Value::Missing);
        check(r#"{"m": {"t": "2"}}"#, "m.t", text("2"));
        check(r#"{"m": [{"t": "2"}]}"#, "m.t", Value::Missing);
        let all = r#"{"a": {"b": {"c": 4}, "b.c": 3}, "a.b": {"c": 2}, "a.b.c": 1}"#;
        check(all, "a.b.c", Value::Whole(1));
        check(r#"{"a": {"b": {"c": 4}, "b.c": 3}, "a.b": {"c": 2}}"#, "a.b.c", Value::Whole(2));
        check(r#"{"a": {"b": {"c": 4}, "b.c": 3}}"#, "a.b.c", Value::Whole(3));
        check(r#"{"": {"": 5}}"#, ".", Value::Whole(5));
    }

    #[test]
    fn the_last_of_several_equal_keys_counts() {
        check(r#"{"a": 1, "a": 2}"#, "a", Value::Whole(2));
        check(r#"{"a": 1, "a": {}}"#, "a", Value::Other);
        check(r#"{"m": {"t": 1}, "m": {"u": 2}}"#, "m.t", Value::Missing);
        check(r#"{"m": {"t": 1}, "m": 2}"#, "m.t", Value::Missing);
        check(r#"{"m.t": 1, "m": {"t": 2}, "m": 3}"#, "m.t", Value::Whole(1));
    }

    #[test]
    fn several_paths_share_keys() {
        let found = wanted(&["m", "m.t", "t", "m.t"]).read(r#"{"m": {"t": "x"}, "t": "y"}"#).unwrap();
        assert_eq!(found[..], [Value::Other, text("x"), text("y"), text("x")]);
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for text in
            ["", "[]", "3", "\"a\"", "{", "{\"a\": 1", "{} {}", "{\"a\": NaN}", "{\"b\": }", "{\"a\": \"\\ud800\"}"]
        {
            assert!(wanted(&["a"]).read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_costs_neither_stack_nor_precision() {
        let deep = |key: &str| format!("{{\"{key}\": {}1{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(wanted(&["a"]).read(&deep("b")).unwrap()[..], [Value::Missing]);
        let mut list = wanted(&["a"]);
        assert_eq!(list.read(&deep("a")).unwrap()[..], [Value::List(vec![Value::Other])]);
        let nested = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        assert_eq!(wanted(&["a.a.a"]).read(&nested).unwrap()[..], [Value::Other]);
        let path = ["a"; 33].join(".");
        let nested = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
        assert_eq!(wanted(&[&path]).read(&nested).unwrap()[..], [Value::Whole(1)]);
    }

    #[test]
    fn a_list_too_long_for_labels_is_not_used() {
        let list = |count: usize| format!("{{\"a\": [{}1]}}", "0,".repeat(count - 1));
        let mut wanted = wanted(&["a"]);
        let mut read = |text: &str| matches!(wanted.read(text).unwrap()[..], [Value::List(_)]);
        assert!(read(&list(Value::MOST_LABELS)) && !read(&list(Value::MOST_LABELS + 1)));
    }

    /// The definition of a path's value, on a parsed object.
    fn lookup<'a>(object: &'a Map<String, Json>, path: &str) -> Option<&'a Json> {
        if let Some(value) = object.get(path) {
            return Some(value);
        }
        path.rmatch_indices('.').find_map(|(dot, _)| match object.get(&path[..dot]) {
            Some(Json::Object(inner)) => lookup(inner, &path[dot + 1..]),
            _ => None,
        })
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf =
            prop_oneof![any::<i32>().prop_map(Json::from), "[ab\"é\\\\]{0,3}".prop_map(Json::from), Just(Json::Null)];
        leaf.prop_recursive(4, 30, 4, |inner| {
            prop::collection::hash_map("[ab.]{1,3}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_lookup_in_the_parsed_object(json in json(), path in "[ab]{1}([.][ab]){0,3}") {
            let Json::Object(object) = &json else { return Ok(()) };
            let text = json.to_string();
            let expected = match lookup(object, &path) {
                Some(Json::String(text)) => Value::Text(text.into()),
                Some(Json::Number(number)) => Value::Whole(number.as_i64().unwrap().into()),
                Some(Json::Object(_)) => Value::Other,
                _ => Value::Missing,
            };
            prop_assert_eq!(wanted(&[&path]).read(&text).unwrap().to_vec(), vec![expected]);
        }

        #[test]
        fn no_text_causes_a_panic(text in "[\\[\\]{}\",:a.\\\\0-9u-]{0,60}") {
            let _ = wanted(&["a", "a.a"]).read(&text);
        }
    }
}
