//! Inference as `nb predict` does it: from texts to probabilities on the host, including tokenisation.
//!
//! Without `--model`, the untrained teacher and student of a run are saved like the best models of a run. Their predictions are
//! useless, but take as long as the predictions of trained models. Loading and a first round are not timed. On the CPU,
//! ours is `nb_infer`; on a GPU, which that does not know, it is the inference of `nb_train` with libtorch.

mod agreement;
mod batching;
mod modes;
mod side;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nb_data::Tokenizer;
use nb_data::read::{Article, read};
use nb_train::config::RunConfig;
use nb_train::model::{Models, Role};
use nb_train::plan::Plan;
use nb_train::task::{AllTasks, Task, TaskList, Topic};
use serde_json::{Value, json};
use tch::Device;

use self::batching::{Batching, MAX_TOKENS};
use self::modes::{Mode, Selection};
use self::side::{Engine, Side};
use crate::cases::{ArticleFields, Case, CaseEntry, Corpus, Dataset, article_source, select};
use crate::context::{BenchContext, utf8};
use crate::device;
use crate::interleave::{InProcessPeer, Measurement, Peers, run_interleaved};
use crate::memory::reset_peak;
use crate::options::NumberFormat;
use crate::report::OutcomeSink;
use crate::run_config::{CaseRun, CaseTask};

/// Number of single calls in a round. If there are fewer titles, they are repeated.
const SINGLE_CALLS: usize = 1000;
/// Number of texts for a peer that calibrates a quantised model. They are training texts and therefore not measured.
const CALIBRATION_TEXTS: usize = 300;

/// The options of this bench.
#[derive(Debug, Clone, clap::Args)]
pub struct InferOptions {
    /// Folder of a trained topic model to measure instead of an untrained student; results in bf16 and int8 then
    /// include the agreement with f32
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// The work that a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CaseKind {
    batching: Batching,
    /// The model that predicts.
    role: Role,
}

const CASES: [CaseEntry<CaseKind>; 4] = [
    entry("one-title", "sample-one-title", Batching::Single, Role::Student),
    entry("bulk-64", "sample-bulk-64", Batching::Bulk, Role::Student),
    entry("one-title-teacher", "sample-one-title-teacher", Batching::Single, Role::Teacher),
    entry("bulk-64-teacher", "sample-bulk-64-teacher", Batching::Bulk, Role::Teacher),
];

const fn entry(
    dataset_name: &'static str,
    sample_name: &'static str,
    batching: Batching,
    role: Role,
) -> CaseEntry<CaseKind> {
    CaseEntry { dataset_name, sample_name, dataset: Dataset::AgNews, kind: CaseKind { batching, role } }
}

/// Measures the cases with the names `wanted`, or all cases if there are none.
///
/// # Errors
/// If a name is unknown, a model or text cannot be read, or a peer fails.
pub(crate) fn run(
    context: &BenchContext,
    wanted: &[String],
    options: &InferOptions,
    sink: OutcomeSink<'_>,
) -> Result<()> {
    let device = nb_train::plan::device(context.device)?;
    let mut cases = select(&CASES, wanted, &context.data)?;
    if let Some(folder) = &options.model {
        if let Some(case) = cases.iter().find(|case| case.kind.role == Role::Teacher).filter(|_| !wanted.is_empty()) {
            bail!("--case {} measures an untrained teacher; remove it or --model {}", case.name, folder.display());
        }
        cases.retain(|case| case.kind.role == Role::Student);
    }
    for case in cases {
        let folder = match &options.model {
            Some(folder) => ModelFolder::Trained(folder.clone()),
            None => ModelFolder::Untrained(save_untrained(context, case)?),
        };
        for &format in &context.formats {
            Bench { context, case, folder: &folder, format, device }.run(sink)?;
        }
    }
    Ok(())
}

/// Saves the untrained model of a case and returns its folder.
fn save_untrained(context: &BenchContext, case: Case<CaseKind>) -> Result<PathBuf> {
    let plan = Plan::new(config(context, case.corpus)?, AllTasks::KINDS)?;
    let topic_plan = plan.data.task.downcast().context("the plan is not for topics")?;
    let task = Topic::open(&plan, topic_plan)?;
    let models = Models::build(&plan, &task)?;
    let role = case.kind.role;
    let (_, model) = models.named().find(|(named, _)| *named == role).context("the method has no such model")?;
    let folder = context.scratch_folder(role.name())?;
    model.bert.save(&folder)?;
    task.save(&model.head, &[], &folder)?;
    Ok(folder)
}

/// Returns the configuration of a run with the untrained models.
fn config(context: &BenchContext, corpus: Corpus) -> Result<RunConfig> {
    let run = CaseRun {
        name: "infer",
        task: CaseTask::Topic,
        corpus,
        fields: ArticleFields::TitleAndAbstract,
        max_tokens: MAX_TOKENS,
        layers: context.layers,
    };
    Ok(serde_json::from_value(run.config(context)?)?)
}

/// The model folder of a case.
#[derive(Debug)]
enum ModelFolder {
    /// A folder of the user. Its quality means something.
    Trained(PathBuf),
    /// A folder of this call.
    Untrained(PathBuf),
}

impl ModelFolder {
    fn path(&self) -> &Path {
        let (Self::Trained(path) | Self::Untrained(path)) = self;
        path
    }
}

/// One case in one number format.
struct Bench<'a> {
    context: &'a BenchContext,
    case: Case<CaseKind>,
    folder: &'a ModelFolder,
    format: NumberFormat,
    device: Device,
}

impl Bench<'_> {
    fn run(&self, sink: OutcomeSink<'_>) -> Result<()> {
        let batching = self.case.kind.batching;
        let (folder, precision) = (self.folder.path(), self.format.name());
        let measurement = Measurement { bench: "infer", case: self.case.name, precision, unit: batching.unit() };
        // Ours is first: its errors about the folder are the best, and a peer takes minutes to start.
        let engine = Engine::open(folder, self.format, self.device, self.context.threads)?;
        let articles: Rc<[Article]> = self.articles()?.into();
        let encoded = Tokenizer::from_folder(folder)?.encode_all(&articles, MAX_TOKENS)?;
        let tokens = encoded.iter().map(|text| text.ids.len() as u64).sum();
        let agreement = match &engine {
            Engine::Own(model) if self.measures_agreement() => Some(agreement::measure(model, folder, &articles)?),
            _ => None,
        };
        let ours = Side { engine, batching, articles: Rc::clone(&articles), tokens };
        let peers = self.peers(&ours)?;
        for peer in &peers.ready {
            ours.check_same_model(peer.mode(), &peer.facts().probabilities, self.format)?;
        }
        ours.round()?;
        reset_peak();
        let rounds = run_interleaved(&measurement, self.context.rounds, &mut || ours.round(), peers)?;
        let mut outcome = rounds.outcome(&measurement);
        outcome.details.agreement = agreement;
        if let ModelFolder::Trained(path) = self.folder {
            outcome.details.model = Some(path.display().to_string());
        }
        sink(outcome);
        Ok(())
    }

    /// Returns whether the agreement with f32 means something.
    fn measures_agreement(&self) -> bool {
        matches!(self.folder, ModelFolder::Trained(_)) && self.format != NumberFormat::F32
    }

    /// Reads the development texts; for single calls, the titles, [`SINGLE_CALLS`] in all.
    fn articles(&self) -> Result<Vec<Article>> {
        let articles = self.read(self.context.corpora.articles(self.case.corpus).dev)?;
        match self.case.kind.batching {
            Batching::Bulk => Ok(articles),
            Batching::Single => Ok(articles.iter().cycle().take(SINGLE_CALLS).cloned().collect()),
        }
    }

    fn read(&self, path: PathBuf) -> Result<Vec<Article>> {
        let fields = self.case.kind.batching.fields();
        Ok(read(&article_source(self.case.corpus, path, fields))?.articles)
    }

    /// Starts the peers and waits for their warm-up.
    fn peers(&self, ours: &Side) -> Result<Peers> {
        let Selection { modes, skipped } = modes::select(&self.context.against, self.format, self.device);
        let programs: Vec<_> = modes.iter().filter_map(|mode| mode.program()).collect();
        let mut peers = self.context.start_peers("infer.py", &self.job(&ours.articles)?, &programs)?;
        peers.skipped.extend(skipped);
        if modes.contains(&Mode::Libtorch) {
            let engine = Engine::libtorch(self.folder.path(), self.format, self.device)?;
            let side = Side { engine, articles: Rc::clone(&ours.articles), ..*ours };
            side.round()?;
            let round = Box::new(move || side.round_in_shared_memory());
            peers.in_process.push(InProcessPeer { mode: "libtorch".to_owned(), round });
        }
        Ok(peers)
    }

    fn job(&self, articles: &[Article]) -> Result<Value> {
        let mut calibration = self.read(self.context.corpora.articles(self.case.corpus).train)?;
        calibration.truncate(CALIBRATION_TEXTS);
        Ok(json!({
            "model": utf8(self.folder.path())?,
            "batching": self.case.kind.batching.name(),
            "texts": texts(articles),
            "calibration": texts(&calibration),
            "agreement": self.measures_agreement(),
            "max_tokens": MAX_TOKENS,
            "precision": self.format.name(),
            "threads": self.context.threads,
            "device": device::name(self.device),
            "exported": utf8(&self.context.scratch_folder(&format!("exported-{}", self.case.name))?)?,
        }))
    }
}

/// Returns the one or two parts of each text.
fn texts(articles: &[Article]) -> Vec<Value> {
    articles.iter().map(|article| json!([article.first, article.second])).collect()
}
