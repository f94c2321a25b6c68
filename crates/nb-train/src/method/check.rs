//! Checks that the parts of a method are compatible.

use super::definition::Method;
use super::parts::TeacherRole;
use crate::config::{ConfigError, KeyPath, TermKind};

impl Method {
    /// Checks that the parts are compatible.
    ///
    /// # Errors
    /// If they are not.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.stages.iter().any(|stage| stage.terms.is_empty()) {
            return Err(no_term("method.weights"));
        }
        match self.teacher {
            TeacherRole::Absent => self.check_absent(),
            TeacherRole::Frozen => self.check_frozen(),
            TeacherRole::Joint => self.check_joint(),
        }
    }

    fn check_absent(&self) -> Result<(), ConfigError> {
        let conflict = |key: &str, found: &str, why: &str| ConfigError::conflict(key, found, why).and("method.teacher");
        if let Some(term) = self.terms().find(|t| t.kind.needs_teacher()) {
            let key = format!("method.weights.{}", term.kind.name());
            return Err(conflict(&key, "above 0", "the term needs a teacher and method.teacher is none"));
        }
        if self.blends() {
            let why = "without a teacher there is no gradient to blend";
            return Err(conflict("method.beta", &self.beta.to_string(), why));
        }
        if self.share.is_any() {
            let why = "without a teacher there is nothing to share with";
            return Err(conflict("method.share", &self.share.to_string(), why));
        }
        Ok(())
    }

    fn check_frozen(&self) -> Result<(), ConfigError> {
        let conflict = |key: &str, found: &str, why: &str| ConfigError::conflict(key, found, why).and("method.teacher");
        if self.any(|kind| kind == TermKind::Teacher) {
            let why = "method.teacher is frozen, so it does not learn";
            return Err(conflict("method.weights.teacher", "above 0", why));
        }
        if self.blends() {
            let why = "method.teacher is frozen, so it has no gradient to blend";
            return Err(conflict("method.beta", &self.beta.to_string(), why));
        }
        if self.share.is_any() {
            let why = "method.teacher is frozen, so it cannot share layers";
            return Err(conflict("method.share", &self.share.to_string(), why));
        }
        if !self.any(TermKind::needs_teacher) {
            let why = "no term of method.weights uses it; set it to none";
            return Err(ConfigError::conflict("method.teacher", "frozen", why).and("method.weights"));
        }
        Ok(())
    }

    fn check_joint(&self) -> Result<(), ConfigError> {
        if !self.has_student() && (self.blends() || self.share.is_any()) {
            let why = "no term of method.weights trains a student";
            let error = match self.blends() {
                true => ConfigError::conflict("method.beta", self.beta, why).and("method.share"),
                false => ConfigError::conflict("method.share", self.share, why),
            };
            return Err(error.and("method.weights"));
        }
        if !self.any(|kind| kind == TermKind::Teacher) {
            let why = "method.weights.teacher is 0, so the teacher would learn nothing";
            return Err(ConfigError::conflict("method.teacher", "joint", why).and("method.weights.teacher"));
        }
        if !self.stages.iter().all(|stage| stage.any(|kind| kind == TermKind::Teacher)) {
            let why = "a stage of method.stages has no term `teacher`; a joint teacher learns in every stage";
            return Err(ConfigError::conflict("method.teacher", "joint", why).and("method.stages"));
        }
        Ok(())
    }
}

/// Returns the error for weights that are all 0.
pub(super) fn no_term(key: impl Into<KeyPath>) -> ConfigError {
    ConfigError::expected(key, "0 for every term", "a number above 0 for at least one")
}
