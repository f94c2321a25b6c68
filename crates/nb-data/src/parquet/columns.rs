//! Finds columns in the schema of a Parquet file by their paths.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};

/// A column of a file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The names from the outermost struct to the column itself.
    pub(crate) names: Vec<String>,
    /// The type of its values.
    pub(crate) data_type: DataType,
    /// The numbers of its leaves, which are what a file stores.
    pub(crate) leaves: std::ops::Range<usize>,
}

/// Finds a column by a path whose dots lead into structs. A name with a dot has precedence, the longest first, as in
/// JSON lines.
pub(crate) fn find(schema: &Schema, path: &str) -> Option<Found> {
    find_in(schema.fields(), path, 0)
}

fn find_in(fields: &Fields, path: &str, first_leaf: usize) -> Option<Found> {
    let ends = path.rmatch_indices('.').map(|(dot, _)| dot);
    std::iter::once(path.len()).chain(ends).find_map(|end| {
        let place = fields.iter().position(|field| field.name() == &path[..end])?;
        let before: usize = fields[..place].iter().map(|field| leaves(field.data_type())).sum();
        let (field, first_leaf) = (&fields[place], first_leaf + before);
        if end == path.len() {
            let leaves = first_leaf..first_leaf + leaves(field.data_type());
            return Some(Found { names: vec![field.name().clone()], data_type: field.data_type().clone(), leaves });
        }
        let DataType::Struct(inner) = field.data_type() else { return None };
        let mut found = find_in(inner, &path[end + 1..], first_leaf)?;
        found.names.insert(0, field.name().clone());
        Some(found)
    })
}

/// Returns the number of leaves of a type.
fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => leaves(field.data_type()),
        DataType::FixedSizeList(field, _) => leaves(field.data_type()),
        _ => 1,
    }
}

/// Returns the schema with texts and bytes as views. Views share the memory of a page, so that a long text that a page
/// stores once and thousands of rows refer to is not copied for each of them.
pub(crate) fn with_views(schema: &Schema) -> Schema {
    Schema::new_with_metadata(fields_with_views(schema.fields()), schema.metadata().clone())
}

fn fields_with_views(fields: &Fields) -> Fields {
    fields.iter().map(field_with_views).collect()
}

fn field_with_views(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields_with_views(fields)),
        DataType::List(entry) => DataType::List(field_with_views(entry)),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Returns the names of a schema's columns, those in structs with their paths, up to a number that a message can show.
pub(crate) fn names(schema: &Schema) -> Vec<String> {
    let mut names = Vec::new();
    collect_names(schema.fields(), "", &mut names);
    names
}

/// The largest number of names in a message.
const MOST_NAMES: usize = 50;

fn collect_names(fields: &Fields, prefix: &str, names: &mut Vec<String>) {
    for field in fields {
        if names.len() == MOST_NAMES {
            return;
        }
        let name = format!("{prefix}{}", field.name());
        match field.data_type() {
            DataType::Struct(inner) => collect_names(inner, &format!("{name}."), names),
            _ => names.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_with_their_leaves() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let list = DataType::List(Arc::new(text("element")));
        let inner = DataType::Struct(vec![text("title"), Field::new("tags", list, true), text("b.c")].into());
        let schema = Schema::new(vec![text("id"), Field::new("meta", inner, true), text("meta.id"), text("last")]);
        let found = |path: &str| find(&schema, path).map(|it| (it.names.join("/"), it.leaves));
        assert_eq!(found("id"), Some(("id".into(), 0..1)));
        assert_eq!(found("meta.title"), Some(("meta/title".into(), 1..2)));
        assert_eq!(found("meta.tags"), Some(("meta/tags".into(), 2..3)));
        assert_eq!(found("meta.b.c"), Some(("meta/b.c".into(), 3..4)));
        assert_eq!(found("meta"), Some(("meta".into(), 1..4)));
        assert_eq!(found("meta.id"), Some(("meta.id".into(), 4..5)));
        assert_eq!(found("last"), Some(("last".into(), 5..6)));
        assert_eq!((found("x"), found("meta.x"), found("id.x")), (None, None, None));
        assert_eq!(names(&schema), ["id", "meta.title", "meta.tags", "meta.b.c", "meta.id", "last"]);
    }
}
