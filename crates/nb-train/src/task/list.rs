//! The list of tasks. To add a task, add its folder and its name here.

use std::path::Path;

use anyhow::{Result, bail};
use nb_checkpoint::{DESCRIPTION_FILE, Description};
use tch::Device;

use super::{Embed, Recommend, Retrieve, Task, Topic};
use crate::model::HeadLayers;
use crate::plan::{Plan, TaskKinds};

/// Work on the task of a plan, generic over the type of the task.
pub trait TaskVisitor {
    /// The result of the work.
    type Output;

    /// Does the work on a task of type `K`, whose part of the plan is `task_plan`.
    ///
    /// # Errors
    /// If the work fails.
    fn visit<K: Task>(self, plan: &Plan, task_plan: &K::Plan) -> Result<Self::Output>;
}

/// A list of tasks.
pub trait TaskList {
    /// The kinds of task, as configurations name them.
    const KINDS: TaskKinds;

    /// Calls the visitor with the task of a plan.
    ///
    /// # Errors
    /// If the visitor fails, or if the plan's task is not in the list.
    fn visit<V: TaskVisitor>(plan: &Plan, visitor: V) -> Result<V::Output>;

    /// Makes the layers of the head that a model folder describes. The caller fills them from the folder's file.
    ///
    /// # Errors
    /// If the description is invalid, or its task is not in the list.
    fn head_layers(folder: &Path, hidden: i64, description: &Description, device: Device) -> Result<HeadLayers>;
}

/// Defines a list of tasks.
#[macro_export]
macro_rules! task_list {
    ($(#[$doc:meta])* $visibility:vis $name:ident: $($task:ty),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        $visibility struct $name;

        impl $crate::task::TaskList for $name {
            const KINDS: $crate::plan::TaskKinds = &[$(<$task as $crate::task::Task>::KIND),+];

            fn visit<V: $crate::task::TaskVisitor>(
                plan: &$crate::plan::Plan,
                visitor: V,
            ) -> ::anyhow::Result<V::Output> {
                $(if let Some(task_plan) = plan.data.task.downcast::<<$task as $crate::task::Task>::Plan>() {
                    return visitor.visit::<$task>(plan, task_plan);
                })+
                ::anyhow::bail!("task is `{}`, which is not in this list of tasks", plan.data.task.name())
            }

            fn head_layers(
                folder: &::std::path::Path,
                hidden: i64,
                description: &$crate::task::Description,
                device: $crate::task::Device,
            ) -> ::anyhow::Result<$crate::model::HeadLayers> {
                $(if description.task == <$task as $crate::task::Task>::KIND.name() {
                    return <$task as $crate::task::Task>::head_layers(folder, hidden, description, device);
                })+
                $crate::task::refuse_task(folder, description, Self::KINDS)
            }
        }
    };
}

task_list! {
    /// The tasks of this crate.
    pub AllTasks: Topic, Recommend, Retrieve, Embed
}

/// Refuses a model folder whose task is not among `kinds`.
#[doc(hidden)]
pub fn refuse_task(folder: &Path, description: &Description, kinds: TaskKinds) -> Result<HeadLayers> {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let file = folder.join(DESCRIPTION_FILE);
    bail!("{}: task is `{}`, expected one of {}", file.display(), description.task, names.join(", "))
}
