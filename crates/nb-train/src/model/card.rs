//! The model card: `README.md` of a model folder, with a Python program that computes what `nb` computes.

use nb_checkpoint::{ArticleField, Family, HeadDescription, PoolingKind, ScoreKind, Truncation, Windows};

/// The function that assembles a sequence in Python.
const TOKENS: &str = include_str!("card_tokens.py");
/// The end of that function for one sequence with the beginning of a text.
const HEAD: &str = include_str!("card_head.py");
/// The end of that function for one sequence with the beginning and the end of a text.
const HEAD_TAIL: &str = include_str!("card_head_tail.py");
/// The end of that function for windows.
const WINDOWS: &str = include_str!("card_windows.py");
/// The part of a text that remains.
const KEEP_HEAD: &str = include_str!("card_keep_head.py");
const KEEP_HEAD_TAIL: &str = include_str!("card_keep_head_tail.py");
/// Attentive pooling in Python.
const ATTEND: &str = include_str!("card_attend.py");

/// The values of a model's description and model card that follow from its plan.
#[derive(Debug, Clone)]
pub struct ModelCard {
    /// The task.
    pub task: &'static str,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// The part that remains of a text with too many tokens.
    pub truncation: Truncation,
    /// The windows into which longer articles are cut.
    pub windows: Option<Windows>,
    /// Columns or fields of a row that are read: the first is its first text, the others are joined into its second.
    pub columns: usize,
    /// The parts of the articles that were read, for MIND and BEIR.
    pub fields: Vec<ArticleField>,
    /// Number of a reader's most recent clicks that were read, for recommendation.
    pub history: Option<usize>,
    /// Heads of the reader model's self-attention, if it has one.
    pub self_attention: Option<i64>,
    /// The head.
    pub head: HeadDescription,
    /// The name of the run that trained the model.
    pub run: String,
    /// The task's part of the model card.
    pub text: CardText,
}

/// The labels of a task with classes.
#[derive(Debug, Clone, Copy, Default)]
pub struct CardLabels<'a> {
    /// The labels by class number; none if the task has no classes.
    pub names: &'a [String],
    /// The threshold of each label, if a text has any number of labels.
    pub thresholds: &'a [f64],
}

/// The part of a model card that a task writes.
#[derive(Debug, Clone, Copy)]
pub struct CardText {
    /// A description of the model, in Markdown.
    pub about: &'static str,
    /// A Python program that uses the model.
    pub example: &'static str,
}

/// Returns the model card.
pub(super) fn to_markdown(card: &ModelCard, family: Family) -> String {
    let without_pooler = if family.has_pooling_layer() { ", add_pooling_layer=False" } else { "" };
    let texts = match card.columns {
        0 | 1 => r#"["a text", "another text"]"#.to_owned(),
        2 => r#"["a title", "another title"], ["its abstract", "its abstract"]"#.to_owned(),
        more => {
            let rest = (2..=more).map(|column| format!(r#", ["its text {column}", "its text {column}"]"#));
            format!(r#"["a title", "another title"]{}"#, rest.collect::<String>())
        }
    };
    include_str!("card_template.md")
        .replace("{tokens}", &tokens(card))
        .replace("{batch}", batch(card))
        .replace("{about}", card.text.about.trim_end())
        .replace("{head}", &head(card))
        .replace("{encoder}", family.encoder_class())
        .replace("{without_pooler}", without_pooler)
        .replace("{pool}", &pool(card))
        .replace("{attend}", if needs_attend(card) { ATTEND } else { "" })
        .replace("{code}", card.text.example.trim_end())
        .replace("{sentences}", &sentences(card))
        .replace("{reader}", &reader(card))
        .replace("{run}", &card.run)
        .replace("{texts}", &texts)
        .replace("{max_tokens}", &card.max_tokens.to_string())
        .replace("{heads}", &card.self_attention.unwrap_or(1).to_string())
}

/// Returns the lines from texts to tokens: one sequence, or a list of windows.
fn tokens(card: &ModelCard) -> String {
    let keep = match card.truncation {
        Truncation::Head => KEEP_HEAD,
        Truncation::HeadTail => KEEP_HEAD_TAIL,
    };
    let rest = match (card.windows, card.truncation) {
        (Some(Windows { size, stride }), _) => {
            let windows = WINDOWS.replace("{size}", &size.to_string()).replace("{stride}", &stride.to_string());
            format!("{keep}{windows}")
        }
        (None, Truncation::Head) => HEAD.to_owned(),
        (None, Truncation::HeadTail) => format!("{keep}{HEAD_TAIL}"),
    };
    format!("{TOKENS}{rest}").trim_end().to_owned()
}

/// Returns the lines from texts to a batch.
fn batch(card: &ModelCard) -> &'static str {
    match card.windows {
        None => "    batch = tokenizer.pad([tokens(*row) for row in zip(*texts)], return_tensors=\"pt\")\n",
        Some(_) => {
            "    rows = [tokens(*row) for row in zip(*texts)]  # the windows of each row\n    \
             batch = tokenizer.pad([window for windows in rows for window in windows], return_tensors=\"pt\")\n"
        }
    }
}

/// Returns the part about sentence-transformers.
fn sentences(card: &ModelCard) -> String {
    let trust = if card.head.pooling == PoolingKind::Attentive { ", trust_remote_code=True" } else { "" };
    let code = if trust.is_empty() { "" } else { " The pooling is the code in `newsbert_pooling.py`." };
    let most = card.windows.map_or(card.max_tokens, |windows| windows.size);
    let other = format!("Pairs of more than {most} tokens and pairs with an empty text give it other tokens.");
    let single = match (card.windows, card.truncation) {
        (None, Truncation::Head) => String::new(),
        _ => {
            format!(" It reads only the beginning of texts of more than {most} tokens, so they give it other vectors.")
        }
    };
    let (rows, pairs) = match card.columns {
        0 | 1 => (r#"["a text", "another text"]"#, single),
        2 => (r#"[["a title", "its abstract"], ["another title", "its abstract"]]"#, format!(" {other}")),
        more => (
            r#"[["a title", "its texts joined by spaces"], ["another title", "its texts joined by spaces"]]"#,
            format!(" The second text of a pair is texts 2 to {more}, joined by single spaces. {other}"),
        ),
    };
    format!(
        "sentence-transformers 6 computes the same vectors.{code}{pairs}\n\n```python\nfrom sentence_transformers import \
         SentenceTransformer\nvectors = SentenceTransformer(\".\"{trust}).encode({rows})\n```"
    )
}

/// Describes the head in words.
fn head(card: &ModelCard) -> String {
    let HeadDescription { pooling, score, projection, .. } = card.head;
    let pooling = match pooling {
        PoolingKind::Attentive => "attentive pooling over tokens (in `head.safetensors`)",
        PoolingKind::Mean => "the mean of its tokens' states",
        PoolingKind::Cls => "the state of its first token",
    };
    let projection = projection.map(|width| format!(", projected to {width} units")).unwrap_or_default();
    let unit = if score == ScoreKind::Cosine { " and divided by its length" } else { "" };
    format!("The vector of a text is {pooling}{projection}{unit}.")
}

/// Returns the lines from token states to vectors.
fn pool(card: &ModelCard) -> String {
    let head = &card.head;
    let pooling = match head.pooling {
        PoolingKind::Attentive => "attend(states, mask, \"pooling\")",
        PoolingKind::Mean => "(states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
        PoolingKind::Cls => "states[:, 0]",
    };
    let mut lines = format!("    x = {pooling}\n");
    if card.windows.is_some() {
        let counts = "[len(windows) for windows in rows]";
        lines += &format!("    x = torch.stack([of_row.mean(0) for of_row in x.split({counts})])\n");
    }
    if head.projection.is_some() {
        lines += "    x = x @ head[\"vector.weight\"].T + head[\"vector.bias\"]\n";
    }
    if head.score == ScoreKind::Cosine {
        lines += "    x = torch.nn.functional.normalize(x, dim=-1)\n";
    }
    lines
}

fn needs_attend(card: &ModelCard) -> bool {
    let has_reader = card.history.is_some();
    card.head.pooling == PoolingKind::Attentive || has_reader && card.head.reader == PoolingKind::Attentive
}

/// Returns the expression that pools the vectors `rows` of clicked articles into a reader's vector.
fn reader(card: &ModelCard) -> String {
    let pooled = match card.head.reader {
        PoolingKind::Mean => "rows.mean(0)",
        _ => "attend(rows[None], torch.ones(1, len(rows)), \"reader\")[0]",
    };
    match card.head.score {
        ScoreKind::Cosine => format!("torch.nn.functional.normalize({pooled}, dim=-1)"),
        ScoreKind::Dot => pooled.to_owned(),
    }
}
