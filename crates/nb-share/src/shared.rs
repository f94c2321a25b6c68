//! A module that teacher and student hold in common, or each on its own.

use std::rc::Rc;

/// Whether teacher and student have one set of parameters or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One set: its gradient is the sum of both models' gradients, and an update moves both.
    One,
    /// A set of each model's own.
    Each,
}

/// The same module for both, or one each. With [`Sharing::One`], `teacher` and `student` are the same module, so whatever
/// runs backward through either adds to the same gradients.
///
/// ```
/// use nb_model::Dense;
/// use nb_share::{Shared, Sharing};
/// let dense = || Dense::zeros(4, 2, tch::Device::Cpu);
/// assert_eq!(Shared::new(Sharing::One, dense).distinct().len(), 1);
/// assert_eq!(Shared::new(Sharing::Each, dense).distinct().len(), 2);
/// ```
#[derive(Debug)]
pub struct Shared<M> {
    /// The module as the teacher uses it.
    pub teacher: Rc<M>,
    /// The module as the student uses it.
    pub student: Rc<M>,
}

impl<M> Shared<M> {
    /// Makes one module or two. Two come from two calls of `make`: give both the same start if that is wanted.
    pub fn new(sharing: Sharing, make: impl Fn() -> M) -> Self {
        Self::of(sharing, &make, &make)
    }

    /// As [`Shared::new`], where the two differ (in width, say). What is shared is the teacher's.
    pub fn of(sharing: Sharing, teacher: impl FnOnce() -> M, student: impl FnOnce() -> M) -> Self {
        let teacher = Rc::new(teacher());
        let student = match sharing {
            Sharing::One => Rc::clone(&teacher),
            Sharing::Each => Rc::new(student()),
        };
        Self { teacher, student }
    }

    /// Every module once: one if shared, else the teacher's and the student's.
    pub fn distinct(&self) -> Vec<&Rc<M>> {
        match Rc::ptr_eq(&self.teacher, &self.student) {
            true => vec![&self.teacher],
            false => vec![&self.teacher, &self.student],
        }
    }
}
