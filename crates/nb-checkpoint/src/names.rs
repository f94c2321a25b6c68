//! Selects the tensors of the encoder in a checkpoint and maps old names to current ones.

/// The prefix of the encoder's tensors in a checkpoint that contains a head as well.
const PREFIX: &str = "bert.";
/// The prefixes of the encoder's names.
const PARTS: [&str; 2] = ["embeddings.", "encoder."];
/// Buffers that some versions save, not parameters.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];
/// `BertModel`'s pooling layer, which nearly every checkpoint has.
const POOLER: &str = "pooler.";

/// Returns the current `BertModel` name of each tensor of a file; `None` for a tensor that is not part of the encoder,
/// such as a classifier, a CRF or a projection.
///
/// The encoder's tensors are `embeddings.*` and `encoder.*`, with the prefix `bert.` if any name in the file has it.
pub(crate) fn encoder_names(names: &[&str]) -> Vec<Option<String>> {
    let prefix = if names.iter().any(|name| name.starts_with(PREFIX)) { PREFIX } else { "" };
    let encoder = |name: &&str| PARTS.iter().any(|part| name.starts_with(part)) && !BUFFERS.contains(name);
    names.iter().map(|name| name.strip_prefix(prefix).filter(encoder).map(current_name)).collect()
}

/// Returns a message about the ignored tensors that are unusual in a checkpoint of BERT, if there are any.
pub(crate) fn ignored(names: &[&str], current: &[Option<String>]) -> Option<String> {
    const MAX_SHOWN: usize = 5;
    let common = |name: &str| {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        name.starts_with(POOLER) || BUFFERS.contains(&name)
    };
    let unusual: Vec<&str> =
        names.iter().zip(current).filter(|(name, new)| new.is_none() && !common(name)).map(|(name, _)| *name).collect();
    let more = if unusual.len() > MAX_SHOWN { ", …" } else { "" };
    let shown = unusual.iter().take(MAX_SHOWN).copied().collect::<Vec<_>>().join(", ");
    (!unusual.is_empty()).then(|| format!("ignoring tensors outside the encoder ({}): {shown}{more}", unusual.len()))
}

/// Returns the current form of a name. Old files call the parameters of LayerNorm `gamma` and `beta`.
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
    fn heads_are_distinguished_from_the_encoder() {
        let names =
            ["bert.embeddings.LayerNorm.gamma", "bert.pooler.dense.bias", "crf.transitions", "encoder.mlp.weight"];
        let current = encoder_names(&names);
        assert_eq!(current, [Some("embeddings.LayerNorm.weight".into()), None, None, None]);
        let line = ignored(&names, &current).unwrap();
        assert_eq!(line, "ignoring tensors outside the encoder (2): crf.transitions, encoder.mlp.weight");

        let names =
            ["embeddings.token_type_ids", "embeddings.word_embeddings.weight", "encoder.layer.0.x", "linear.weight"];
        let current = encoder_names(&names);
        assert_eq!(current[0], None);
        assert_eq!(current[2].as_deref(), Some("encoder.layer.0.x"));
        assert_eq!(ignored(&names, &current).unwrap(), "ignoring tensors outside the encoder (1): linear.weight");
        assert_eq!(ignored(&names[..3], &current[..3]), None);
    }
}
