//! Selects the tensors of the encoder in a checkpoint and maps old names to current ones.

/// The prefix of the encoder's tensors in a checkpoint that holds a head as well.
const PREFIX: &str = "bert.";
/// The prefixes of the encoder's names.
const PARTS: [&str; 2] = ["embeddings.", "encoder."];
/// Buffers that some versions save, not parameters.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];
/// `BertModel`'s own layer on top, which nearly every checkpoint has.
const POOLER: &str = "pooler.";

/// Returns, for each tensor of a file, the name that `BertModel` uses for it now; none for a tensor that is not part of the
/// encoder, such as a classifier, a CRF or a projection.
///
/// If any name begins with `bert.`, those are the encoder's; otherwise `embeddings.*` and `encoder.*` are.
pub(crate) fn encoder_names(names: &[&str]) -> Vec<Option<String>> {
    let prefix = if names.iter().any(|name| name.starts_with(PREFIX)) { PREFIX } else { "" };
    let encoder = |name: &&str| PARTS.iter().any(|part| name.starts_with(part)) && !BUFFERS.contains(name);
    names.iter().map(|name| name.strip_prefix(prefix).filter(encoder).map(current_name)).collect()
}

/// Returns a message on the tensors that are ignored, unless every checkpoint of BERT has them.
pub(crate) fn ignored(names: &[&str], ours: &[Option<String>]) -> Option<String> {
    const MAX_SHOWN: usize = 5;
    let common = |name: &str| {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        name.starts_with(POOLER) || BUFFERS.contains(&name)
    };
    let beside: Vec<&str> =
        names.iter().zip(ours).filter(|(name, ours)| ours.is_none() && !common(name)).map(|(name, _)| *name).collect();
    let more = if beside.len() > MAX_SHOWN { ", …" } else { "" };
    let shown = beside.iter().take(MAX_SHOWN).copied().collect::<Vec<_>>().join(", ");
    (!beside.is_empty()).then(|| format!("ignoring what is beside the encoder ({}): {shown}{more}", beside.len()))
}

/// Returns the name that replaces an old one: `gamma` and `beta` were the parameters of LayerNorm.
fn current_name(name: &str) -> String {
    if !name.contains("LayerNorm") {
        return name.to_owned();
    }
    name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_the_encoder() {
        let names =
            ["bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.bias", "crf.transitions", "encoder.mlp.weight"];
        let ours = encoder_names(&names);
        assert_eq!(ours, [Some("embeddings.LayerNorm.weight".into()), None, None, None]);
        let line = ignored(&names, &ours).unwrap();
        assert_eq!(line, "ignoring what is beside the encoder (2): crf.transitions, encoder.mlp.weight");

        let names =
            ["embeddings.token_type_ids", "embeddings.word_embeddings.weight", "encoder.layer.0.x", "linear.weight"];
        let ours = encoder_names(&names);
        assert_eq!(ours[0], None);
        assert_eq!(ours[2].as_deref(), Some("encoder.layer.0.x"));
        assert_eq!(ignored(&names, &ours).unwrap(), "ignoring what is beside the encoder (1): linear.weight");
        assert_eq!(ignored(&names[..3], &ours[..3]), None);
    }
}
