//! A module that teacher and student share, or one module for each.

use std::rc::Rc;

/// The number of parameter sets of a module: one for teacher and student, or one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One set. Its gradient is the sum of both models' gradients, and an update changes both models.
    Shared,
    /// One set for each model.
    Separate,
}

/// One module for teacher and student, or one for each. With [`Sharing::Shared`], `teacher` and `student` are the same module,
/// so a backward pass through either adds to the same gradients.
///
/// ```
/// use nb_model::Dense;
/// use nb_share::{Shared, Sharing};
/// let dense = || Dense::zeros(4, 2, tch::Device::Cpu);
/// assert_eq!(Shared::new(Sharing::Shared, dense).distinct().len(), 1);
/// assert_eq!(Shared::new(Sharing::Separate, dense).distinct().len(), 2);
/// ```
#[derive(Debug)]
pub struct Shared<M> {
    /// The module as the teacher uses it.
    pub teacher: Rc<M>,
    /// The module as the student uses it.
    pub student: Rc<M>,
}

impl<M> Shared<M> {
    /// Creates one module or two. Two modules come from two calls of `make`, which may return the same initial values.
    pub fn new(sharing: Sharing, make: impl Fn() -> M) -> Self {
        Self::from_each(sharing, &make, &make)
    }

    /// Like [`Shared::new`], for modules that differ, for example in width. A shared module is the teacher's.
    pub fn from_each(sharing: Sharing, teacher: impl FnOnce() -> M, student: impl FnOnce() -> M) -> Self {
        let teacher = Rc::new(teacher());
        let student = match sharing {
            Sharing::Shared => Rc::clone(&teacher),
            Sharing::Separate => Rc::new(student()),
        };
        Self { teacher, student }
    }

    /// Returns each module once: a single one if it is shared, otherwise the teacher's and the student's. Use it in
    /// code that must visit every parameter once, such as an optimiser.
    pub fn distinct(&self) -> Vec<&Rc<M>> {
        match Rc::ptr_eq(&self.teacher, &self.student) {
            true => vec![&self.teacher],
            false => vec![&self.teacher, &self.student],
        }
    }
}
