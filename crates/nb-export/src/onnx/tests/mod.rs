//! Exported files, decoded again, and folders that cannot be exported.

mod folder;
mod form;
mod hostile;
