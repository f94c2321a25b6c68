//! Selects the tensors of the encoder in a checkpoint and maps the names of its family to BERT's.

use crate::family::Family;

/// Buffers that some versions save, not parameters.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];
/// `BertModel`'s pooling layer, which nearly every checkpoint has.
const POOLER: &str = "pooler.";

/// Returns BERT's current name of each tensor of a file; `None` for a tensor that is not part of the encoder, such as a
/// classifier, a CRF or a projection.
///
/// The encoder's tensors have the prefix of their family if any name in the file has it.
pub(crate) fn encoder_names(names: &[&str], family: Family) -> Vec<Option<String>> {
    let prefix = if names.iter().any(|name| name.starts_with(family.prefix())) { family.prefix() } else { "" };
    let encoder = |name: &&str| family.is_encoders(name) && !BUFFERS.contains(name);
    let renamed = |name: &str| family.bert_name(&current_name(name));
    names.iter().map(|name| name.strip_prefix(prefix).filter(encoder).map(renamed)).collect()
}

/// Returns a message about the ignored tensors that are unusual in a checkpoint, if there are any.
pub(crate) fn ignored(names: &[&str], current: &[Option<String>], family: Family) -> Option<String> {
    const MAX_SHOWN: usize = 5;
    let common = |name: &str| {
        let name = name.strip_prefix(family.prefix()).unwrap_or(name);
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
        let current = encoder_names(&names, Family::Bert);
        assert_eq!(current, [Some("embeddings.LayerNorm.weight".into()), None, None, None]);
        let line = ignored(&names, &current, Family::Bert).unwrap();
        assert_eq!(line, "ignoring tensors outside the encoder (2): crf.transitions, encoder.mlp.weight");

        let names =
            ["embeddings.token_type_ids", "embeddings.word_embeddings.weight", "encoder.layer.0.x", "linear.weight"];
        let current = encoder_names(&names, Family::Bert);
        assert_eq!(current[0], None);
        assert_eq!(current[2].as_deref(), Some("encoder.layer.0.x"));
        let message = |count: usize| ignored(&names[..count], &current[..count], Family::Bert);
        assert_eq!(message(4).unwrap(), "ignoring tensors outside the encoder (1): linear.weight");
        assert_eq!(message(3), None);
    }

    #[test]
    fn the_names_of_other_families_become_berts() {
        let of = |name: &str, family| encoder_names(&[name], family).remove(0);
        let layer = "distilbert.transformer.layer.4.ffn.lin1.bias";
        assert_eq!(of(layer, Family::DistilBert).as_deref(), Some("encoder.layer.4.intermediate.dense.bias"));
        assert_eq!(of("distilbert.encoder.layer.4.x.bias", Family::DistilBert), None);
        assert_eq!(of("pre_classifier.weight", Family::DistilBert), None);
        let norm = "roberta.embeddings.LayerNorm.gamma";
        assert_eq!(of(norm, Family::Roberta).as_deref(), Some("embeddings.LayerNorm.weight"));
        let project = "electra.embeddings_project.weight";
        assert_eq!(of(project, Family::Electra).as_deref(), Some("embeddings_project.weight"));
        assert_eq!(of("bert.embeddings_project.weight", Family::Bert), None);
        assert_eq!(of("discriminator_predictions.dense.weight", Family::Electra), None);
    }
}
