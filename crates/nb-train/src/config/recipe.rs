//! Recipes: the settings of each task for what a configuration leaves open.
//!
//! A recipe is a part of a configuration, below the user's: keys that the user gives win. `docs/results.md` says how the values
//! were chosen.

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::overrides::find;

/// The recipes of a task.
struct Recipes {
    task: &'static str,
    /// The tuned settings, the default.
    tuned: &'static str,
    /// The settings of the NewsBERT paper: `method.preset: paper`.
    paper: &'static str,
}

const ALL: [Recipes; 4] = [
    Recipes {
        task: "topic",
        tuned: include_str!("recipes/topic.yaml"),
        paper: include_str!("recipes/topic-paper.yaml"),
    },
    Recipes {
        task: "recommend",
        tuned: include_str!("recipes/recommend.yaml"),
        paper: include_str!("recipes/ranking-paper.yaml"),
    },
    Recipes {
        task: "retrieve",
        tuned: include_str!("recipes/retrieve.yaml"),
        paper: include_str!("recipes/ranking-paper.yaml"),
    },
    Recipes { task: "embed", tuned: include_str!("recipes/embed.yaml"), paper: include_str!("recipes/embed.yaml") },
];

/// Fills in what a configuration leaves open from the recipe of its task. A task without a recipe, and a value that a later
/// check refuses, leave the tree as it is.
pub(super) fn complete(tree: &mut Value) {
    let task = find(tree, "task").and_then(|task| task.as_str().map(str::to_owned));
    let Some(recipes) = ALL.iter().find(|recipes| Some(recipes.task) == task.as_deref()) else { return };
    let is_paper = find(tree, "method.preset").is_some_and(|preset| preset.as_str() == Some("paper"));
    let mut recipe = parse(if is_paper { recipes.paper } else { recipes.tuned });
    if let Some(train) = teacher_training(&mut recipe.every_method) {
        keep_choices(tree, train);
    }
    if is_given(tree, "data.unlabelled") {
        recipe.newsbert.get_mut("data").and_then(Value::as_mapping_mut).map(|data| data.remove("articles"));
    }
    let parts = match method_name(tree).as_deref() {
        Some("teacher") => vec![of_teacher(recipe.every_method)],
        _ if is_newsbert(tree) && (is_paper || has_no_part(tree)) => vec![recipe.newsbert, recipe.every_method],
        _ => vec![recipe.every_method],
    };
    if let Value::Mapping(tree) = tree {
        parts.into_iter().for_each(|part| merge(tree, part));
    }
}

/// A recipe. Both parts are parts of a configuration; that of NewsBERT wins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    every_method: Mapping,
    #[serde(default)]
    newsbert: Mapping,
}

fn parse(text: &str) -> Recipe {
    serde_yaml::from_str(text).expect("a recipe has these two parts, which a test checks")
}

fn is_given(tree: &mut Value, key: &str) -> bool {
    find(tree, key).is_some_and(|value| !value.is_null())
}

/// Removes from a recipe's `teacher.train` what the user chose in `train`. A batch that the user chose, perhaps for the memory
/// of the machine, is the teacher's too; the recipe's rate for another batch then does not apply.
fn keep_choices(tree: &mut Value, train: &mut Mapping) {
    if ["train.batch", "train.tokens", "train.accumulate"].into_iter().any(|key| is_given(tree, key)) {
        train.remove("batch");
        train.remove("lr");
    }
    if is_given(tree, "train.teacher_lr") {
        train.remove("lr");
    }
}

/// Returns the section `teacher.train` of a recipe.
fn teacher_training(recipe: &mut Mapping) -> Option<&mut Mapping> {
    recipe.get_mut("teacher")?.get_mut("train")?.as_mapping_mut()
}

/// Returns the recipe for training the teacher alone: as a frozen teacher is trained before its student. Its learning rate is
/// `lr`, so that the user's `train.lr` takes its place.
fn of_teacher(mut recipe: Mapping) -> Mapping {
    let mut train = teacher_training(&mut recipe).cloned().unwrap_or_default();
    let mut below = recipe.remove("train").and_then(|train| train.as_mapping().cloned()).unwrap_or_default();
    if let Some(rate) = below.remove("teacher_lr") {
        below.insert("lr".into(), rate);
    }
    merge(&mut train, below);
    recipe.insert("train".into(), train.into());
    recipe.remove("teacher");
    recipe
}

fn method_name(tree: &mut Value) -> Option<String> {
    find(tree, "method.name").and_then(|name| name.as_str().map(str::to_owned))
}

/// Returns whether no part of the method is given that decides who learns what. The parts of a recipe fit together: one of the
/// user's among them would be a method that nobody has chosen.
fn has_no_part(tree: &mut Value) -> bool {
    let parts = ["method.teacher", "method.beta", "method.share", "method.weights"];
    !parts.into_iter().any(|key| is_given(tree, key))
}

/// Returns whether the method is NewsBERT, with some of its parts overridden or none: not another preset, and no method of the
/// user's own.
fn is_newsbert(tree: &mut Value) -> bool {
    if is_given(tree, "method.stages") {
        return false;
    }
    match find(tree, "method.name").filter(|name| !name.is_null()) {
        Some(name) => name.as_str() == Some("newsbert"),
        None => !is_given(tree, "method.weights"),
    }
}

/// Adds the keys of `recipe` that `tree` lacks.
fn merge(tree: &mut Mapping, recipe: Mapping) {
    for (key, value) in recipe {
        match (tree.get_mut(&key), value) {
            (Some(Value::Mapping(given)), Value::Mapping(below)) => merge(given, below),
            (Some(Value::Null) | None, value) => drop(tree.insert(key, value)),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RunConfig;
    use super::super::read::typed;
    use super::*;

    const GIVEN: &str = "data: {format: beir, train: x}\nteacher: {checkpoint: m}\n";

    fn completed(text: &str) -> RunConfig {
        let mut tree: Value = serde_yaml::from_str(text).unwrap();
        complete(&mut tree);
        typed(tree).unwrap()
    }

    #[test]
    fn every_recipe_is_valid() {
        for recipes in ALL {
            for preset in ["tuned", "paper"] {
                completed(&format!("{GIVEN}task: {}\nmethod: {{preset: {preset}}}\n", recipes.task));
            }
        }
    }

    #[test]
    fn keys_of_the_user_win_at_every_depth() {
        let open = completed(&format!("{GIVEN}task: retrieve\n"));
        let given = completed(&format!(
            "{GIVEN}task: retrieve\ntrain: {{lr: 0.5}}\nstudent: {{init: random}}\nmethod: {{weights: {{vector: 7}}}}\n"
        ));
        assert_eq!(given.train.lr, 0.5);
        assert_eq!(given.train.teacher_lr, open.train.teacher_lr);
        assert_eq!(given.student.init, super::super::StudentInit::Random);
        assert_eq!(given.method.weights.len(), 1, "weights without a name are a method of the user's own");
        let named = completed(&format!("{GIVEN}task: retrieve\nmethod: {{name: newsbert, weights: {{vector: 7}}}}\n"));
        assert_eq!(
            (named.method.weights.len(), named.method.teacher),
            (1, None),
            "a changed part keeps NewsBERT's others"
        );
        let joint = completed(&format!("{GIVEN}task: retrieve\nmethod: {{teacher: joint}}\n"));
        assert!(joint.method.weights.is_empty() && joint.student.dropout && joint.train.lr < open.train.lr);
        let seeded = completed(&format!("{GIVEN}task: retrieve\nmethod: {{temperature: 2}}\n"));
        assert_eq!(seeded.method.teacher, open.method.teacher);
    }

    #[test]
    fn other_methods_keep_their_own_parts() {
        let other = completed(&format!("{GIVEN}task: retrieve\nmethod: {{name: kd}}\n"));
        assert!(other.method.weights.is_empty() && other.method.teacher.is_none());
        let open = completed(&format!("{GIVEN}task: retrieve\n"));
        assert_eq!((other.train.teacher_lr, &other.student.init), (open.train.teacher_lr, &open.student.init));
        assert!(other.train.lr < open.train.lr && other.student.dropout && !open.student.dropout);
    }

    #[test]
    fn the_teacher_alone_is_trained_as_a_frozen_teacher_is() {
        let frozen = completed(&format!("{GIVEN}task: retrieve\n")).teacher.train.unwrap();
        let alone = completed(&format!("{GIVEN}task: retrieve\nmethod: {{name: teacher}}\n"));
        assert_eq!((Some(alone.train.epochs), Some(alone.train.batch)), (frozen.epochs, frozen.batch));
        assert_eq!((Some(alone.train.lr), alone.train.teacher_lr), (frozen.lr, None));
        assert_eq!(alone.teacher.train, None);
        let given = completed(&format!("{GIVEN}task: retrieve\nmethod: {{name: teacher}}\ntrain: {{lr: 0.5}}\n"));
        assert_eq!((given.train.lr, given.train.teacher_lr), (0.5, None));

        let frozen = completed(&format!("{GIVEN}task: recommend\nmethod: {{name: kd}}\n"));
        let alone = completed(&format!("{GIVEN}task: recommend\nmethod: {{name: teacher}}\n"));
        assert_eq!((Some(alone.train.lr), alone.train.teacher_lr), (frozen.train.teacher_lr, None));
        assert_eq!(Some(alone.train.epochs), frozen.teacher.train.unwrap().epochs);
    }

    #[test]
    fn the_rate_of_a_recipe_belongs_to_its_batch() {
        let rate = |train: &str| {
            let config = completed(&format!("{GIVEN}task: retrieve\ntrain: {{{train}}}\n"));
            config.teacher.train.unwrap().lr.or(config.train.teacher_lr)
        };
        let [tuned, small] = [rate("epochs: 5"), rate("batch: 32")];
        assert!(small < tuned, "{small:?} in small batches, {tuned:?} in large ones");
        assert_eq!([rate("tokens: 900"), rate("accumulate: 2"), rate("lr: 0.5")], [small, small, tuned]);
        assert_eq!(rate("teacher_lr: 0.25"), Some(0.25));
    }

    #[test]
    fn a_batch_of_the_user_is_the_teachers_too() {
        for key in ["batch", "tokens"] {
            let given = completed(&format!("{GIVEN}task: retrieve\ntrain: {{{key}: 24}}\n")).teacher.train.unwrap();
            assert_eq!(given.batch, None);
        }
        let both = completed(&format!(
            "{}task: retrieve\ntrain: {{batch: 24}}\n",
            GIVEN.replace("checkpoint: m", "checkpoint: m, train: {batch: 48}")
        ));
        assert_eq!((both.train.batch, both.teacher.train.unwrap().batch), (24, Some(48)));
    }

    #[test]
    fn texts_of_the_user_take_the_place_of_the_articles_without_labels() {
        let open = completed(&format!("{GIVEN}task: retrieve\n"));
        let with_file = GIVEN.replace("train: x", "train: x, unlabelled: y");
        let given = completed(&format!("{with_file}task: retrieve\n"));
        assert_eq!((open.data.articles, given.data.articles), (Some(super::super::ArticlesChoice::All), None));
    }

    #[test]
    fn a_section_left_empty_is_open() {
        let empty = completed(&format!("{GIVEN}task: retrieve\ntrain:\nstudent:\n"));
        let open = completed(&format!("{GIVEN}task: retrieve\n"));
        assert_eq!((empty.train.lr, empty.student.init), (open.train.lr, open.student.init));
    }
}
