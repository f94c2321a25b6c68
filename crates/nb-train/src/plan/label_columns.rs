//! The columns of labels that a configuration names.

use nb_checkpoint::LabelKind;
use nb_data::read::LabelLayout;

use crate::config::{ColumnKey, ColumnKeys, ColumnsConfig, ConfigError, DataConfig};

/// A column, with the key that names it.
#[derive(Debug, Clone)]
pub(super) struct LabelColumn {
    pub(super) key: String,
    pub(super) column: ColumnKey,
}

/// Returns whether the texts of a configuration have one label or any number.
pub(crate) fn label_kind(config: &DataConfig) -> LabelKind {
    match &config.columns {
        Some(columns) if columns.labels.is_some() || columns.label_flags.is_some() => LabelKind::Multi,
        _ => LabelKind::Single,
    }
}

/// Returns the names of the columns of flags; those of columns that a number names are not known yet.
pub(crate) fn flag_names(config: &DataConfig) -> Vec<String> {
    let flags = config.columns.iter().filter_map(|columns| columns.label_flags.as_ref()).flat_map(|flags| &flags.0);
    let name = |flag: &ColumnKey| match flag {
        ColumnKey::Name(name) => Some(name.clone()),
        ColumnKey::Number(_) => None,
    };
    flags.filter_map(name).collect()
}

/// Returns the columns of the labels; `None` if no key names one.
///
/// # Errors
/// If several keys name columns, or if there is a separator without a column that may have several labels.
pub(super) fn label_layout(columns: &ColumnsConfig) -> Result<Option<LabelLayout<LabelColumn>>, ConfigError> {
    let ColumnsConfig { label, labels, label_separator, label_flags, .. } = columns;
    let given = [("label", label.is_some()), ("labels", labels.is_some()), ("label_flags", label_flags.is_some())];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| format!("data.columns.{key}"));
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let why = format!("{first} is given too, and labels come from one of them");
        return Err(ConfigError::conflict(second, "given", why).and(first));
    }
    if let (Some(separator), None) = (label_separator, labels) {
        let why = "it separates the labels of a column in data.columns.labels, and that is not given";
        return Err(ConfigError::conflict("data.columns.label_separator", format!("{separator:?}"), why));
    }
    if label_separator.as_ref().is_some_and(String::is_empty) {
        return Err(ConfigError::expected("data.columns.label_separator", "empty", "one or more characters"));
    }
    let all = |name: &str, ColumnKeys(columns): &ColumnKeys| -> Vec<LabelColumn> {
        let one = |(i, column): (usize, &ColumnKey)| {
            let key = if columns.len() == 1 { name.to_owned() } else { format!("{name}[{i}]") };
            LabelColumn { key: format!("data.columns.{key}"), column: column.clone() }
        };
        columns.iter().enumerate().map(one).collect()
    };
    Ok(match (label, labels, label_flags) {
        (Some(label), _, _) => {
            Some(LabelLayout::One(LabelColumn { key: "data.columns.label".to_owned(), column: label.clone() }))
        }
        (_, Some(labels), _) => {
            Some(LabelLayout::Several { columns: all("labels", labels), separator: label_separator.clone() })
        }
        (_, _, Some(flags)) => Some(LabelLayout::Flags(all("label_flags", flags))),
        (None, None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(yaml: &str) -> Result<String, String> {
        let columns: ColumnsConfig = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
        let layout = label_layout(&columns).map_err(|error| error.to_string())?;
        let named = layout.map(|layout| layout.try_map(|column| Ok::<_, ()>(column.key.clone())).unwrap());
        Ok(format!("{named:?}"))
    }

    #[test]
    fn one_key_names_the_labels() {
        let several = |columns: &str, separator: &str| {
            Ok(format!("Some(Several {{ columns: [{columns}], separator: {separator} }})"))
        };
        assert_eq!(layout("{text: [1]}"), Ok("None".to_owned()));
        assert_eq!(layout("{label: 0, text: [1]}"), Ok(r#"Some(One("data.columns.label"))"#.to_owned()));
        assert_eq!(layout("{labels: tags, text: [1]}"), several(r#""data.columns.labels""#, "None"));
        assert_eq!(
            layout("{labels: [1, 2], label_separator: ';', text: [1]}"),
            several(r#""data.columns.labels[0]", "data.columns.labels[1]""#, r#"Some(";")"#)
        );
        let flags = r#"Some(Flags(["data.columns.label_flags[0]", "data.columns.label_flags[1]"]))"#;
        assert_eq!(layout("{label_flags: [a, b], text: [1]}"), Ok(flags.to_owned()));
    }

    #[test]
    fn contradictions_are_errors_that_name_the_keys() {
        let error = |yaml| layout(yaml).unwrap_err();
        let both = error("{label: 0, labels: [1], text: [1]}");
        assert!(both.contains("data.columns.labels") && both.contains("labels come from one of them"), "{both}");
        let alone = error("{label: 0, label_separator: '|', text: [1]}");
        assert!(alone.contains("data.columns.label_separator") && alone.contains("is not given"), "{alone}");
        assert!(error("{labels: 0, label_separator: '', text: [1]}").contains("expected one or more characters"));
        assert!(error("{labels: [], text: [1]}").contains("a list of columns"));
    }
}
