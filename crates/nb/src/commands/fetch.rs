//! `nb fetch`: a checkpoint from the Hugging Face hub.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_checkpoint::CheckpointLocation;

#[derive(Debug, Args)]
#[command(after_help = "Example: nb fetch hf:sentence-transformers/all-MiniLM-L6-v2\n\n\
    Environment, read as huggingface_hub 2.4 does: HF_TOKEN or the file HF_TOKEN_PATH (token), HF_HUB_CACHE, HF_HOME or\n\
    XDG_CACHE_HOME (cache), HF_ENDPOINT (hub), HF_HUB_OFFLINE=1 (send no request), HF_HUB_DISABLE_IMPLICIT_TOKEN=1\n\
    (send no token). The token is sent only to the hub, not to hosts that it redirects to.")]
pub(crate) struct Fetch {
    /// Checkpoint: hf:owner/name, or hf:owner/name@revision
    checkpoint: String,
}

impl Fetch {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let folder = self.checkpoint.parse::<CheckpointLocation>()?.download()?;
        say!("{}", folder.display());
        Ok(ExitCode::SUCCESS)
    }
}
